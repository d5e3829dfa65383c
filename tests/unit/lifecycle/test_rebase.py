from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import RebaseError
from packrunner.formats import labels
from packrunner.images.image import CREATED, Descriptor, Image, Layer
from packrunner.lifecycle.export import report
from packrunner.lifecycle.rebase import NewBase, read_label, rebase, run_image_name, split
from packrunner.names import Digest, canonical_image, registry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DISTRO = {"io.buildpacks.base.distro.name": "debian", "io.buildpacks.base.distro.version": "13"}


def layer(letter: str) -> Layer:
    digest = Digest("sha256:" + letter * 64)
    return Layer(diff_id=digest, blob=Descriptor(digest=digest, size=1), created_by=letter)


def label(**changes: Any) -> dict[str, Any]:
    return {
        "app": [{"sha": layer("c").diff_id}],
        "buildpacks": [{"key": "x/y", "version": "1", "layers": {"z": {"sha": layer("d").diff_id, "data": {"k": 1}}}}],
        "runImage": {
            "topLayer": layer("b").diff_id,
            "reference": "run@sha256:" + "0" * 64,
            "image": "registry.example.com/team/run:1",
            "mirrors": ["mirror.example.com/run:1"],
        },
        "stack": {"runImage": {"image": "registry.example.com/team/run:1", "mirrors": ["mirror.example.com/run:1"]}},
        "somebody-elses": {"kept": True},
        **changes,
    }


def app(
    found: dict[str, Any] | None = None,
    *,
    layers: str = "abcd",
    api: str = "0.15",
    more: Mapping[str, str] | None = None,
) -> Image:
    pairs = {labels.LIFECYCLE: json.dumps(found or label()), **DISTRO, **(more or {})}
    return Image(
        layers=tuple(map(layer, layers)),
        labels={key: value for key, value in pairs.items() if value},
        env=(("PATH", "/bin"), *((("CNB_PLATFORM_API", api),) if api else ())),
        user="1000:1000",
        entrypoint=("/cnb/process/web",),
        working_dir="/workspace",
        created="2020-01-01T00:00:00Z",
        extra_top={"os.version": "1", "author": "me"},
    )


def base(name: str = "registry.example.com/team/run:1", layers: str = "ef", **changes: Any) -> NewBase:
    found = {**DISTRO, **changes.pop("labels", {})}
    picture = Image(
        layers=tuple(map(layer, layers)),
        labels={key: value for key, value in found.items() if value},
        env=(("PATH", "/new"),),
        user="0:0",
        working_dir="/",
        **changes,
    )
    return NewBase(image=picture, name=name, reference=f"{name}@{picture.digest}")


def written(image: Image) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(image.labels[labels.LIFECYCLE])
    return value


def letters(image: Image) -> str:
    return "".join(one.diff_id[7] for one in image.layers)


@pytest.mark.cnb("RBS-01")
@pytest.mark.parametrize(
    ("layers", "onto", "expected"),
    [("abcd", "ef", "efcd"), ("bcd", "efa", "efacd"), ("abcd", "e", "ecd"), ("ab", "e", "e")],
)
def test_the_layers_up_to_the_top_of_the_base_are_replaced(layers: str, onto: str, expected: str) -> None:
    found = label() if len(layers) > 2 else label(app=[], buildpacks=[])
    made = rebase(app(found, layers=layers), base(layers=onto))
    assert letters(made) == expected
    assert [one.created_by for one in made.layers] == list(expected)


@pytest.mark.cnb("RBS-01")
def test_an_empty_layer_that_the_base_repeats_ends_it_where_it_comes_last() -> None:
    assert letters(rebase(app(layers="babcd"), base())) == "efcd"
    # But not one of the application's that happens to be equal.
    own = label(app=[{"sha": layer("c").diff_id}, {"sha": layer("b").diff_id}])
    assert letters(rebase(app(own, layers="abcbd"), base())) == "efcbd"


