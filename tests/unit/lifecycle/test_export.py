"""The image that a build becomes."""

from __future__ import annotations

import json
import os
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from packrunner.errors import ExportError
from packrunner.events import LayerReported, Warned
from packrunner.formats import labels, toml
from packrunner.images.image import Image, Layer
from packrunner.lifecycle import layers
from packrunner.lifecycle.created import created_at
from packrunner.lifecycle.export import ExportResult, compose, entrypoint_for, report
from packrunner.names import Digest
from tests.cycle import World, writes
from tests.fakes import Call, FakeReporter

LAUNCH = "[types]\nlaunch = true\n"
KEPT = "[types]\nlaunch = true\ncache = true\n"
WEB = '[[processes]]\ntype = "web"\ncommand = ["run"]\n'
TIME = 315532801


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(root=tmp_path)
    (tmp_path / "app/main.py").write_text("print('hi')")
    (tmp_path / "app/static").mkdir()
    (tmp_path / "app/static/a.css").write_text("a{}")
    return world


def entries(world: World, layer: Layer) -> list[tarfile.TarInfo]:
    with tarfile.open(world.store.blob_path(layer.blob.digest)) as tar:
        return tar.getmembers()


def names(world: World, layer: Layer) -> list[str]:
    return ["/" + e.name.strip("/") for e in entries(world, layer)]


def by_comment(result: ExportResult) -> dict[str, Layer]:
    return {layer.created_by: layer for layer in result.image.layers}


def lifecycle_label(result: ExportResult) -> dict[str, Any]:
    label: dict[str, Any] = json.loads(result.image.labels[labels.LIFECYCLE])
    return label


@pytest.mark.cnb("EXP-01")
@pytest.mark.cnb("EXP-29")
def test_layers_in_their_order(world: World) -> None:
    sbom = ("application/vnd.cyclonedx+json",)
    world.add(
        "a",
        writes({"y.toml": LAUNCH, "y/f": "y", "x.toml": KEPT, "x/f": "x", "launch.sbom.cdx.json": "{}"}),
        sbom_formats=sbom,
    )
    world.add("b", writes({"z.toml": LAUNCH, "z/f": "z", "launch.toml": WEB}))
    result = world.cycle()
    assert [layer.created_by for layer in result.image.layers] == [
        "base",
        "Layer: 'x', Created by buildpack: acme/a@1.2.3",
        "Layer: 'y', Created by buildpack: acme/a@1.2.3",
        "Layer: 'z', Created by buildpack: acme/b@1.2.3",
        "Software Bill-of-Materials",
        "Application Layer",
        "Buildpacks Application Launcher",
        "Buildpacks Launcher Config",
        "Buildpacks Process Types",
    ]
    config = json.loads(result.image.config_bytes())
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 9


@pytest.mark.cnb("EXP-02")
@pytest.mark.cnb("EXP-07")
@pytest.mark.cnb("EXP-08")
@pytest.mark.cnb("EXP-09")
def test_entries_of_a_layer(world: World) -> None:
    def program(call: Call) -> None:
        call.write("x.toml", LAUNCH)
        call.write("x/bin/tool", "tool", mode=0o751)
        call.write("x/b", "b", mode=0o600)
        os.symlink("/etc/passwd", call.path("x/link"))
        os.chmod(call.path("x/bin"), 0o750)

    world.add("a", program)
    layer = by_comment(world.cycle())["Layer: 'x', Created by buildpack: acme/a@1.2.3"]
    found = entries(world, layer)
    assert [(e.name.strip("/"), oct(e.mode), e.type) for e in found] == [
        ("layers", "0o755", tarfile.DIRTYPE),
        ("layers/acme_a", "0o755", tarfile.DIRTYPE),
        ("layers/acme_a/x", "0o755", tarfile.DIRTYPE),
        ("layers/acme_a/x/b", "0o600", tarfile.REGTYPE),
        ("layers/acme_a/x/bin", "0o750", tarfile.DIRTYPE),
        ("layers/acme_a/x/bin/tool", "0o751", tarfile.REGTYPE),
        ("layers/acme_a/x/link", "0o777", tarfile.SYMTYPE),
    ]
    assert {e.mtime for e in found} == {TIME}
    assert {(e.uid, e.gid, e.uname, e.gname) for e in found} == {(1000, 1001, "", "")}
    assert found[-1].linkname == "/etc/passwd"


