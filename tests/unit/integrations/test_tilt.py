"""The Tilt extension, executed: what it tells Tilt, for all that can be said to it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import starlark

from packrunner.dev.covering import Project
from packrunner.dev.writers import write
from packrunner.formats.sync import Rule, SyncRules
from tests.tiltfile import Tilt

if TYPE_CHECKING:
    from collections.abc import Sequence

EXTENSION = Path(__file__).parents[3] / "integrations" / "tilt" / "Tiltfile"
RULES = SyncRules(
    rules=(
        Rule(src=("**/__pycache__/**",), action="ignore"),
        Rule(src=("requirements.txt",), action="rebuild"),
        Rule(src=("public/**",), action="sync", dest="/srv"),
        Rule(src=("**",), action="restart"),
    )
)
SETTLE = ["/cnb/lifecycle/launcher", "--", "reloader", "settle"]


class Packrunner:
    """What `local` runs: packrunner sync-rules, with the rules that a test wants."""

    def __init__(self, rules: SyncRules = RULES) -> None:
        self.rules = rules
        self.asked: list[list[str]] = []

    def __call__(self, words: Sequence[str]) -> str:
        self.asked.append(list(words))
        return write("tilt", self.rules, Project(image="shop", development="shop:dev", path="/nowhere"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    os.symlink(EXTENSION, tmp_path / "packrunner.star")
    return tmp_path


def tell(project: Path, call: str, local: Any = None) -> tuple[Tilt, dict[str, Any]]:
    """What Tilt knows after a Tiltfile of two lines, and the image it is to build."""
    tilt = Tilt(project, local=local or Packrunner())
    tilt.run(f"load('packrunner.star', 'packrunner')\npackrunner({call})\n")
    (image,) = tilt.images
    return tilt, image


def test_one_line_builds_and_updates(project: Path) -> None:
    local = Packrunner()
    tilt, image = tell(project, "'shop', 'app'", local)
    app = str(project / "app")
    assert local.asked == [["packrunner", "sync-rules", "--format", "tilt", "--path", "app"]]
    assert image["deps"] == [app]
    assert image["ignore"] == ["**/__pycache__/**"]
    assert image["live_update"] == [
        {"step": "fall_back_on", "paths": [f"{app}/requirements.txt"]},
        {"step": "sync", "local": f"{app}/public", "remote": "/srv/public"},
        {"step": "sync", "local": app, "remote": "/workspace"},
        {"step": "run", "cmd": SETTLE, "trigger": []},
    ]
    assert sorted(tilt.watched) == [f"{app}/project.toml", f"{app}/requirements.txt"]
    assert (image["skips_local_docker"], image["disable_push"]) == (True, True)


def test_flags_reach_both_detection_and_build(project: Path) -> None:
    local = Packrunner()
    _, image = tell(
        project,
        "'shop', builder='debian:13', buildpacks=['environment-variables', './my packs'], "
        "env={'BPE_FLASK_DEBUG': '1'}, flags=['--offline']",
        local,
    )
    given = ["--path", ".", "--builder", "debian:13"]
    given += ["--buildpack", "environment-variables", "--buildpack", "./my packs", "--env", "BPE_FLASK_DEBUG=1"]
    assert local.asked == [["packrunner", "sync-rules", "--format", "tilt", *given]]
    assert ran(image, "shop:tilt-build-1", project) == [
        ["build", "shop:tilt-build-1", "--load", *given, "--exec-env", "development", "--offline"]
    ]


def ran(image: dict[str, Any], expected: str, directory: Path, program: str = "packrunner") -> list[list[str]]:
    """The arguments that the build command gives to a program, when Tilt runs it."""
    seen = directory / "seen"
    seen.unlink(missing_ok=True)
    script = directory / "bin" / program
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nfor word; do printf "%s\\0" "$word" >>{seen}; done\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = image["command"]
    assert isinstance(command, str)  # Tilt gives a string to `sh -c`
    environment = {"PATH": f"{script.parent}:{os.environ['PATH']}", "EXPECTED_REF": expected}
    subprocess.run(["sh", "-c", command], check=True, cwd=directory, env=environment)
    return [seen.read_text().split("\0")[:-1]]


@pytest.mark.parametrize(
    ("ref", "flag"),
    [
        ("shop:tilt-build-1", "--load"),
        ("team/shop:tilt-build-1", "--load"),
        ("localhost:5000/shop:tilt-build-1", "--push"),
        ("localhost/shop:tilt-build-1", "--push"),
        ("registry.example.com/team/shop:tilt-build-1", "--push"),
        ("registry:5000/shop:tilt-build-1", "--push"),
    ],
)
def test_names_with_a_registry_are_pushed(project: Path, ref: str, flag: str) -> None:
    _, image = tell(project, "'shop'")
    assert ran(image, ref, project) == [
        ["build", ref, flag, "--path", ".", "--exec-env", "development"],
    ]


def test_who_knows_better_says_whether_to_push(project: Path) -> None:
    _, image = tell(project, "'shop', push=True")
    assert ran(image, "shop:1", project)[0][2] == "--push"
    _, image = tell(project, "'registry.example.com/shop', push=False")
    assert ran(image, "registry.example.com/shop:1", project)[0][2] == "--load"
    # Tilt tags the engine's image by its content, and pushes it or loads it into the cluster.
    assert (image["skips_local_docker"], image["disable_push"]) == (False, False)


def test_packrunner_can_be_called_otherwise(project: Path) -> None:
    local = Packrunner()
    _, image = tell(project, "'shop', command=['python3', '-m', 'packrunner.start']", local)
    assert local.asked[0][:4] == ["python3", "-m", "packrunner.start", "sync-rules"]
    assert ran(image, "shop:1", project, "python3")[0][:4] == ["-m", "packrunner.start", "build", "shop:1"]


def test_steps_of_ones_own_are_taken(project: Path) -> None:
    local = Packrunner()
    tilt, image = tell(project, "'shop', live_update=[sync('.', '/workspace')], exec_env='production'", local)
    assert local.asked == []
    assert tilt.watched == []
    assert image["live_update"] == [{"step": "sync", "local": str(project), "remote": "/workspace"}]
    assert ran(image, "shop:1", project)[0][-2:] == ["--exec-env", "production"]


def test_no_rules_mean_no_live_update(project: Path) -> None:
    only = SyncRules(rules=(Rule(src=("requirements.txt",), action="rebuild"),))
    for rules in (SyncRules(), only):
        _, image = tell(project, "'shop'", Packrunner(rules))
        assert image["live_update"] == []


def test_deps_ignores_and_arguments_of_custom_build_are_added(project: Path) -> None:
    _, image = tell(project, "'shop', 'app', deps=['lib'], ignore=['*.log'], env={'A': '1'}, tag='dev'")
    assert image["deps"] == [str(project / "app"), str(project / "lib")]
    assert image["ignore"] == ["**/__pycache__/**", "*.log"]
    assert image["tag"] == "dev"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'shop', push='yes'", 'push is "auto", True or False'),
        ("'shop', live_update='none'", 'live_update is "auto" or a list of steps'),
        ("'shop', lve_update=[]", "lve_update"),
    ],
)
def test_what_is_no_argument_is_refused(project: Path, call: str, message: str) -> None:
    with pytest.raises(starlark.StarlarkError, match=message):
        tell(project, call)


def test_rules_of_another_version_are_refused(project: Path) -> None:
    with pytest.raises(starlark.StarlarkError, match="does not know packrunner"):
        tell(project, "'shop'", lambda _: json.dumps({"schema": "packrunner.sync-rules.tilt/2"}))


@pytest.mark.parametrize(
    "steps",
    [
        "[sync('.', '/workspace'), fall_back_on('a')]",
        "[run('a'), sync('.', '/workspace')]",
        "[fall_back_on('a')]",
        "[sync('.', 'workspace')]",
    ],
)
def test_the_stand_in_is_as_strict_as_tilt(project: Path, steps: str) -> None:
    with pytest.raises(starlark.StarlarkError):
        tell(project, f"'shop', live_update={steps}")


def test_the_stand_in_misses_unused_steps(project: Path) -> None:
    with pytest.raises(ValueError, match="not used"):
        Tilt(project).run("sync('.', '/workspace')")
