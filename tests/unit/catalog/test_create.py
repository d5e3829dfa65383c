"""Builders that are made: what platforms look for is there, whatever the base has is kept, what is wrong is refused."""

from __future__ import annotations

import json
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from packrunner.catalog import create, creating, package, packing
from packrunner.catalog.builder_image import ImageBuilder
from packrunner.catalog.create import Ingredients, LifecycleFiles
from packrunner.catalog.stage import Stage
from packrunner.errors import UsageError
from packrunner.formats import builder_file
from packrunner.formats.buildpack import GroupRef
from packrunner.formats.run import RunImageEntry
from packrunner.formats.target import Platform
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.catalog.stage import StagedBuildpack

RUN = (RunImageEntry(image="example.com/run:1", mirrors=("mirror.example.com/run:1",)), RunImageEntry(image="other"))
DESCRIPTOR = b"""[lifecycle]
version = "0.21.0"
[api]
buildpack = "0.7"
platform = "0.7"
[apis.buildpack]
supported = ["0.10", "0.12"]
[apis.platform]
supported = ["0.12", "0.15"]
"""
TEXT = """description = "ours"
[[buildpacks]]
uri = "a"
[[buildpacks]]
uri = "b"
[[order]]
[[order.group]]
id = "acme/a"
[[order.group]]
id = "acme/b"
version = "1.0.0"
optional = true
[build]
image = "base"
[[build.env]]
name = "GREETING"
value = "hi"
suffix = "append"
delim = ":"
[[system.pre.buildpacks]]
id = "acme/b"
[[run.images]]
image = "example.com/run:1"
mirrors = ["mirror.example.com/run:1"]
[[run.images]]
image = "other"
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    made = LocalStore(str(tmp_path / "store"))
    with made.lease():
        yield made


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "sdk").mkdir()
    return Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path / "sdk"))


def buildpack(place: Path, identity: str, *, order: str = "", version: str = "1.0.0", data: str = "") -> None:
    place.mkdir(parents=True, exist_ok=True)
    text = f'api = "0.12"\n[buildpack]\nid = "{identity}"\nversion = "{version}"\nname = "N"\n'
    groups = f'[[order]]\n[[order.group]]\nid = "{order}"\nversion = "1.0.0"\n' if order else ""
    (place / "buildpack.toml").write_text(text + groups)
    if not order:
        (place / "bin").mkdir(exist_ok=True)
        for program in ("detect", "build"):
            (place / "bin" / program).write_text(f"#!/bin/sh\n# {data}\n")


@pytest.fixture
def base(store: LocalStore) -> Image:
    layer = write_layer(store, [File(target="/etc/os-release", data=b"ID=debian\n")], created_by="base").layer
    return Image(env=(("CNB_USER_ID", "1001"), ("CNB_GROUP_ID", "1002")), labels={"own": "label"}).with_layers(layer)


def nothing(place: Any) -> tuple[StagedBuildpack, ...]:
    raise AssertionError(place)


@pytest.fixture
def ingredients(tmp_path: Path, stage: Stage, base: Image) -> Ingredients:
    buildpack(tmp_path / "a", "acme/a")
    buildpack(tmp_path / "b", "acme/b")
    return read(TEXT, tmp_path, stage, base)


def read(text: str, tmp_path: Path, stage: Stage, base: Image) -> Ingredients:
    path = tmp_path / "builder.toml"
    path.write_text(text)
    file = creating.read_file(str(path))
    modules = creating.stage_modules(file, str(path), stage=stage, builtin_dir="", packaged=nothing)
    return Ingredients(file=file, where=str(path), base=base, user=(1001, 1002), modules=modules, run_images=RUN)


def with_lifecycle(of: Ingredients, tmp_path: Path) -> Ingredients:
    (tmp_path / "detector").write_text("program")
    files = LifecycleFiles(programs={"detector": str(tmp_path / "detector")}, descriptor=DESCRIPTOR)
    return msgspec.structs.replace(of, lifecycle=files)


def members(image: Image, store: LocalStore) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for layer in image.layers:
        with store.open(layer.blob.digest) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for one in archive:
                content = archive.extractfile(one) if one.isfile() else None
                found[one.name] = one, content.read() if content else b""
    return found


@pytest.mark.cnb("IMG-12", "IMG-04")
def test_places_belong_to_whom_they_should(ingredients: Ingredients, store: LocalStore) -> None:
    image = create.make(ingredients, store)
    found = members(image, store)
    assert image.working_dir == "/layers"
    for name, owner in {
        "workspace": (1001, 1002),
        "layers": (1001, 1002),
        "cnb": (0, 0),
        "cnb/buildpacks": (0, 0),
        "cnb/extensions": (0, 0),
        "cnb/build-config/env": (0, 0),
        "platform/env": (0, 0),
    }.items():
        assert (found[name][0].uid, found[name][0].gid) == owner
        assert found[name][0].mode == 0o755
    assert "cnb/buildpacks/acme_a/1.0.0/buildpack.toml" in found
    assert image.labels["own"] == "label"


@pytest.mark.cnb("IMG-09", "IMG-10", "IMG-11")
def test_labels_are_those_of_pack(ingredients: Ingredients, store: LocalStore, tmp_path: Path) -> None:
    labels = create.make(with_lifecycle(ingredients, tmp_path), store).labels
    metadata = json.loads(labels["io.buildpacks.builder.metadata"])
    run = [{"image": "example.com/run:1", "mirrors": ["mirror.example.com/run:1"]}, {"image": "other"}]
    assert metadata["description"] == "ours"
    assert metadata["buildpacks"] == [
        {"id": "acme/a", "version": "1.0.0", "name": "N"},
        {"id": "acme/b", "version": "1.0.0", "name": "N"},
    ]
    assert metadata["extensions"] == []
    assert metadata["images"] == run
    assert metadata["stack"] == {"runImage": run[0]}
    assert metadata["createdBy"]["name"] == "packrunner"
    assert metadata["lifecycle"]["version"] == "0.21.0"
    assert metadata["lifecycle"]["apis"]["platform"]["supported"] == ["0.12", "0.15"]
    first = {"id": "acme/a", "version": "1.0.0"}
    second = {"id": "acme/b", "version": "1.0.0"}
    assert json.loads(labels["io.buildpacks.buildpack.order"]) == [{"group": [first, {**second, "optional": True}]}]
    assert json.loads(labels["io.buildpacks.buildpack.order-extensions"]) == []
    assert json.loads(labels["io.buildpacks.buildpack.system"])["pre"] == {"buildpacks": [second]}
    assert json.loads(labels["io.buildpacks.buildpack.layers"]).keys() == {"acme/a", "acme/b"}


@pytest.mark.cnb("IMG-05", "IMG-07", "IMG-08")
def test_files_say_the_same(ingredients: Ingredients, store: LocalStore, tmp_path: Path) -> None:
    found = {
        name: data
        for name, (_, data) in members(create.make(with_lifecycle(ingredients, tmp_path), store), store).items()
    }
    order = tomllib.loads(found["cnb/order.toml"].decode())
    assert [ref["id"] for ref in order["order"][0]["group"]] == ["acme/a", "acme/b"]
    assert tomllib.loads(found["cnb/run.toml"].decode())["images"][1] == {"image": "other"}
    assert tomllib.loads(found["cnb/stack.toml"].decode())["run-image"]["image"] == "example.com/run:1"
    assert tomllib.loads(found["cnb/system.toml"].decode())["system"]["pre"]["buildpacks"][0]["id"] == "acme/b"
    assert found["cnb/build-config/env/GREETING.append"] == b"hi"
    assert found["cnb/build-config/env/GREETING.delim"] == b":"
    assert found["cnb/lifecycle/detector"] == b"program"
    assert found["cnb/lifecycle/lifecycle.toml"] == DESCRIPTOR


def test_it_is_read_back_as_it_was_made(ingredients: Ingredients, store: LocalStore, tmp_path: Path) -> None:
    image = create.make(with_lifecycle(ingredients, tmp_path), store)
    trees = Snapshots(str(tmp_path / "snapshots"), store)
    builder = ImageBuilder(image, reference="b", snapshots=trees, find=lambda name: image)
    try:
        assert builder.run_images == RUN
        assert builder.platform_api == "0.15"
        assert builder.ids == (1001, 1002)
        assert builder.operator["GREETING.append"] == b"hi"
        assert builder.carried.order.order[0].group[0] == GroupRef(id="acme/a", version="1.0.0")
        assert builder.carried.system.system.pre.buildpacks == (GroupRef(id="acme/b", version="1.0.0"),)
        assert builder.carried.versions("acme/b") == ["1.0.0"]
    finally:
        builder.close()
        trees.close()


def test_the_same_file_makes_the_same_builder(ingredients: Ingredients, store: LocalStore) -> None:
    other = msgspec.structs.replace(ingredients, modules=tuple(reversed(ingredients.modules)))
    assert create.make(ingredients, store).digest == create.make(other, store).digest


@pytest.mark.cnb("DST-08")
def test_what_the_base_has_is_kept_or_taken_away_first(
    ingredients: Ingredients, store: LocalStore, tmp_path: Path, stage: Stage
) -> None:
    first = create.make(ingredients, store)
    buildpack(tmp_path / "a", "acme/a", data="new")
    (tmp_path / "b" / "old").write_text("x")
    again = read(TEXT, tmp_path, stage, first)
    unchanged = msgspec.structs.replace(again, modules=ingredients.modules)
    kept = create.make(unchanged, store)
    layers = {layer.created_by for layer in kept.layers[len(first.layers) :]}
    assert layers == {"directories", "configuration"}, "both buildpacks are there already"
    second = create.make(again, store)
    names = [layer.created_by for layer in second.layers[len(first.layers) :]]
    assert names == [
        "directories", "without acme/a@1.0.0", "acme/a@1.0.0", "without acme/b@1.0.0", "acme/b@1.0.0", "configuration",
    ]  # fmt: skip
    assert "cnb/buildpacks/acme_a/.wh.1.0.0" in members(second, store)
    label = json.loads(second.labels["io.buildpacks.buildpack.layers"])
    assert label["acme/a"]["1.0.0"]["layerDiffID"] == str(second.layers[-4].diff_id)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('id = "acme/a"', 'id = "acme/c"', "names acme/c, which the builder does not have"),
        ('version = "1.0.0"', 'version = "2.0.0"', "names acme/b@2.0.0"),
        ('[[buildpacks]]\nuri = "b"', "", "names acme/b@1.0.0"),
        ('uri = "b"', 'uri = "b"\nid = "acme/other"', "has the id acme/b, and not acme/other"),
        ('uri = "b"', 'uri = "b"\nversion = "3.0.0"', "has the version 1.0.0"),
        ('uri = "b"', 'uri = "nowhere/"', "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(
    ingredients: Ingredients, tmp_path: Path, stage: Stage, base: Image, store: LocalStore, old: str, new: str, why: str
) -> None:
    with pytest.raises(UsageError) as error:
        create.make(read(TEXT.replace(old, new, 1), tmp_path, stage, base), store)
    assert why in error.value.brief
    assert error.value.tries


@pytest.mark.cnb("IMG-10")
def test_two_versions_need_one_to_be_chosen(
    ingredients: Ingredients, tmp_path: Path, stage: Stage, base: Image, store: LocalStore
) -> None:
    buildpack(tmp_path / "a2", "acme/a", version="2.0.0")
    text = TEXT.replace('uri = "b"', 'uri = "b"\n[[buildpacks]]\nuri = "a2"')
    with pytest.raises(UsageError, match=r"without a version, and there is 1\.0\.0, 2\.0\.0"):
        create.make(read(text, tmp_path, stage, base), store)


def test_a_composite_that_lacks_a_member_is_refused(
    ingredients: Ingredients, tmp_path: Path, stage: Stage, base: Image, store: LocalStore
) -> None:
    buildpack(tmp_path / "c", "acme/c", order="acme/gone")
    text = TEXT.replace('uri = "b"', 'uri = "b"\n[[buildpacks]]\nuri = "c"')
    with pytest.raises(UsageError, match=r"acme/c@1\.0\.0 names acme/gone@1\.0\.0"):
        create.make(read(text, tmp_path, stage, base), store)


@pytest.mark.parametrize(
    ("old", "new", "why", "at"),
    [
        ("description", "descripton", "did you mean 'description'", ":1"),
        ("optional", "optonal", "did you mean 'optional'", ":12"),
        ('image = "base"', "", "no image to build in", ""),
        ('image = "base"', 'image = "base"\n[stack]\nbuild-image = "x"', "are different", "stack"),
        ('uri = "a"', 'uri = "a"\nimage = "b"', "either a `uri` or an `image`", "buildpacks"),
        ('name = "GREETING"', 'name = "A=B"', "cannot be a variable", ":16"),
        ('image = "other"', "", "has no name", "run.images"),
        ('suffix = "append"', 'suffix = "after"', "after", ":"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, old: str, new: str, why: str, at: str) -> None:
    with pytest.raises(UsageError) as error:
        builder_file.read(TEXT.replace(old, new, 1).encode(), where="builder.toml")
    assert why in error.value.brief
    assert at in (error.value.at or "")


def test_the_old_way_to_name_images_is_read() -> None:
    stack = '[stack]\nid = "s"\nbuild-image = "b"\nrun-image = "r"\nrun-image-mirrors = ["m"]\n'
    text = stack + '[[order]]\n[[order.group]]\nid = "a"\n'
    found = builder_file.read(text.encode(), where="builder.toml")
    assert found.build_image == "b"
    assert [(one.image, one.mirrors) for one in found.run_images] == [("r", ("m",))]


def test_a_lifecycle_is_taken_from_its_release(tmp_path: Path) -> None:
    (tmp_path / "lifecycle").mkdir()
    (tmp_path / "lifecycle" / "lifecycle").write_text("all of it")
    (tmp_path / "lifecycle" / "detector").symlink_to("lifecycle")
    (tmp_path / "lifecycle" / "outside").symlink_to("/etc/passwd")
    (tmp_path / "lifecycle.toml").write_bytes(DESCRIPTOR)
    asked: list[str] = []

    def download(place: Any) -> str:
        asked.append(place.path)
        with tarfile.open(tmp_path / "release.tgz", "w:gz") as archive:
            for name in ("lifecycle.toml", "lifecycle"):
                archive.add(tmp_path / name, name)
        return str(tmp_path / "release.tgz")

    found = creating.lifecycle(
        builder_file.Lifecycle(version="0.21.0"),
        str(tmp_path / "builder.toml"),
        architecture="amd64",
        stage_dir=str(tmp_path / "stage"),
        download=download,
    )
    assert asked[0].endswith("/v0.21.0/lifecycle-v0.21.0+linux.x86-64.tgz")
    assert found
    assert set(found.programs) == {"lifecycle", "detector"}
    assert {Path(path).read_text() for path in found.programs.values()} == {"all of it"}


@pytest.mark.parametrize(("wanted", "why"), [({"version": "../x"}, "no version"), ({"uri": "gone.tgz"}, "gone.tgz")])
def test_a_lifecycle_that_is_none_is_refused(tmp_path: Path, wanted: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        creating.lifecycle(
            builder_file.Lifecycle(**wanted),
            str(tmp_path / "builder.toml"),
            architecture="amd64",
            stage_dir=str(tmp_path / "stage"),
            download=str,
        )


@pytest.mark.cnb("DST-02", "IMG-11")
def test_what_is_flattened_shares_a_layer(ingredients: Ingredients, store: LocalStore) -> None:
    plain = create.make(ingredients, store)
    both = frozenset({"acme/a@1.0.0", "acme/b@1.0.0"})
    flat = create.make(msgspec.structs.replace(ingredients, flat=(both,)), store)
    assert len(flat.layers) == len(plain.layers) - 1
    label = json.loads(flat.labels["io.buildpacks.buildpack.layers"])
    assert {info["1.0.0"]["layerDiffID"] for info in label.values()} == {str(flat.layers[-2].diff_id)}
    there = {name: data for name, (_, data) in members(flat, store).items() if name.startswith("cnb/buildpacks")}
    assert there == {
        name: data for name, (_, data) in members(plain, store).items() if name.startswith("cnb/buildpacks")
    }
    trees = msgspec.structs.replace(ingredients, base=flat, flat=(both,))
    assert len(create.make(trees, store).layers) == len(flat.layers) + 2, "the same layer is not added again"


@pytest.mark.parametrize(
    ("flat", "why"),
    [
        (({"acme/a@1.0.0", "acme/b@2.0.0"},), "no acme/b@2.0.0 to flatten"),
        (({"acme/a@1.0.0"},), "alone is a layer already"),
        (({"acme/a@1.0.0", "acme/b@1.0.0"}, {"acme/b@1.0.0", "acme/a@1.0.0"}), "into two layers"),
    ],
)
def test_what_cannot_be_flattened_is_said(
    ingredients: Ingredients, store: LocalStore, flat: tuple[set[str], ...], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        create.make(msgspec.structs.replace(ingredients, flat=tuple(map(frozenset, flat))), store)


def test_packages_share_their_layers_with_builders(ingredients: Ingredients, store: LocalStore) -> None:
    one = next(one for one in ingredients.modules if one.id == "acme/a")
    alone = package.make(package.Contents(entry=one), platform=Platform(architecture="amd64"), labels={}, store=store)
    assert alone.layers[0].diff_id in {layer.diff_id for layer in create.make(ingredients, store).layers}


def test_a_file_that_is_not_there_is_the_users_to_name(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "builder.toml", "does not exist"), (tmp_path, "is a directory")):
        with pytest.raises(UsageError, match=what) as caught:
            creating.read_file(str(path))
        assert (caught.value.slug, caught.value.tries) == ("builder-file", ("--config FILE",))
        with pytest.raises(UsageError, match=what) as caught:
            packing.read_file(str(path))
        assert (caught.value.slug, caught.value.tries) == ("package", ("--config FILE",))