@pytest.mark.cnb("EXP-03")
def test_a_launch_layer_without_directory_is_that_of_the_previous_image(world: World) -> None:
    world.add("a", writes({"x.toml": LAUNCH, "x/f": "x"}))
    first = world.cycle()
    world.add("a", writes({"x.toml": LAUNCH + "[metadata]\nnew = 1\n"}))
    second = world.cycle()
    before, after = (lifecycle_label(r)["buildpacks"][0]["layers"]["x"] for r in (first, second))
    assert after["sha"] == before["sha"]
    assert (before["data"], after["data"]) == ({}, {"new": 1})
    assert [layer.diff_id for layer in second.image.layers] == [layer.diff_id for layer in first.image.layers]
    assert [r.state for r in second.layers if r.name == "x"] == ["reused"]


@pytest.mark.cnb("EXP-03")
@pytest.mark.cnb("EXP-04")
@pytest.mark.parametrize("types", [LAUNCH, KEPT])
def test_a_layer_that_is_nowhere_is_an_error(world: World, types: str) -> None:
    world.add("a", writes({"x.toml": types}))
    with pytest.raises(ExportError) as caught:
        world.cycle()
    assert (caught.value.slug, caught.value.exit_code) == ("layer-missing", 62)
    assert world.store.read("shop") is None
    assert not (world.root / "cache.json").exists()