@pytest.mark.cnb("RBS-01")
@pytest.mark.parametrize("top", ["sha256:" + "9" * 64, "", None, 7])
def test_an_unknown_top_layer_fails(top: object) -> None:
    found = label()
    found["runImage"]["topLayer"] = top
    with pytest.raises(RebaseError) as caught:
        rebase(app(found), base(), force=True)
    assert (caught.value.slug, caught.value.exit_code) == ("rebase-top-layer", 72)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"runImage": []}'])
def test_an_image_without_the_lifecycles_label_is_refused(text: str) -> None:
    image = app(more={labels.LIFECYCLE: text})
    with pytest.raises(RebaseError) as caught:
        rebase(image, base(), force=True)
    assert caught.value.slug == "rebase-image"
    assert ("damaged" if text else "missing") in (caught.value.cause or "")


@pytest.mark.cnb("RBS-02")
@pytest.mark.parametrize(
    ("changes", "explicit", "registry", "unreadable", "expected"),
    [
        ({}, "any:2", "x", "", "any:2"),
        ({}, None, "x", "", "registry.example.com/team/run:1"),
        ({}, None, "mirror.example.com", "", "mirror.example.com/run:1"),
        ({}, None, "mirror.example.com", "mirror.example.com/run:1", "registry.example.com/team/run:1"),
        ({}, None, "x", "registry.example.com/team/run:1", "mirror.example.com/run:1"),
        ({"runImage": {}, "stack": {"runImage": {"image": "old/run"}}}, None, "x", "", "old/run"),
        ({"runImage": {"image": "new"}, "stack": {"runImage": {"image": "old"}}}, None, "x", "", "new"),
    ],
)
def test_the_new_base_is_the_explicit_one_or_a_recorded_one_that_can_be_read(
    changes: dict[str, Any], explicit: str | None, registry: str, unreadable: str, expected: str
) -> None:
    found = label(**changes)
    chosen = run_image_name(found, explicit, registry=registry, readable=lambda name: name != unreadable)
    assert chosen == expected


@pytest.mark.cnb("RBS-02")
def test_no_base_to_be_found_is_said_with_the_names_that_were_tried() -> None:
    with pytest.raises(RebaseError, match="is there") as caught:
        run_image_name(label(), None, registry="x", readable=lambda _: False)
    assert "mirror.example.com/run:1" in (caught.value.cause or "")
    with pytest.raises(RebaseError, match="does not say"):
        run_image_name({"runImage": {}}, None, registry="x", readable=lambda _: True)


@pytest.mark.cnb("RBS-03")
@pytest.mark.parametrize(
    ("recorded", "name", "accepted"),
    [
        ("x", "index.docker.io/library/x:latest", True),
        ("x", "docker.io/library/x", True),
        ("x:latest@sha256:" + "1" * 64, "x", True),
        ("x", "x:2", False),
        ("x", "registry.example.com/x", False),
        ("x", "mirror.example.com/run:1", True),
        ("localhost:5000/x", "localhost:5000/x:latest", True),
        ("x", "y", False),
    ],
)
def test_the_new_base_has_to_be_the_recorded_one_or_a_mirror(recorded: str, name: str, accepted: bool) -> None:
    run = {**label()["runImage"], "image": recorded}
    image = app(label(runImage=run, stack={}))
    if accepted:
        rebase(image, base(name))
    else:
        with pytest.raises(RebaseError) as caught:
            rebase(image, base(name))
        assert (caught.value.slug, caught.value.exit_code) == ("rebase-name", 72)
    rebase(image, base(name), force=True)
    # Platforms below 0.12 compare no names, and then rewrite none.
    assert written(rebase(image, base(name), accept="any"))["runImage"]["image"] == recorded


def test_within_one_repository_and_distribution_no_force_is_needed() -> None:
    made = rebase(app(), base("registry.example.com/team/run:2"), accept="repository")
    assert written(made)["runImage"]["image"] == "registry.example.com/team/run:2"
    for other in (
        base("registry.example.com/team/other:1"),
        base("registry.example.com/team/run:2", labels={"io.buildpacks.base.distro.version": ""}),
    ):
        with pytest.raises(RebaseError) as caught:
            rebase(app(), other, accept="repository")
        assert caught.value.slug == "rebase-name"


