"""The parts of a build that are known before it and reported after it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from packrunner.catalog.select import CatalogSettings, select
from packrunner.catalog.wanted import Groups, Wanted
from packrunner.config import Config
from packrunner.formats import labels, package
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.lifecycle import outline
from packrunner.lifecycle.cache import CachedBuildpack, CachedLayer, CacheRecord
from packrunner.lifecycle.decisions import NO_PART
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import merge
from packrunner.lifecycle.restore import LayerDecision
from packrunner.lifecycle.settings import chosen, outputs
from packrunner.names import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.catalog.select import Selection
    from packrunner.lifecycle.request import BuildRequest


def digest(letter: str) -> Digest:
    return Digest("sha256:" + letter * 64)


def request(environ: dict[str, str] | None = None, **flags: Any) -> BuildRequest:
    return merge(Flags(cwd="/src", image="shop", **flags), environ or {}, None, Config())


def write(place: Path, identity: str, version: str = "1.0.0", more: str = "", kind: str = "buildpack") -> str:
    (place / "bin").mkdir(parents=True)
    text = f'api = "0.12"\n[{kind}]\nid = "{identity}"\nversion = "{version}"\n{more}'
    (place / f"{kind}.toml").write_text(text)
    for program in ("detect", "build", "generate"):
        (place / "bin" / program).write_text("#!/bin/sh\n")
        (place / "bin" / program).chmod(0o755)
    return str(place)


COMPOSITE = """\
[[order]]
[[order.group]]
id = "acme/one"
version = "1.0.0"
[[order]]
[[order.group]]
id = "acme/two"
version = "1.0.0"
optional = true
[[order.group]]
id = "acme/dev"
version = "1.0.0"
"""


@pytest.fixture
def composed(tmp_path: Path) -> Selection:
    """A composite of two groups, a system buildpack, an inline one and an extension."""
    builtins = tmp_path / "builtin"
    write(builtins / "env", "packrunner/env")
    (builtins / "system.toml").write_text('[[system.pre.buildpacks]]\nid = "packrunner/env"\noptional = true\n')
    for name in ("one", "two"):
        write(tmp_path / name, f"acme/{name}")
    write(tmp_path / "dev", "acme/dev", more='exec-env = ["development"]\n')
    (tmp_path / "both").mkdir()
    (tmp_path / "both/buildpack.toml").write_text(
        f'api = "0.12"\n[buildpack]\nid = "acme/both"\nversion = "2.0.0"\n{COMPOSITE}'
    )
    extension = write(tmp_path / "ext", "acme/ext", kind="extension")
    (tmp_path / "sdk").mkdir()
    settings = CatalogSettings(
        stage_dir=str(tmp_path / "stage"), builtin_dir=str(builtins), sdk_dir=str(tmp_path / "sdk")
    )
    named = [Wanted(text=str(tmp_path / name)) for name in ("one", "two", "dev", "both")]
    inline = Wanted(text="acme/say@0.0.1", inline="echo hello", shell="/bin/sh", api="0.12")
    return select(
        (), settings=settings, project=Groups(group=(*named[3:], inline, *named[:3])), extensions=(extension,)
    )


def shown(group: outline.Group) -> list[str]:
    marks = (("optional", "?"), ("extension", "+"), ("system", "!"))
    return [m.id + "".join(mark for name, mark in marks if getattr(m, name)) for m in group.members]


@pytest.mark.cnb("BPD-04", "BPD-11", "BPD-12", "BPD-13")
def test_groups_are_what_detection_would_try(composed: Selection) -> None:
    found, more = outline.groups(composed, exec_env="production", platform_api="0.15")
    assert not more
    assert [shown(group) for group in found] == [
        ["acme/ext?+", "packrunner/env?!", "acme/one", "acme/say", "acme/two"],
        ["acme/ext?+", "packrunner/env?!", "acme/two?", "acme/say", "acme/one"],
        ["packrunner/env?!", "acme/one", "acme/say", "acme/two"],
        ["packrunner/env?!", "acme/two?", "acme/say", "acme/one"],
    ]
    assert {left.id for left in found[0].skipped} == {"acme/dev"}
    assert "development" in found[0].skipped[0].why
    assert [group.number for group in found] == [1, 2, 3, 4]


def test_sources_say_where_everything_comes_from(composed: Selection, tmp_path: Path) -> None:
    found = {one.id: one for one in outline.sources(composed)}
    origins = {identity: one.origin for identity, one in found.items()}
    assert origins == {
        "acme/ext": "directory",
        "acme/both": "directory",
        "acme/dev": "directory",
        "acme/one": "directory",
        "acme/two": "directory",
        "acme/say": "inline",
        "packrunner/env": "built-in",
    }
    assert found["acme/one"].place == str(tmp_path / "one")
    assert found["acme/one"].digest == composed.buildpacks["acme/one", "1.0.0"].digest
    assert outline.sources(composed)[0].id == "acme/ext"
    assert found["acme/both"].composite


class Labelled:
    """As much of a builder as its image."""

    reference = "acme/builder"

    def __init__(self, labels: dict[str, str], *layers: str) -> None:
        self.labels = labels
        found = tuple(Layer(diff_id=one, blob=Descriptor(digest=one, size=1)) for one in map(digest, layers))
        self.image: Image | None = Image(layers=found)


def layer_label(**layers: str) -> str:
    return json.dumps({f"acme/{name}": {"1.0.0": {"layerDiffID": digest(one)}} for name, one in layers.items()})


@pytest.mark.cnb("IMG-11")
def test_a_builders_layer_is_the_source_of_what_it_carries(composed: Selection) -> None:
    own = {key: replace(one, digest="") for key, one in composed.buildpacks.items() if one.id != "acme/one"}
    mixed = replace(composed, buildpacks=dict(composed.buildpacks) | own)
    label = {
        package.BUILDPACK_LAYERS: layer_label(one="1", two="2", dev="3"),
        package.EXTENSION_LAYERS: layer_label(ext="1"),
    }
    builder: Any = Labelled(label, "1", "2")
    layers = outline.layers(builder)
    assert set(layers) == {
        ("buildpack", "acme/one", "1.0.0"),
        ("buildpack", "acme/two", "1.0.0"),
        ("extension", "acme/ext", "1.0.0"),
    }
    found = {one.id: one for one in outline.sources(mixed, layers)}
    assert (found["acme/two"].digest, found["acme/two"].layer) == (None, digest("2"))
    # Staged here: its own content says more. Of a layer that the builder lacks nothing is known.
    assert found["acme/one"].digest
    assert found["acme/one"].layer is None
    assert found["acme/dev"].layer is None


def test_labels_that_cannot_be_read_tell_nothing() -> None:
    builder: Any = Labelled({package.BUILDPACK_LAYERS: "{", package.EXTENSION_LAYERS: layer_label(ext="1")}, "1")
    assert outline.layers(builder) == {("extension", "acme/ext", "1.0.0"): digest("1")}
    builder.image = None
    assert outline.layers(builder) == {}


def test_members_are_each_buildpack_that_may_take_part_once(composed: Selection) -> None:
    found = [one.id for one in outline.members(composed, exec_env="production", platform_api="0.15")]
    assert sorted(found) == ["acme/one", "acme/say", "acme/two", "packrunner/env"]


def cached(name: str) -> CachedLayer:
    return CachedLayer(diff_id=f"sha256:{name}", size=1, tree="")


def test_every_known_layer_has_its_line() -> None:
    record = CacheRecord(buildpacks=(CachedBuildpack(key="gone", version="1", layers={"tool": cached("t")}),))
    label = labels.LifecycleLabel(
        buildpacks=(
            labels.BuildpackRecord(key="gone", version="1", layers={"run": labels.LayerRecord(sha="x", launch=True)}),
        )
    )
    decisions = [
        LayerDecision(buildpack="a", name="z", action="metadata"),
        LayerDecision(buildpack="a", name="far", action="unpacked", diff_id="sha256:far"),
        LayerDecision(buildpack="a", name="near", action="unpacked", diff_id="sha256:near"),
        LayerDecision(buildpack="a", name="here", action="kept", diff_id="sha256:here"),
        LayerDecision(buildpack="a", name="old", action="dropped", reason="the cache was cleared"),
    ]
    found = outline.caches(
        decisions,
        ["a"],
        label=label,
        cache=record,
        previous="shop",
        carried={"sha256:far"},
        elsewhere="reg.example.com/cache",
    )
    assert [(one.buildpack, one.layer, one.action, one.origin, one.reason) for one in found] == [
        ("a", "far", "unpacked", "reg.example.com/cache", ""),
        ("a", "here", "kept", "the workspace", ""),
        ("a", "near", "unpacked", "the store", ""),
        ("a", "old", "dropped", "", "the cache was cleared"),
        ("a", "z", "metadata", "shop", ""),
        ("gone", "run", "dropped", "", NO_PART),
        ("gone", "tool", "dropped", "", NO_PART),
    ]


def test_settings_know_their_origins() -> None:
    asked = request({"PACKRUNNER_NETWORK": "none"}, tags=("shop:2",), outputs=("oci:out",), uid=1000)
    settings, _ = chosen(asked)
    found = {one.name: (one.value, one.origin) for one in settings}
    assert found["network"] == ("none", "environment")
    assert found["output"] == (("oci:/src/out",), "flag")
    assert found["builder"] == ("debian:13", "default")
    assert found["uid"] == (1000, "flag")
    assert "progress" not in found
    assert "gid" not in found


def test_no_value_of_a_variable_and_no_login_is_among_them() -> None:
    asked = request(
        env=("TOKEN=hunter2", "PLAIN=hunter2"),
        secrets=("pip=/etc/hunter2",),
        bindings=("db=/etc/hunter2",),
        buildpacks=("https://me:hunter2@example.com/x.tgz?sig=hunter2",),
        before=("git+https://me:hunter2@example.com/x@" + "0" * 40,),
    )
    settings, variables = chosen(asked)
    assert [(one.name, one.value, one.origin) for one in variables] == [
        ("PLAIN", None, "flag"),
        ("TOKEN", None, "flag"),
    ]
    text = json.dumps(msgspec.to_builtins((settings, variables), enc_hook=str))
    assert "hunter2" not in text
    assert "https://example.com/x.tgz" in text
    assert '"pip"' in text


def test_outputs_are_all_places() -> None:
    asked = request(
        tags=("shop:2",), push=True, outputs=("docker-archive:a.tar",), sbom_dir="sboms", caches=("type=dir,path=c",)
    )
    assert [(one.kind, str(one.place)) for one in outputs(asked)] == [
        ("store", "shop"),
        ("store", "shop:2"),
        ("registry", "shop"),
        ("registry", "shop:2"),
        ("file", "docker-archive:/src/a.tar"),
        ("cache", "/src/c"),
        ("sbom", "/src/sboms"),
    ]


@pytest.mark.parametrize(
    ("since", "changed", "unchanged"),
    [(None, (), False), (1.0, (), True), (1.0, (outline.Change(what="source"),), False)],
)
def test_nothing_has_changed_when_a_build_is_known_and_nothing_differs(
    since: float | None, changed: tuple[outline.Change, ...], unchanged: bool
) -> None:
    assert outline.Changes(since=since, changes=changed).unchanged == unchanged