@pytest.mark.cnb("EXP-04")
def test_a_cached_layer_without_directory_is_an_error_even_if_the_image_has_it(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    world.restore(clear=True)
    world.add("a", writes({"x.toml": KEPT}))
    world.build()
    with pytest.raises(ExportError):
        world.export()


@pytest.mark.cnb("EXP-05")
def test_a_layer_whose_file_was_deleted_is_not_in_the_image_any_more(world: World) -> None:
    world.add("a", writes({"x.toml": LAUNCH, "x/f": "x", "k.toml": KEPT, "k/f": "k"}))
    world.cycle()

    def deletes(call: Call) -> None:
        os.unlink(call.path("k.toml"))

    world.add("a", deletes)
    result = world.cycle()
    assert [c for c in by_comment(result) if c.startswith("Layer")] == []
    assert result.cache.buildpacks == ()


@pytest.mark.cnb("EXP-05")
def test_layers_that_are_not_launched_are_not_in_the_image(world: World) -> None:
    files = {"c.toml": "[types]\ncache = true", "c/f": "c", "b.toml": "[types]\nbuild = true", "b/f": "b", "n/f": "n"}
    world.add("a", writes(files))
    result = world.cycle()
    assert [c for c in by_comment(result) if c.startswith("Layer")] == []
    assert lifecycle_label(result)["buildpacks"] == [{"key": "acme/a", "version": "1.2.3"}]


@pytest.mark.cnb("EXP-33")
def test_the_cache_has_cached_layers_with_contents_only(world: World) -> None:
    files = {"c.toml": "[types]\ncache = true\n[metadata]\nn = 1", "c/f": "c", "k.toml": KEPT, "k/f": "k"}
    world.add("a", writes({**files, "e.toml": "[types]\ncache = true", "l.toml": LAUNCH, "l/f": "l"}))
    result = world.cycle()
    (buildpack,) = result.cache.buildpacks
    assert {n: (x.launch, x.metadata) for n, x in buildpack.layers.items()} == {"c": (False, {"n": 1}), "k": (True, {})}
    assert all(world.store.has(Digest(x.diff_id)) for x in buildpack.layers.values())
    world.add("a", writes({"k.toml": KEPT, "k/f": "k"}))
    assert set(world.cycle().cache.layers_of("acme/a")) == {"k"}


@pytest.mark.cnb("EXP-06")
@pytest.mark.cnb("EXP-30")
def test_the_same_again_is_the_same_image(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", "y.toml": LAUNCH, "y/f": "y", "launch.toml": WEB}))
    first = world.cycle()
    second = world.cycle()
    assert second.image.config_bytes() == first.image.config_bytes()
    assert second.image.digest == first.image.digest
    assert {r.state for r in first.layers} == {"new"}
    assert {r.state for r in second.layers} == {"reused"}
    assert world.cycle(clear=True).image.digest == first.image.digest


@pytest.mark.cnb("EXP-30")
def test_where_and_by_whom_it_is_built_does_not_matter(tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        world = World(root=tmp_path / place)
        (world.root / "app/f").write_text("f")
        os.utime(world.root / "app/f", (len(place), 17 if place == "one" else 99))
        world.add("a", writes({"x.toml": KEPT, "x/f": "x", "launch.toml": WEB}))
        digests.add(world.cycle().image.digest)
    assert len(digests) == 1


def test_an_unchanged_cached_layer_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    first = world.cycle()
    world.restore()
    world.build()
    world.layers("acme_a/x/f").chmod(0o644)  # the ctime changes: now it must be read
    assert [r.state for r in world.export().layers if r.name == "x"] == ["reused"]
    world.restore()
    world.build()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a proven tree was written again")

    monkeypatch.setattr(layers, "Tree", refuse)
    assert world.export().image.digest == first.image.digest


def test_a_changed_layer_is_said_to_be_changed(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    world.reporter = FakeReporter()
    world.add("a", writes({"x.toml": KEPT, "x/f": "other"}))
    result = world.cycle()
    assert [(r.state, r.buildpack) for r in result.layers if r.name == "x"] == [("changed", "acme/a")]
    (told,) = world.reporter.of(LayerReported)
    assert (told.name, told.detail) == ("x", "changed: other content (from acme/a)")
    assert told.size is not None
    assert {r.name: r.state for r in result.layers if not r.buildpack}["app"] == "reused"


def test_what_a_buildpack_said_is_not_said_again(world: World) -> None:
    said = '[[layers]]\nname = "x"\ndetail = "new: 3 packages"\n'
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", ".packrunner/report.toml": said}))
    result = world.cycle()
    assert [r.detail for r in result.layers if r.name == "x"] == ["new: 3 packages"]
    assert [e.detail for e in world.reporter.of(LayerReported)] == ["new: 3 packages"]


@pytest.mark.cnb("EXP-10")
def test_the_sbom_layer(world: World) -> None:
    files = {
        "x.toml": KEPT,
        "x/f": "x",
        "x.sbom.cdx.json": "{x}",
        "build.sbom.cdx.json": "{b}",
        "launch.sbom.cdx.json": "{l}",
    }
    world.add("a", writes(files), sbom_formats=("application/vnd.cyclonedx+json",))
    result = world.cycle()
    layer = by_comment(result)["Software Bill-of-Materials"]
    assert names(world, layer) == [
        "/layers",
        "/layers/sbom",
        "/layers/sbom/launch",
        "/layers/sbom/launch/acme_a",
        "/layers/sbom/launch/acme_a/sbom.cdx.json",
        "/layers/sbom/launch/acme_a/x",
        "/layers/sbom/launch/acme_a/x/sbom.cdx.json",
    ]
    assert lifecycle_label(result)["sbom"] == {"sha": layer.diff_id}
    assert world.layers("sbom/build/acme_a/sbom.cdx.json").read_text() == "{b}"


@pytest.mark.cnb("EXP-10")
def test_no_sbom_no_layer(world: World) -> None:
    world.add("a", writes({}))
    result = world.cycle()
    assert "Software Bill-of-Materials" not in by_comment(result)
    assert "sbom" not in lifecycle_label(result)


@pytest.mark.cnb("EXP-11")
def test_sboms_beside_the_launcher_are_exported(world: World) -> None:
    world.add("a", writes({}))
    assert "Software Bill-of-Materials" not in by_comment(world.cycle())
    (world.root / "launcher.sbom.cdx.json").write_text("{launcher}")
    (world.root / "lifecycle.sbom.spdx.json").write_text("{lifecycle}")
    result = world.cycle()
    layer = by_comment(result)["Software Bill-of-Materials"]
    place = "sbom/launch/buildpacksio_lifecycle/launcher/sbom.cdx.json"
    assert names(world, layer)[-1] == f"/layers/{place}"
    assert not [name for name in names(world, layer) if "spdx" in name]
    assert world.layers(place).read_text() == "{launcher}"
    assert world.layers("sbom/build/buildpacksio_lifecycle/sbom.spdx.json").read_text() == "{lifecycle}"


@pytest.mark.cnb("EXP-12")
@pytest.mark.cnb("EXP-15")
def test_slices_become_layers(world: World) -> None:
    world.add("a", writes({"launch.toml": '[[slices]]\npaths = ["static/*"]\n[[slices]]\npaths = ["none"]\n'}))
    result = world.cycle()
    found = by_comment(result)
    assert [c for c in found if c.startswith("Application")] == [
        "Application Slice: 1",
        "Application Slice: 2",
        "Application Layer",
    ]
    assert names(world, found["Application Slice: 1"]) == ["/workspace", "/workspace/static", "/workspace/static/a.css"]
    assert names(world, found["Application Slice: 2"]) == []
    assert "/workspace/main.py" in names(world, found["Application Layer"])
    assert "/workspace/static/a.css" not in names(world, found["Application Layer"])
    assert len(lifecycle_label(result)["app"]) == 3
    assert world.cycle().image.digest == result.image.digest


@pytest.mark.cnb("EXP-16")
@pytest.mark.cnb("EXP-08")
def test_our_own_layers(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB + WEB.replace("web", "a.b")}))
    result = world.cycle()
    found = by_comment(result)
    launcher = entries(world, found["Buildpacks Application Launcher"])
    assert [("/" + e.name.strip("/"), e.mode, e.uid, e.gid, e.mtime) for e in launcher] == [
        ("/cnb", 0o755, 0, 0, TIME),
        ("/cnb/lifecycle", 0o755, 0, 0, TIME),
        ("/cnb/lifecycle/launcher", 0o755, 0, 0, TIME),
    ]
    config = entries(world, found["Buildpacks Launcher Config"])
    assert [("/" + e.name.strip("/"), e.uid, e.gid) for e in config] == [
        ("/layers", 1000, 1001),
        ("/layers/config", 1000, 1001),
        ("/layers/config/metadata.toml", 1000, 1001),
    ]
    with tarfile.open(world.store.blob_path(found["Buildpacks Launcher Config"].blob.digest)) as tar:
        file = tar.extractfile(config[-1])
        assert file is not None
        assert world.built is not None
        assert file.read() == toml.encode(world.built.launch)
    types = entries(world, found["Buildpacks Process Types"])
    assert [("/" + e.name.strip("/"), e.linkname, e.uid) for e in types] == [
        ("/cnb", "", 0),
        ("/cnb/process", "", 0),
        ("/cnb/process/a.b", "/cnb/lifecycle/launcher", 0),
        ("/cnb/process/web", "/cnb/lifecycle/launcher", 0),
    ]


@pytest.mark.cnb("EXP-16")
def test_no_processes_no_links(world: World) -> None:
    world.add("a", writes({}))
    result = world.cycle()
    assert "Buildpacks Process Types" not in by_comment(result)
    assert result.image.entrypoint == ("/cnb/lifecycle/launcher",)


@pytest.mark.cnb("EXP-17")
@pytest.mark.parametrize(
    ("requested", "default", "expected"),
    [
        ("", "", "/cnb/lifecycle/launcher"),
        ("", "web", "/cnb/process/web"),
        ("a.b", "web", "/cnb/process/a.b"),
    ],
)
def test_entrypoints(requested: str, default: str, expected: str) -> None:
    assert entrypoint_for(requested, ["a.b", "web"], default) == expected


@pytest.mark.cnb("EXP-17")
@pytest.mark.parametrize("types", [[], ["web"]])
def test_an_unknown_process_is_an_error(types: list[str]) -> None:
    with pytest.raises(ExportError) as caught:
        entrypoint_for("worker", types, "web")
    assert (caught.value.slug, caught.value.exit_code) == ("process-unknown", 62)


@pytest.mark.cnb("EXP-17")
@pytest.mark.cnb("EXP-18")
@pytest.mark.cnb("EXP-19")
def test_the_configuration(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB + "default = true\n"}))
    result = world.cycle()
    config = json.loads(result.image.config_bytes())["config"]
    assert config["Entrypoint"] == ["/cnb/process/web"]
    assert "Cmd" not in config
    assert config["WorkingDir"] == "/workspace"
    assert config["User"] == "1000:1000"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert dict(item.split("=", 1) for item in config["Env"]) == {
        "PATH": "/cnb/process:/cnb/lifecycle:/usr/bin",
        "LANG": "C.UTF-8",
        "CNB_LAYERS_DIR": "/layers",
        "CNB_APP_DIR": "/workspace",
        "CNB_PLATFORM_API": "0.15",
        "CNB_DEPRECATION_MODE": "quiet",
    }
    assert config["Labels"]["kept"] == "yes"


