"""Images of others as builders: what their labels and files say, and what they must say."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from packrunner.catalog.builder_image import ImageBuilder
from packrunner.catalog.select import CatalogSettings, Selection, select, select_order
from packrunner.catalog.wanted import Groups, Wanted
from packrunner.errors import BuildpackApiError, PlatformApiError, UsageError
from packrunner.formats.platform import RunTarget
from packrunner.formats.run import RunImageEntry
from packrunner.images.image import Image
from packrunner.images.layer import Dir, File, Link, Part
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from tests import builders
from tests.builders import MIRROR, RUN_IMAGE, USER, Buildpack, groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = (RunImageEntry(image=RUN_IMAGE, mirrors=(MIRROR,)),)
A1, A2, B = Buildpack(id="acme/a"), Buildpack(id="acme/a", version="2.0.0"), Buildpack(id="acme/b", api="0.10")


class Place:
    """A store, and builders opened from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = LocalStore(str(root / "store"))
        self.snapshots = Snapshots(str(root / "snapshots"), self.store)
        self.base = builders.tiny_base(self.store)
        self.opened: list[ImageBuilder] = []
        self.asked: list[str] = []

    def find(self, name: str) -> Image:
        self.asked.append(name)
        if name != MIRROR:
            raise UsageError("no", slug="unknown-image")
        return self.base

    def open(self, image: Image) -> ImageBuilder:
        self.opened.append(ImageBuilder(image, reference="theirs", snapshots=self.snapshots, find=self.find))
        return self.opened[-1]

    def made(self, *buildpacks: Buildpack, order: list[list[str]] | None = None, **more: Any) -> ImageBuilder:
        order = [[f"{b.id}@{b.version}"] for b in buildpacks] if order is None else order
        return self.open(builders.pack_made(self.store, self.base, buildpacks, order, **more))

    def select(self, builder: ImageBuilder, *requested: str, **more: Any) -> Selection:
        settings = CatalogSettings(stage_dir=str(self.root / "stage"))
        return select(requested, settings=settings, carried=builder.carried, **more)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for builder in made.opened:
        builder.close()
    made.snapshots.close()


def order_of(selection: Selection) -> list[list[str]]:
    return [
        [f"{ref.id}@{ref.version}{'?' if ref.optional else ''}" for ref in group.group]
        for group in selection.order.order
    ]


def without(image: Image, *labels: str) -> Image:
    kept = {name: value for name, value in image.labels.items() if name not in labels}
    return Image(env=image.env, user=image.user, labels=kept, layers=image.layers)


def in_directory(root: Path, identity: str, version: str = "1.0.0") -> str:
    """A buildpack of one's own."""
    place = root / f"{identity.replace('/', '_')}-{version}"
    (place / "bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text(f'api = "0.10"\n[buildpack]\nid = "{identity}"\nversion = "{version}"\n')
    for name in ("detect", "build"):
        (place / "bin" / name).write_text("#!/bin/sh\n")
    return str(place)


@pytest.mark.cnb("IMG-01")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CNB_USER_ID", None),
        ("CNB_GROUP_ID", None),
        ("CNB_USER_ID", "0"),
        ("CNB_GROUP_ID", "0"),
        ("CNB_USER_ID", "cnb"),
        ("CNB_USER_ID", "-5"),
        ("CNB_GROUP_ID", "99999999999999999999"),
    ],
)
def test_a_builder_says_who_builds(place: Place, name: str, value: str | None) -> None:
    image = builders.pack_made(place.store, place.base, [A1], [["acme/a"]])
    env = {**dict(image.env), **({name: value} if value else {})}
    if value is None:
        del env[name]
    with pytest.raises(UsageError, match="not a builder") as caught:
        place.open(Image(env=tuple(env.items()), labels=image.labels, layers=image.layers))
    assert caught.value.slug == "not-a-builder"
    assert name in (caught.value.cause or "")