@pytest.mark.cnb("RBS-04")
def test_a_forced_unknown_base_is_recorded_without_mirrors_and_in_stack_too() -> None:
    new = base("elsewhere.example.com/run:9")
    found = written(rebase(app(), new, force=True))
    assert found["runImage"] == {
        "topLayer": layer("f").diff_id,
        "reference": new.reference,
        "image": "elsewhere.example.com/run:9",
    }
    assert found["stack"] == {"runImage": {"image": "elsewhere.example.com/run:9"}}


@pytest.mark.cnb("RBS-05")
@pytest.mark.parametrize(("value", "allowed"), [("false", False), ("true", True), ("", True)])
def test_an_image_may_forbid_to_be_rebased(value: str, allowed: bool) -> None:
    image = app(more={labels.REBASABLE: value})
    rebase(image, base(), force=True)
    if allowed:
        rebase(image, base())
        return
    with pytest.raises(RebaseError) as caught:
        rebase(image, base())
    assert (caught.value.slug, caught.value.exit_code) == ("rebase-refused", 72)


@pytest.mark.cnb("RBS-06")
@pytest.mark.parametrize(
    ("mine", "other", "allowed"),
    [
        ({}, {}, True),
        ({}, {"os": "windows"}, False),
        ({}, {"architecture": "arm64"}, False),
        ({"variant": "v7"}, {"variant": "v8"}, False),
        ({"variant": "v7"}, {"variant": "v7"}, True),
        ({"variant": "v7"}, {}, True),
        ({}, {"variant": "v8"}, True),
        ({}, {"labels": {"io.buildpacks.base.distro.version": "12"}}, False),
        ({}, {"labels": {"io.buildpacks.base.distro.name": "ubuntu"}}, False),
        ({}, {"labels": {"io.buildpacks.base.distro.name": "", "io.buildpacks.base.distro.version": ""}}, True),
        ({"labels": {"io.buildpacks.base.distro.version": ""}}, {}, False),
    ],
)
def test_platform_and_distribution_have_to_be_the_same(
    mine: dict[str, Any], other: dict[str, Any], allowed: bool
) -> None:
    image = replace(app(more=mine.get("labels")), variant=mine.get("variant", ""))
    new = base(**other)
    if allowed:
        rebase(image, new)
    else:
        with pytest.raises(RebaseError) as caught:
            rebase(image, new)
        assert (caught.value.slug, caught.value.exit_code) == ("rebase-target", 72)
    rebase(image, new, force=True)


STACK = "io.buildpacks.stack.id"
MIXINS = "io.buildpacks.stack.mixins"


@pytest.mark.cnb("RBS-07")
@pytest.mark.parametrize("api", ["", "0.11", "0.7"])
@pytest.mark.parametrize(
    ("mine", "other", "allowed"),
    [
        ({STACK: "s"}, {STACK: "s"}, True),
        ({STACK: "s"}, {STACK: "t"}, False),
        ({STACK: "s"}, {}, False),
        ({}, {}, False),
        ({STACK: "s", MIXINS: '["run:a", "b"]'}, {STACK: "s", MIXINS: '["a", "b", "run:c"]'}, True),
        ({STACK: "s", MIXINS: '["build:a"]'}, {STACK: "s", MIXINS: '["a"]'}, True),
        ({STACK: "s", MIXINS: '["a", "d"]'}, {STACK: "s", MIXINS: '["a"]'}, False),
        ({STACK: "s", MIXINS: '["a"]'}, {STACK: "s"}, False),
        ({STACK: "s", MIXINS: "{"}, {STACK: "s"}, False),
        # The distribution's labels are not looked at: the stack says it.
        ({STACK: "s"}, {STACK: "s", "io.buildpacks.base.distro.version": "12"}, True),
    ],
)
def test_images_of_old_platforms_are_compared_by_their_stack(
    api: str, mine: dict[str, str], other: dict[str, str], allowed: bool
) -> None:
    image, new = app(api=api, more=mine), base(labels=other)
    for force in (False, True):
        if allowed:
            rebase(image, new, force=force)
            continue
        with pytest.raises(RebaseError) as caught:
            rebase(image, new, force=force)
        assert (caught.value.slug, caught.value.exit_code) == ("rebase-stack", 72)
    if STACK in mine and STACK in other and MIXINS not in mine and not allowed:
        rebase(app(api="0.12", more=mine), new)