@pytest.mark.cnb("EXP-18")
@pytest.mark.cnb("IMG-02")
@pytest.mark.parametrize("env", [(), (("PATH", ""),)])
def test_a_run_image_without_path(env: tuple[tuple[str, str], ...]) -> None:
    image = compose(Image(env=env), [], {}, entrypoint="/x", created="1980-01-01T00:00:01Z")
    assert image.get_env("PATH") == "/cnb/process:/cnb/lifecycle"


@pytest.mark.parametrize(
    ("listed", "api", "there"),
    [
        ("['development']", "0.12", True),
        ("['*']", "0.12", True),
        ("['test']", "0.12", False),
        ("['test']", "0.11", True),
        ("'its own affair'", "0.12", True),
    ],
)
def test_a_layer_for_other_environments_is_only_kept_for_them(world: World, listed: str, api: str, there: bool) -> None:
    types = "[types]\nlaunch = true\nbuild = true\ncache = true\n"
    world.add("a", writes({"x.toml": f"{types}[metadata]\nexec-env = {listed}\n", "x/bin/f": "x"}), api=api)
    seen = []
    world.add("b", lambda call: seen.append(call.command.env["PATH"]))
    result = world.cycle(exec_env="development")
    assert any("Layer: 'x'" in layer.created_by for layer in result.image.layers) is there
    assert ("/layers/acme_a/x/bin" in seen[0]) is there
    assert list(world.cache.buildpacks[0].layers) == ["x"]


