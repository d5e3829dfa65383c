"""What the phases do differently for older platforms."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import BuildError, DetectErroredError, DetectNoneError
from packrunner.events import Warned
from packrunner.formats import labels
from packrunner.formats.buildpack import GroupRef, Target
from packrunner.formats.group import System, SystemRefs, SystemTable
from tests.cycle import World, writes
from tests.unit.lifecycle.test_detect import World as Detecting
from tests.unit.lifecycle.test_detect import answers, chosen, staged

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.lifecycle.export import ExportResult

WEB = '[[processes]]\ntype = "web"\ncommand = ["serve", "--fast"]\nargs = ["x"]\n'
BOM = '[[bom]]\nname = "curl"\n[bom.metadata]\nversion = "8"\n'
SPDX = "application/spdx+json"
KEPT = "[types]\nlaunch = true\ncache = true\n"
LEVELS = ("0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14", "0.15")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path)


def metadata(world: World) -> dict[str, Any]:
    return tomllib.loads(world.layers("config/metadata.toml").read_text())


def label(result: ExportResult, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.image.labels[name])
    return found


@pytest.mark.cnb("BLD-15", "LAU-06", "LAU-07")
@pytest.mark.parametrize("level", LEVELS)
def test_a_command_is_one_word_before_platform_api_0_10(world: World, level: str) -> None:
    world.platform_api = level
    world.add("a", writes({"launch.toml": WEB}))
    result = world.cycle()
    as_list = LEVELS.index(level) >= LEVELS.index("0.10")
    expected = (["serve", "--fast"], ["x"]) if as_list else ("serve", ["--fast", "x"])
    (process,) = metadata(world)["processes"]
    assert (process["command"], process["args"]) == expected
    (process,) = label(result, labels.BUILD)["processes"]
    assert (process["command"], process["args"]) == expected


@pytest.mark.cnb("EXP-18", "LAU-19")
@pytest.mark.parametrize("level", LEVELS)
def test_the_image_says_at_which_level_it_was_made(world: World, level: str) -> None:
    world.platform_api = level
    world.add("a", writes({}))
    assert world.cycle().image.get_env("CNB_PLATFORM_API") == level


@pytest.mark.cnb("EXP-27", "BLD-16")
def test_execution_environments_are_recorded_from_0_15_on(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB}))
    new = world.cycle(exec_env="test")
    assert new.image.labels[labels.EXEC_ENV] == "test"
    assert label(new, labels.LIFECYCLE)["exec-env"] == "test"
    assert metadata(world)["processes"][0]["exec-env"] == ["*"]
    world.platform_api = "0.14"
    old = world.cycle(exec_env="test")
    assert labels.EXEC_ENV not in old.image.labels
    assert "exec-env" not in label(old, labels.LIFECYCLE)
    assert "exec-env" not in metadata(world)["processes"][0]


@pytest.mark.cnb("LAU-08")
def test_launchers_that_know_no_execution_environments_get_one_process_of_a_type(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB + 'exec-env = ["test"]\n'}))
    world.add("b", writes({"launch.toml": WEB.replace("serve", "later") + 'exec-env = ["production"]\n'}))
    world.build()
    assert len(metadata(world)["processes"]) == 2
    world.platform_api = "0.14"
    world.build()
    assert [p["command"][0] for p in metadata(world)["processes"]] == ["later"]


@pytest.mark.cnb("EXP-29")
def test_the_history_is_blank_before_0_12(world: World) -> None:
    world.add("a", writes({}))
    world.platform_api = "0.11"
    config = json.loads(world.cycle().image.config_bytes())
    assert [set(entry) for entry in config["history"]] == [{"created"}] * len(config["rootfs"]["diff_ids"])


@pytest.mark.cnb("BLD-27")
def test_sbom_files_stay_where_they_are_before_0_8(world: World) -> None:
    world.add("a", writes({"launch.sbom.spdx.json": "{}"}), sbom_formats=(SPDX,))
    world.platform_api = "0.7"
    result = world.cycle()
    assert not world.layers("sbom").exists()
    assert "Software Bill-of-Materials" not in [layer.created_by for layer in result.image.layers]
    world.platform_api = "0.8"
    world.cycle()
    assert world.layers("sbom/launch/acme_a/sbom.spdx.json").exists()


@pytest.mark.cnb("BLD-28")
def test_legacy_bills_of_materials(world: World) -> None:
    world.add("a", writes({"launch.toml": BOM, "build.toml": BOM.replace("curl", "make")}))
    origin = {"id": "acme/a", "version": "1.2.3"}
    entry = {"name": "curl", "metadata": {"version": "8"}, "buildpack": origin}
    world.platform_api = "0.9"
    result = world.cycle()
    assert json.loads(world.layers("sbom/launch/sbom.legacy.json").read_text()) == [entry]
    assert [e["name"] for e in json.loads(world.layers("sbom/build/sbom.legacy.json").read_text())] == ["make"]
    assert "bom" not in metadata(world)
    assert "bom" not in label(result, labels.BUILD)
    assert label(result, labels.LIFECYCLE)["sbom"]["sha"] in {layer.diff_id for layer in result.image.layers}
    warned = [event.text for event in world.reporter.of(Warned)]
    assert warned == [
        f"acme/a lists a bill of materials in {file}.toml, which is deprecated" for file in ("launch", "build")
    ]


@pytest.mark.cnb("BLD-28")
def test_before_0_9_they_go_into_the_label(world: World) -> None:
    world.add("a", writes({"launch.toml": BOM}))
    world.platform_api = "0.8"
    result = world.cycle()
    assert not world.layers("sbom").exists()
    assert [e["name"] for e in metadata(world)["bom"]] == ["curl"]
    assert label(result, labels.BUILD)["bom"] == metadata(world)["bom"]


@pytest.mark.cnb("BLD-28")
@pytest.mark.parametrize("file", ["launch.toml", "build.toml"])
def test_a_version_beside_the_name_is_refused(world: World, file: str) -> None:
    world.add("a", writes({file: '[[bom]]\nname = "curl"\nversion = "8"\n'}))
    with pytest.raises(BuildError) as raised:
        world.build()
    assert (raised.value.slug, raised.value.exit_code) == ("bom-version", 52)


@pytest.mark.cnb("RES-13")
@pytest.mark.parametrize(("level", "back"), [("0.13", False), ("0.14", True)])
def test_a_launch_layer_that_only_the_cache_knows(world: World, level: str, *, back: bool) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    world.platform_api = level
    world.restore(label=labels.LifecycleLabel())
    assert world.layers("acme_a/x/f").exists() is back
    assert world.layers("acme_a/x.toml").exists() is back


@pytest.mark.cnb("BPD-11")
def test_system_buildpacks_join_from_0_15_on(tmp_path: Path) -> None:
    world = Detecting(str(tmp_path), {"a": answers(0), "s": answers(0)})
    system = System(system=SystemTable(pre=SystemRefs(buildpacks=(GroupRef(id="acme/s", version="1.0.0"),))))
    assert chosen(world.detect("a", system=system)) == "s a"
    assert chosen(world.detect("a", system=system, platform_api="0.14")) == "a"


@pytest.mark.cnb("TGT-05")
def test_targets_count_from_0_12_on(tmp_path: Path) -> None:
    arm = staged("a", targets=(Target(os="linux", arch="arm64"),))
    world = Detecting(str(tmp_path), {"a": answers(0)}, buildpacks={"a": arm})
    with pytest.raises(DetectErroredError):
        world.detect("a", platform_api="0.12")
    assert world.ran == []
    assert chosen(world.detect("a", platform_api="0.11")) == "a"


@pytest.mark.cnb("DET-26")
def test_execution_environments_count_from_0_15_on(tmp_path: Path) -> None:
    only = staged("a", exec_env=("production",))
    world = Detecting(str(tmp_path), {"a": answers(0)}, buildpacks={"a": only})
    with pytest.raises(DetectNoneError):
        world.detect("a", exec_env="test")
    assert chosen(world.detect("a", exec_env="test", platform_api="0.14")) == "a"