@pytest.mark.cnb("IMG-01", "DET-05")
def test_the_user_is_found_in_the_image(place: Place) -> None:
    user = place.made(A1).user
    assert (user.uid, user.gid, user.home, user.name) == (*USER, "/srv/theirs", "theirs")
    stranger = place.made(A1, user=(4711, 4712)).user
    assert (stranger.uid, stranger.gid, stranger.home) == (4711, 4712, "/home/cnb")
    odd = [File(target="/etc/passwd", data=b"x:x:1002:1:::\nodd:x:4711:1::/../..:/bin/sh\n")]
    assert place.made(A1, user=(4711, 1), files=odd).user.home == "/home/cnb"


@pytest.mark.cnb("IMG-07", "RES-05")
def test_run_images_come_from_labels_then_from_files(place: Place) -> None:
    whole = builders.pack_made(place.store, place.base, [A1], [["acme/a"]])
    assert place.open(whole).run_images == RUN
    assert place.open(without(whole, "io.buildpacks.builder.metadata")).run_images == RUN  # run.toml
    assert place.open(builders.old(place.store, place.base)).run_images == RUN  # stack.runImage
    assert place.open(builders.heroku_like(place.store, place.base)).run_images == RUN  # both
    only_file = without(builders.old(place.store, place.base), "io.buildpacks.builder.metadata")
    assert place.open(only_file).run_images == RUN  # stack.toml
    bare = place.open(builders.build_image(place.store, place.base))
    assert bare.run_images == ()


@pytest.mark.cnb("RES-05")
def test_a_run_image_that_is_not_there_is_none(place: Place) -> None:
    builder = place.made(A1)
    assert builder.find_run_image(RUN_IMAGE) is None
    assert builder.find_run_image(MIRROR) is place.base
    assert builder.images == (RUN_IMAGE, MIRROR)


@pytest.mark.parametrize("name", ["oci:/srv/private", "docker-archive:/srv/x.tar", "../x", ""])
def test_a_builder_names_no_files_of_this_machine(place: Place, name: str) -> None:
    assert place.made(A1).find_run_image(name) is None
    assert place.asked == []


@pytest.mark.cnb("IMG-13")
@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        ({"apis": {"platform": {"deprecated": ["0.3"], "supported": ["0.7", "0.9", "0.10"]}}}, "0.10"),
        ({"apis": {"platform": {"deprecated": ["0.8"], "supported": None}}}, "0.8"),
        ({"apis": {"platform": {"supported": ["0.14", "0.15", "0.99"]}}}, "0.15"),
        ({"api": {"platform": "0.7"}}, "0.7"),
        ({}, "0.15"),
    ],
)
def test_the_highest_platform_api_that_both_have(place: Place, lifecycle: dict[str, Any], expected: str) -> None:
    label = builders.metadata([A1], lifecycle={"version": "1", **lifecycle})
    assert place.made(A1, label=label).platform_api == expected


@pytest.mark.cnb("IMG-13")
@pytest.mark.parametrize(("lifecycle", "expected"), [(None, "0.9"), ({}, "0.9"), ({"platform": "0.7"}, "0.9")])
def test_the_apis_may_have_a_label_of_their_own(place: Place, lifecycle: dict[str, Any] | None, expected: str) -> None:
    image = builders.pack_made(place.store, place.base, [A1], [["acme/a"]])
    own = {"io.buildpacks.lifecycle.apis": json.dumps({"platform": {"supported": ["0.8", "0.9"]}})}
    if lifecycle is None:
        image = without(image, "io.buildpacks.builder.metadata")
    else:
        own["io.buildpacks.builder.metadata"] = json.dumps({"lifecycle": {"api": lifecycle}})
    assert place.open(image.with_labels(own)).platform_api == expected


@pytest.mark.cnb("IMG-13")
def test_no_platform_api_in_common(place: Place) -> None:
    label = builders.metadata([A1], lifecycle={"apis": {"platform": {"supported": ["0.3", "0.4"]}}})
    with pytest.raises(PlatformApiError) as caught:
        place.made(A1, label=label).check("amd64")
    assert "0.3, 0.4" in (caught.value.cause or "")
    assert "0.15" in (caught.value.cause or "")