def test_the_launcher_of_an_image_for_development_knows_that_it_is_one() -> None:
    image = compose(Image(), [], {}, entrypoint="/x", created="1980-01-01T00:00:01Z", exec_env="development")
    assert image.get_env("CNB_EXEC_ENV") == "development"


@pytest.mark.cnb("EXP-20")
@pytest.mark.cnb("EXP-21")
@pytest.mark.cnb("EXP-22")
@pytest.mark.cnb("EXP-27")
@pytest.mark.cnb("STK-04")
def test_the_lifecycle_label(world: World) -> None:
    metadata = "[metadata]\nn = 1\nwhen = 1979-05-27\n"
    world.add(
        "a", writes({"x.toml": KEPT + metadata, "x/f": "x", "store.toml": "[metadata]\nk = 'v'\n", "launch.toml": WEB})
    )
    world.add("b", writes({"t.toml": "[types]\nbuild = true", "t/f": "t"}))
    result = world.cycle()
    found = by_comment(result)
    run = world.run_image
    assert lifecycle_label(result) == {
        "app": [{"sha": found["Application Layer"].diff_id}],
        "buildpacks": [
            {
                "key": "acme/a",
                "version": "1.2.3",
                "layers": {
                    "x": {
                        "sha": found["Layer: 'x', Created by buildpack: acme/a@1.2.3"].diff_id,
                        "data": {"n": 1, "when": "1979-05-27"},
                        "build": False,
                        "launch": True,
                        "cache": True,
                    }
                },
                "store": {"metadata": {"k": "v"}},
            },
            {"key": "acme/b", "version": "1.2.3"},
        ],
        "config": {"sha": found["Buildpacks Launcher Config"].diff_id},
        "launcher": {"sha": found["Buildpacks Application Launcher"].diff_id},
        "process-types": {"sha": found["Buildpacks Process Types"].diff_id},
        "runImage": {"topLayer": run.image.layers[-1].diff_id, "reference": run.reference, "image": "debian:13"},
        "stack": {"runImage": {"image": "debian:13"}},
        "exec-env": "production",
    }
    assert result.image.labels[labels.EXEC_ENV] == "production"