@pytest.mark.cnb("RBS-08")
def test_of_the_label_only_top_layer_and_reference_differ() -> None:
    before, new = label(), base()
    image = rebase(app(before), new)
    after = written(image)
    assert after["runImage"].pop("topLayer") == layer("f").diff_id
    assert after["runImage"].pop("reference") == new.reference
    for key in ("topLayer", "reference"):
        del before["runImage"][key]
    assert after == before
    assert list(after) == list(before)


@pytest.mark.cnb("RBS-09")
def test_labels_about_the_base_are_those_of_the_new_base() -> None:
    stale = {
        "io.buildpacks.base.homepage": "old",
        "io.buildpacks.stack.maintainer": "old",
        "io.packrunner.base": "debian:13@old",
        "mine": "kept",
    }
    fresh = {"io.buildpacks.base.id": "new", "io.buildpacks.stack.id": "new", "unrelated": "stays below"}
    found = dict(rebase(app(more=stale), base(labels=fresh)).labels)
    del found[labels.LIFECYCLE]
    assert found == {**DISTRO, "mine": "kept", "io.buildpacks.base.id": "new", "io.buildpacks.stack.id": "new"}


@pytest.mark.cnb("RBS-10")
def test_the_platform_follows_the_base_and_the_start_stays() -> None:
    new = base(architecture="arm64", variant="v8", extra_top={"os.version": "2", "author": "them"})
    made = rebase(app(), new, force=True)
    config = json.loads(made.config_bytes())
    assert (config["os"], config["architecture"], config["variant"], config["os.version"]) == (
        "linux",
        "arm64",
        "v8",
        "2",
    )
    assert config["author"] == "me"
    old = json.loads(app().config_bytes())["config"]
    for key in ("Env", "User", "Entrypoint", "WorkingDir"):
        assert config["config"][key] == old[key]
    assert "os.version" not in json.loads(rebase(app(), base()).config_bytes())


@pytest.mark.cnb("RBS-11")
def test_the_time_is_a_constant_and_the_report_names_the_image() -> None:
    made = rebase(app(), base())
    assert report(made, ["a:1", "b:1"]).image.tags == ("a:1", "b:1")
    assert report(made, ["a:1"]).image.digest == made.digest
    assert rebase(app(), base()).created == CREATED
    assert rebase(app(), base(), created="2026-01-01T00:00:00Z").created == "2026-01-01T00:00:00Z"


def test_there_and_back_again_is_the_same_image() -> None:
    first = base(layers="ab")
    image = rebase(app(), first)
    there = rebase(image, base(layers="ef"))
    assert there.digest != image.digest
    assert rebase(there, first).digest == image.digest
    assert rebase(image, first).digest == image.digest


def test_split_tells_the_base_from_the_application() -> None:
    below, own = split(app(), read_label(app()))
    assert (letters(app()), len(below), len(own)) == ("abcd", 2, 2)


@pytest.mark.parametrize(
    ("name", "canonical", "registry"),
    [
        ("x", "index.docker.io/library/x:latest", "index.docker.io"),
        ("a/x:1", "index.docker.io/a/x:1", "index.docker.io"),
        ("docker.io/a/x", "index.docker.io/a/x:latest", "index.docker.io"),
        ("r.example.com/x@sha256:0", "r.example.com/x:latest", "r.example.com"),
        ("r:5000/x", "r:5000/x:latest", "r:5000"),
        ("localhost/a/b:1", "localhost/a/b:1", "localhost"),
    ],
)
def test_names_are_compared_in_full(name: str, canonical: str, registry: str) -> None:
    assert (canonical_image(name), registry_of(name)) == (canonical, registry)