@pytest.mark.cnb("IMG-13")
def test_the_lifecycles_own_file_says_its_apis_where_no_label_does(place: Place) -> None:
    table = {"apis": {"platform": {"deprecated": [], "supported": ["0.8"]}}, "lifecycle": {"version": "0.12.0"}}
    files: list[Part] = [Dir(target="/cnb/lifecycle"), builders.toml("/cnb/lifecycle/lifecycle.toml", table)]
    image = builders.pack_made(place.store, place.base, [A1], [["acme/a"]], files=files)
    assert place.open(without(image, "io.buildpacks.builder.metadata")).platform_api == "0.8"


def test_a_builder_for_another_machine_is_refused(place: Place) -> None:
    with pytest.raises(UsageError) as caught:
        place.made(A1).check("arm64")
    assert caught.value.slug == "builder-platform"


@pytest.mark.cnb("TGT-07", "IMG-03")
def test_the_distribution_is_that_of_the_labels_else_of_the_files(place: Place) -> None:
    assert place.made(A1).target == RunTarget("linux", "amd64", "", "ubuntu", "24.04")
    names = {"io.buildpacks.base.distro.name": "alpine", "io.buildpacks.base.distro.version": "3.22"}
    assert place.open(place.made(A1).image.with_labels(names)).target == RunTarget(
        "linux", "amd64", "", "alpine", "3.22"
    )


@pytest.mark.cnb("IMG-08")
def test_the_operators_variables(place: Place) -> None:
    assert place.made(A1).operator == {}
    builder = place.open(builders.heroku_like(place.store, place.base))
    assert builder.operator == {"OPERATOR": b"of the builder"}


@pytest.mark.parametrize("key", ["io.buildpacks.builder.metadata", "io.buildpacks.buildpack.order"])
@pytest.mark.parametrize("text", ["{", "[1]", '{"images": 5}', "[" * 9000])
def test_a_label_that_cannot_be_read_is_named(place: Place, key: str, text: str) -> None:
    image = builders.pack_made(place.store, place.base, [A1], [["acme/a"]]).with_labels({key: text})
    with pytest.raises(UsageError, match=key) as caught:
        _ = place.open(image).carried
    assert caught.value.slug == "not-a-builder"


@pytest.mark.cnb("IMG-09", "IMG-10")
@pytest.mark.parametrize("key", ["builder.metadata", "buildpack.order", "buildpack.system", "lifecycle.apis"])
def test_a_label_of_null_says_nothing(place: Place, key: str) -> None:
    image = builders.pack_made(place.store, place.base, [A1], [["acme/a"]])
    builder = place.open(image.with_labels({f"io.buildpacks.{key}": "null"}))
    assert order_of(place.select(builder)) == [["acme/a@1.0.0"]]
    assert builder.run_images == RUN


@pytest.mark.cnb("IMG-10", "IMG-05")
@pytest.mark.parametrize("labelled", [True, False])
def test_the_order_is_pinned_to_what_is_there(place: Place, *, labelled: bool) -> None:
    image = builders.pack_made(place.store, place.base, [A1, B], [["acme/b?", "acme/a"], ["acme/b@1.0.0"]])
    builder = place.open(image if labelled else without(image, "io.buildpacks.buildpack.order"))
    found = place.select(builder)
    assert order_of(found) == [["acme/b@1.0.0?", "acme/a@1.0.0"], ["acme/b@1.0.0"]]
    assert found.mounts == ()  # they are in the image
    assert found.inputs == ()
    assert found.buildpacks["acme/a", "1.0.0"].descriptor.api == "0.8"


@pytest.mark.cnb("IMG-10")
def test_two_versions_and_none_named(place: Place) -> None:
    builder = place.made(A1, A2, order=[["acme/a"]])
    with pytest.raises(UsageError, match="without a version") as caught:
        place.select(builder)
    assert "1.0.0, 2.0.0" in (caught.value.cause or "")
    assert order_of(place.select(place.made(A1, A2, order=[["acme/a@2.0.0"]]))) == [["acme/a@2.0.0"]]