@pytest.mark.cnb("EXP-23")
@pytest.mark.cnb("EXP-24")
def test_the_other_labels(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB + 'default = true\nworking-dir = "sub"\n'}))
    result = world.cycle(project={"source": {"type": "git"}})
    assert json.loads(result.image.labels[labels.BUILD]) == {
        "buildpacks": [{"id": "acme/a", "version": "1.2.3", "api": "0.12"}],
        "launcher": {"version": "0.1.0", "source": {"git": {"repository": "", "commit": ""}}},
        "processes": [
            {
                "type": "web",
                "command": ["run"],
                "args": [],
                "direct": True,
                "buildpackID": "acme/a",
                "working-dir": "sub",
                "exec-env": ["*"],
            }
        ],
        "buildpack-default-process-type": "web",
    }
    assert json.loads(result.image.labels[labels.PROJECT]) == {"source": {"type": "git"}}
    assert world.cycle().image.labels[labels.PROJECT] == "{}"


@pytest.mark.cnb("EXP-25")
def test_buildpacks_labels_come_last(world: World) -> None:
    label = '[[labels]]\nkey = "{}"\nvalue = "{}"\n'
    world.add("a", writes({"launch.toml": label.format("k", "first") + label.format(labels.PROJECT, "mine")}))
    world.add("b", writes({"launch.toml": label.format("k", "last")}))
    found = world.cycle().image.labels
    assert (found["k"], found[labels.PROJECT]) == ("last", "mine")


@pytest.mark.cnb("EXP-26")
@pytest.mark.parametrize("value", ["true", "false", None])
def test_rebasable_is_the_run_images(value: str | None) -> None:
    run = Image(labels={labels.REBASABLE: value} if value else {})
    image = compose(run, [], {}, entrypoint="/x", created="1980-01-01T00:00:01Z")
    assert image.labels.get(labels.REBASABLE) == value


@pytest.mark.cnb("EXP-28")
@pytest.mark.parametrize(
    ("epoch", "expected", "warned"),
    [
        (None, "1980-01-01T00:00:01Z", 0),
        ("", "1980-01-01T00:00:01Z", 0),
        ("1700000000", "2023-11-14T22:13:20Z", 0),
        ("yesterday", "1980-01-01T00:00:01Z", 1),
        ("9" * 30, "1980-01-01T00:00:01Z", 1),
    ],
)
def test_the_time_of_making(epoch: str | None, expected: str, warned: int) -> None:
    reporter = FakeReporter()
    assert created_at(epoch, reporter) == expected
    assert len(reporter.of(Warned)) == warned


