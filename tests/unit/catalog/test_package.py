"""Packages of buildpacks: what goes in comes out, the labels say so, and what does not fit is refused."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.catalog import package, packaged, packing
from packrunner.catalog.package import Contents
from packrunner.catalog.stage import Stage
from packrunner.errors import UsageError
from packrunner.formats.target import Platform
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.images.image import Image

AMD64 = Platform(architecture="amd64")
LAYERS = "io.buildpacks.buildpack.layers"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    made = LocalStore(str(tmp_path / "store"))
    with made.lease():
        yield made


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    (sdk / "__init__.py").write_text("")
    return Stage(str(tmp_path / "stage"), sdk_dir=str(sdk))


def buildpack(
    place: Path, identity: str = "acme/a", *, order: str = "", more: str = "", version: str = "1.0.0"
) -> Path:
    place.mkdir(parents=True)
    text = f'api = "0.12"\n[buildpack]\nid = "{identity}"\nversion = "{version}"\nhomepage = "https://a"\n{more}\n'
    groups = "".join(
        f'[[order.group]]\nid = "{ref.partition("@")[0]}"\nversion = "{ref.partition("@")[2]}"\n'
        for ref in order.split()
    )
    (place / "buildpack.toml").write_text(text + ("[[order]]\n" + groups if order else ""))
    if not order:
        (place / "bin").mkdir()
        for name in ("detect", "build"):
            (place / "bin" / name).write_text(f"#!/bin/sh\n# {identity}\n")
        (place / "data").write_text("data")
    return place


def extension(place: Path) -> Path:
    (place / "bin").mkdir(parents=True)
    (place / "extension.toml").write_text('api = "0.12"\n[extension]\nid = "acme/e"\nversion = "1.0.0"\n')
    (place / "bin" / "generate").write_text("#!/bin/sh\n")
    return place


def nothing(text: str) -> tuple[StagedBuildpack, ...]:
    raise AssertionError(text)


def gathered(directory: Path, stage: Stage, **changes: Any) -> Contents:
    return packing.gather(str(directory), None, **{"stage": stage, "builtin_dir": "", "packaged": nothing, **changes})


def made(contents: Contents, store: LocalStore) -> Image:
    return package.make(contents, platform=AMD64, labels={}, store=store)


def entries(image: Image, number: int, store: LocalStore) -> dict[str, tarfile.TarInfo]:
    with store.open(image.layers[number].blob.digest) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        return {one.name: one for one in archive}


@pytest.fixture
def composite(tmp_path: Path) -> Path:
    place = buildpack(tmp_path / "all", "acme/all", order="acme/a@1.0.0 acme/b@1.0.0")
    buildpack(tmp_path / "a")
    buildpack(tmp_path / "b", "acme/b")
    (place / "package.toml").write_text(
        '[buildpack]\nuri = "."\n[[dependencies]]\nuri = "../a"\n[[dependencies]]\nuri = "../b"\n'
    )
    return place


@pytest.mark.cnb("DST-02", "DST-07")
def test_a_layer_has_one_buildpack_in_the_form_of_builders(tmp_path: Path, stage: Stage, store: LocalStore) -> None:
    place = buildpack(tmp_path / "a")
    (place / "data").chmod(0o600)
    image = made(gathered(place, stage), store)
    assert (image.os, image.architecture, len(image.layers)) == ("linux", "amd64", 1)
    found = entries(image, 0, store)
    assert list(found) == [
        "cnb",
        "cnb/buildpacks",
        "cnb/buildpacks/acme_a",
        "cnb/buildpacks/acme_a/1.0.0",
        "cnb/buildpacks/acme_a/1.0.0/bin",
        "cnb/buildpacks/acme_a/1.0.0/bin/build",
        "cnb/buildpacks/acme_a/1.0.0/bin/detect",
        "cnb/buildpacks/acme_a/1.0.0/buildpack.toml",
        "cnb/buildpacks/acme_a/1.0.0/data",
    ]
    assert {(one.mtime, one.uid, one.gid) for one in found.values()} == {(315532801, 0, 0)}
    modes = {name.rpartition("1.0.0/")[2]: one.mode for name, one in found.items() if "1.0.0/" in name}
    assert modes == {"bin": 0o755, "bin/build": 0o755, "bin/detect": 0o755, "buildpack.toml": 0o644, "data": 0o644}


@pytest.mark.cnb("DST-03", "DST-04", "IMG-11")
def test_labels_say_what_is_in_it(tmp_path: Path, stage: Stage, store: LocalStore) -> None:
    more = (
        'name = "A"\nkeywords = ["k"]\n[[buildpack.licenses]]\ntype = "MIT"\n[[targets]]\nos = "linux"\narch = "amd64"'
    )
    image = made(gathered(buildpack(tmp_path / "a", more=more), stage), store)
    assert json.loads(image.labels["io.buildpacks.buildpackage.metadata"]) == {
        "id": "acme/a",
        "name": "A",
        "version": "1.0.0",
        "homepage": "https://a",
        "keywords": ["k"],
        "licenses": [{"type": "MIT"}],
        "stacks": [{"id": "*"}],
    }
    assert json.loads(image.labels[LAYERS]) == {
        "acme/a": {
            "1.0.0": {
                "api": "0.12",
                "targets": [{"os": "linux", "arch": "amd64"}],
                "layerDiffID": str(image.layers[0].diff_id),
                "homepage": "https://a",
                "name": "A",
            }
        }
    }


@pytest.mark.cnb("DST-04")
def test_an_extension_has_its_own_label(tmp_path: Path, stage: Stage, store: LocalStore) -> None:
    image = made(gathered(extension(tmp_path / "e"), stage), store)
    assert json.loads(image.labels["io.buildpacks.extension.layers"]).keys() == {"acme/e"}
    assert LAYERS not in image.labels
    assert "cnb/extensions/acme_e/1.0.0/bin/generate" in entries(image, 0, store)


def test_the_same_content_is_the_same_package(composite: Path, tmp_path: Path, store: LocalStore) -> None:
    digests = []
    for name in ("one", "two"):
        stage = Stage(str(tmp_path / name), sdk_dir=str(tmp_path))
        digests.append(made(gathered(composite, stage), store).digest)
    assert digests[0] == digests[1]


@pytest.mark.cnb("DST-06")
def test_a_composite_takes_along_what_it_names(composite: Path, stage: Stage, store: LocalStore) -> None:
    image = made(gathered(composite, stage), store)
    label = json.loads(image.labels[LAYERS])
    assert list(label) == ["acme/a", "acme/all", "acme/b"]
    assert label["acme/all"]["1.0.0"]["order"] == [
        {"group": [{"id": "acme/a", "version": "1.0.0"}, {"id": "acme/b", "version": "1.0.0"}]}
    ]
    assert len({one["1.0.0"]["layerDiffID"] for one in label.values()}) == len(image.layers) == 3


@pytest.mark.cnb("DST-02")
def test_a_flat_package_has_one_layer(composite: Path, stage: Stage, store: LocalStore) -> None:
    flat = made(gathered(composite, stage, flat=True), store)
    label = json.loads(flat.labels[LAYERS])
    assert {one["1.0.0"]["layerDiffID"] for one in label.values()} == {str(flat.layers[0].diff_id)}
    apart = made(gathered(composite, stage, flat=True, apart=frozenset({"acme/b@1.0.0"})), store)
    label = json.loads(apart.labels[LAYERS])
    assert len(apart.layers) == 2
    assert label["acme/b"]["1.0.0"]["layerDiffID"] != label["acme/a"]["1.0.0"]["layerDiffID"]


@pytest.mark.cnb("DST-02", "DST-03")
@pytest.mark.parametrize("flat", [False, True])
def test_what_was_packed_is_read_back_equal(
    composite: Path, stage: Stage, store: LocalStore, tmp_path: Path, *, flat: bool
) -> None:
    contents = gathered(composite, stage, flat=flat)
    image = made(contents, store)
    with_trees = Snapshots(str(tmp_path / "snapshots"), store)
    try:
        entry, others = packaged.stage_all(image, with_trees.lowers(image), where="p", stage=stage)
    finally:
        with_trees.close()
    assert entry.digest == contents.entry.digest
    assert {one.digest for one in others} == {one.digest for one in contents.others}
    again = Contents(entry=entry, others=others, flat=flat)
    assert made(again, store).digest == image.digest


@pytest.mark.cnb("DST-05")
@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("", "", [{"id": "*"}]),
        ('[[stacks]]\nid = "*"', "", [{"id": "*"}]),
        ('[[stacks]]\nid = "s"\nmixins = ["m"]', "", [{"id": "s", "mixins": ["m"]}]),
        (
            '[[stacks]]\nid = "s"\nmixins = ["n", "m"]\n[[stacks]]\nid = "t"',
            '[[stacks]]\nid = "s"\nmixins = ["k"]',
            [{"id": "s", "mixins": ["k", "m", "n"]}],
        ),
        ('[[stacks]]\nid = "s"', '[[stacks]]\nid = "t"', None),
    ],
)
def test_stacks_are_what_all_have_in_common(
    tmp_path: Path, stage: Stage, store: LocalStore, one: str, other: str, wanted: list[dict[str, Any]] | None
) -> None:
    place = buildpack(tmp_path / "all", "acme/all", order="acme/a@1.0.0 acme/b@1.0.0")
    buildpack(tmp_path / "a", more=one)
    buildpack(tmp_path / "b", "acme/b", more=other)
    (place / "package.toml").write_text(
        '[buildpack]\nuri = "."\n[[dependencies]]\nuri = "../a"\n[[dependencies]]\nuri = "../b"\n'
    )
    contents = gathered(place, stage)
    if wanted is None:
        with pytest.raises(UsageError, match="no stack in common"):
            made(contents, store)
    else:
        label = made(contents, store).labels["io.buildpacks.buildpackage.metadata"]
        assert json.loads(label)["stacks"] == wanted


@pytest.mark.cnb("DST-06")
@pytest.mark.parametrize(
    ("order", "dependencies", "why"),
    [
        ("acme/a@1.0.0 acme/b@1.0.0", "a", "names acme/b@1.0.0, which the package does not have"),
        ("acme/a@1.0.0", "a b", "nothing in the package names acme/b@1.0.0"),
        ("acme/a@2.0.0", "a", "names acme/a@2.0.0, which"),
        ("acme/a", "a", "without a version"),
    ],
)
def test_what_is_missing_or_left_over_is_refused(
    tmp_path: Path, stage: Stage, store: LocalStore, order: str, dependencies: str, why: str
) -> None:
    place = buildpack(tmp_path / "all", "acme/all", order=order)
    buildpack(tmp_path / "a")
    buildpack(tmp_path / "b", "acme/b")
    deps = "".join(f'[[dependencies]]\nuri = "../{name}"\n' for name in dependencies.split())
    (place / "package.toml").write_text('[buildpack]\nuri = "."\n' + deps)
    with pytest.raises(UsageError) as error:
        made(gathered(place, stage), store)
    assert why in error.value.brief
    assert error.value.slug == "package"
    assert error.value.tries


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no buildpack"),
        ('[buildpack]\nuri = "."\n[extension]\nuri = "."', "a buildpack and an extension"),
        ('[buildpack]\nurl = "."', "url"),
        ('[buildpack]\nuri = "."\n[platform]\nos = "windows"', "windows"),
        ('[buildpack]\nuri = "."\n[[dependencies]]\nuri = "a"\nimage = "b"', "either"),
        ('[buildpack]\nuri = "."\n[[dependencies]]\n', "either"),
    ],
)
def test_a_wrong_package_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "package.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        packing.read_file(str(tmp_path / "package.toml"))
    assert why in error.value.brief
    assert "package.toml" in (error.value.at or "")


@pytest.mark.cnb("DST-04")
@pytest.mark.parametrize(
    ("label", "value", "why"),
    [
        ("io.buildpacks.buildpackage.metadata", "", "no label io.buildpacks.buildpackage.metadata"),
        (LAYERS, "", f"no label {LAYERS}"),
        (LAYERS, "{}", "in none of its layers"),
        (LAYERS, "[]", ""),
        (LAYERS, '{"acme/a": {"1.0.0": {"layerDiffID": "sha256:0"}}}', "is not in it"),
    ],
)
def test_an_image_that_is_no_package_is_refused(
    tmp_path: Path, stage: Stage, store: LocalStore, label: str, value: str, why: str
) -> None:
    image = made(gathered(buildpack(tmp_path / "a"), stage), store).with_labels({label: value})
    with pytest.raises(UsageError) as error:
        packaged.read(image, where="p")
    assert error.value.slug == "not-a-package"
    assert why in (error.value.cause or "")


def test_files_that_are_not_what_the_labels_say_are_refused(tmp_path: Path, stage: Stage, store: LocalStore) -> None:
    image = made(gathered(buildpack(tmp_path / "a"), stage), store)
    label = json.loads(image.labels[LAYERS])
    label["acme/a"]["2.0.0"] = label["acme/a"]["1.0.0"]
    lying = image.with_labels({LAYERS: json.dumps(label)})
    with_trees = Snapshots(str(tmp_path / "snapshots"), store)
    try:
        with pytest.raises(UsageError) as error:
            packaged.stage_all(lying, with_trees.lowers(lying), where="p", stage=stage)
    finally:
        with_trees.close()
    assert "acme/a@2.0.0 should be at" in (error.value.cause or "")