@pytest.mark.cnb("BPD-05")
def test_what_the_order_names_must_be_there(place: Place) -> None:
    with pytest.raises(UsageError, match=r"theirs has no buildpack acme/b@3\.0\.0: did you mean acme/b"):
        place.select(place.made(A1, B, order=[["acme/b@3.0.0"]]))


def test_an_image_without_an_order_needs_names(place: Place) -> None:
    builder = place.open(builders.build_image(place.store, place.base))
    with pytest.raises(UsageError, match="no order") as caught:
        place.select(builder)
    assert caught.value.slug == "not-a-builder"
    assert order_of(place.select(builder, in_directory(place.root, "acme/mine"))) == [["acme/mine@1.0.0"]]


@pytest.mark.cnb("BPD-06")
def test_composites_bring_their_members(place: Place) -> None:
    found = place.select(place.open(builders.paketo_like(place.store, place.base)))
    assert order_of(found) == [["paketo-like/python@2.20.0"]]
    assert sorted(identity for identity, _ in found.buildpacks) == [
        "paketo-like/ca-certificates",
        "paketo-like/cpython",
        "paketo-like/python",
    ]


@pytest.mark.cnb("BPD-11", "IMG-10")
@pytest.mark.parametrize("labelled", [True, False])
def test_system_buildpacks_are_the_builders(place: Place, *, labelled: bool) -> None:
    table = {"system": {"pre": {"buildpacks": groups([["acme/b?"]])[0]["group"]}}}
    files = () if labelled else [builders.toml("/cnb/system.toml", table)]
    image = place.made(A1, B, order=[["acme/a"]], files=files).image
    if labelled:
        image = image.with_labels({"io.buildpacks.buildpack.system": json.dumps({**table["system"], "post": None})})
    system = place.select(place.open(image)).system.system
    assert [(ref.id, ref.version, ref.optional) for ref in system.pre.buildpacks] == [("acme/b", "1.0.0", True)]
    assert system.post.buildpacks == ()


@pytest.mark.parametrize("asked", ["acme/a@2.0.0", "urn:cnb:builder:acme/a@2.0.0", "from=builder:acme/a@2.0.0"])
def test_a_buildpack_of_the_builder_by_name(place: Place, asked: str) -> None:
    found = place.select(place.made(A1, A2, B), asked, "acme/b")
    assert order_of(found) == [["acme/a@2.0.0", "acme/b@1.0.0"]]


def test_an_order_of_ones_own_names_the_builders(place: Place) -> None:
    in_directory(place.root / "shelf", "acme/mine")
    order = place.root / "order.toml"
    order.write_text(tomli_w.dumps({"order": groups([["acme/mine", "acme/a@2.0.0", "packrunner/procfile"]])}))
    settings = CatalogSettings(stage_dir=str(place.root / "stage"))
    carried = place.made(A1, A2).carried
    found = select_order(str(order), (str(place.root / "shelf"),), settings=settings, carried=carried)
    assert order_of(found) == [["acme/mine@1.0.0", "acme/a@2.0.0", "packrunner/procfile@0.1.0"]]
    assert sorted(mount.target.split("/")[3] for mount in found.mounts) == ["acme_mine", "packrunner_procfile"]


def test_what_the_builder_does_not_have(place: Place) -> None:
    for asked in ("urn:cnb:builder:python", "acme/c"):
        with pytest.raises(UsageError, match="theirs has no buildpack") as caught:
            place.select(place.made(A1, B), asked)
        assert "acme/a, acme/b" in (caught.value.cause or "")


def test_built_in_buildpacks_are_still_there_by_name(place: Place) -> None:
    found = place.select(place.made(A1), "procfile", "from=builder")
    assert order_of(found) == [["packrunner/procfile@0.1.0", "acme/a@1.0.0"]]
    assert found.system.system.pre.buildpacks == ()