@pytest.mark.cnb("EXP-28")
def test_all_of_the_history_has_one_time(world: World) -> None:
    world.add("a", writes({}))
    config = json.loads(world.cycle(created="2023-11-14T22:13:20Z").image.config_bytes())
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert {entry["created"] for entry in config["history"]} == {"2023-11-14T22:13:20Z"}


@pytest.mark.cnb("EXP-31")
def test_the_report(world: World) -> None:
    world.add("a", writes({}))
    image = world.cycle().image
    written = toml.encode(report(image, ["shop:latest"])).decode()
    assert f'digest = "{image.digest}"' in written
    assert f"manifest-size = {len(image.manifest_bytes())}" in written
    assert "shop:latest" in written
    assert "image-id" not in written


@pytest.mark.fault("SBX-03")
def test_what_a_link_in_a_layer_points_at_is_not_packed(world: World) -> None:
    (world.root / "outside").mkdir()
    (world.root / "outside/secret").write_text("the host's secret")

    def program(call: Call) -> None:
        call.write("x.toml", LAUNCH)
        call.write("x/f", "f")
        os.symlink(world.root / "outside", call.path("x/dir"))
        os.symlink(world.root / "outside/secret", call.path("x/file"))

    world.add("a", program)
    (world.root / "app/link").symlink_to(world.root / "outside")
    result = world.cycle()
    for layer in result.image.layers:
        data = Path(world.store.blob_path(layer.blob.digest)).read_bytes()
        assert b"the host's secret" not in data


@pytest.mark.fault("SBX-08")
def test_sockets_are_left_out_with_a_warning_and_fifos_are_refused(world: World) -> None:
    def makes_socket(call: Call) -> None:
        call.write("x.toml", LAUNCH)
        call.write("x/f", "f")
        here = os.getcwd()
        os.chdir(call.path("x"))
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("sock")
        finally:
            os.chdir(here)

    world.add("a", makes_socket)
    result = world.cycle()
    layer = by_comment(result)["Layer: 'x', Created by buildpack: acme/a@1.2.3"]
    assert "/layers/acme_a/x/sock" not in names(world, layer)
    assert len(world.reporter.of(Warned)) == 1

    def makes_fifo(call: Call) -> None:
        call.write("x.toml", LAUNCH)
        call.write("x/f", "f")
        os.mkfifo(call.path("x/fifo"))

    world.add("a", makes_fifo)
    with pytest.raises(ExportError):
        world.cycle()


@pytest.mark.cnb("EXP-22")
def test_the_run_image_is_named_with_its_mirrors(world: World) -> None:
    world.add("a", writes({}))
    world.restore()
    world.build()
    analyzed = world.analyze()
    run = replace(analyzed.run, mirrors=("mirror.example.com/debian:13",))
    label = lifecycle_label(world.export(analyzed=replace(analyzed, run=run)))
    assert label["runImage"]["mirrors"] == ["mirror.example.com/debian:13"]
    assert label["stack"]["runImage"] == {"image": "debian:13", "mirrors": ["mirror.example.com/debian:13"]}


@pytest.mark.cnb("EXP-22")
def test_the_top_layer_is_the_last_of_the_run_image_by_its_diff_id(world: World) -> None:
    world.add("a", writes({}))
    world.restore()
    world.build()
    analyzed = world.analyze()
    lower = analyzed.run.image.layers[0]
    upper = replace(lower, diff_id=Digest("sha256:" + "a" * 64))
    run = replace(analyzed.run, image=analyzed.run.image.with_layers(upper))
    label = lifecycle_label(world.export(analyzed=replace(analyzed, run=run)))
    assert label["runImage"]["topLayer"] == upper.diff_id != lower.diff_id