@pytest.mark.cnb("PRJ-07", "PRJ-05")
def test_groups_of_project_toml_name_the_builders(place: Place) -> None:
    pre = Groups(pre=(Wanted(text="acme/b"),))
    assert order_of(place.select(place.made(A1, B, order=[["acme/a"]]), project=pre)) == [
        ["acme/b@1.0.0", "acme/a@1.0.0"]
    ]
    group = Groups(group=(Wanted(text="acme/b@1.0.0", optional=True),))
    assert order_of(place.select(place.made(A1, B), project=group)) == [["acme/b@1.0.0?"]]


def test_an_added_buildpack_is_shown_beside_those_of_the_builder(place: Place) -> None:
    mine = in_directory(place.root, "acme/mine")
    found = place.select(place.made(A1), mine, "from=builder")
    (mount,) = found.mounts
    assert mount.target == "/cnb/buildpacks/acme_mine/1.0.0"
    assert not mount.writable
    assert sorted(os.listdir(mount.source)) == ["bin", "buildpack.toml"]
    assert found.inputs == (mine,)


@pytest.mark.parametrize("other", ["from=builder", "acme/a@1.0.0"])
@pytest.mark.parametrize("first", [True, False])
def test_an_added_buildpack_hides_that_of_the_builder_with_its_version(
    place: Place, other: str, *, first: bool
) -> None:
    mine = in_directory(place.root, "acme/a")
    asked = (mine, other) if first else (other, mine)
    found = place.select(place.made(A1), *asked)
    assert [mount.target for mount in found.mounts] == ["/cnb/buildpacks/acme_a/1.0.0"]
    assert found.buildpacks["acme/a", "1.0.0"].source == mine
    assert found.buildpacks["acme/a", "1.0.0"].descriptor.api == "0.10"


@pytest.mark.cnb("BPD-02")
def test_an_api_that_nobody_has_any_more(place: Place) -> None:
    with pytest.raises(BuildpackApiError):
        place.select(place.made(A1, Buildpack(id="acme/old", api="0.2")))


def test_a_descriptor_of_another_name_is_refused(place: Place) -> None:
    wrong = [builders.toml(f"{A1.directory}/buildpack.toml", B.descriptor())]
    with pytest.raises(UsageError, match=r"holds acme/b@1\.0\.0") as caught:
        place.select(place.made(A1, files=wrong))
    assert caught.value.at == "theirs:/cnb/buildpacks/acme_a/1.0.0/buildpack.toml"


@pytest.mark.cnb("BPD-12", "IMG-05")
def test_extensions_of_the_builder_are_staged_and_stand_in_front(place: Place) -> None:
    where = "/cnb/extensions/acme_ext/1.0.0"
    extension = [
        Dir(target="/cnb/extensions/acme_ext"),
        Dir(target=where),
        builders.toml(f"{where}/extension.toml", {"api": "0.10", "extension": {"id": "acme/ext", "version": "1.0.0"}}),
        Dir(target=f"{where}/bin"),
        File(target=f"{where}/bin/generate", data=b"#!/bin/sh\n", mode=0o755),
    ]
    image = place.made(A1, files=extension).image
    label = {"io.buildpacks.buildpack.order-extensions": json.dumps(groups([["acme/ext"]]))}
    builder = place.open(image.with_labels(label))
    found = place.select(builder)
    (group,) = found.order.order_extensions
    assert [(ref.id, ref.version, ref.optional) for ref in group.group] == [("acme/ext", "1.0.0", True)]
    (mount,) = found.extension_mounts
    assert mount.target == where
    assert os.path.exists(os.path.join(mount.source, "bin", "generate"))
    own = place.root / "own"
    (own / "generate").mkdir(parents=True)
    (own / "extension.toml").write_text('api = "0.10"\n[extension]\nid = "acme/own"\nversion = "1.0.0"\n')
    replaced = place.select(builder, extensions=(str(own),))
    assert [ref.id for group in replaced.order.order_extensions for ref in group.group] == ["acme/own"]


def test_files_of_a_builder_are_never_those_of_the_host(place: Place) -> None:
    files = [Link(target="/cnb/system.toml", to="../../../../../../../../../../etc/hostname")]
    builder = place.made(A1, files=files)
    assert place.select(builder).system.system.pre.buildpacks == ()
