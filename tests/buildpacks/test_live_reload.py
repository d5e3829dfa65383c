"""Live reload: in development only; the supervisor, the merged rules, the tools that images may lack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from packrunner.sdk.sync import PASSING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.buildpacks.builtin import Buildpack

PLAN = """
[[entries]]
name = "live-reload"
[entries.metadata]
buildpack = "acme/a"
version = "1.0"
[[entries.metadata.rules]]
src = ["**/*.é"]
action = "reload"
[[entries.metadata.rules]]
src = ["../x"]
action = "sync"

[[entries]]
name = "live-reload"

[[entries]]
name = "live-reload"
[entries.metadata]
buildpack = "acme/b"
version = "2.0"
[[entries.metadata.rules]]
src = ["**"]
action = "restart"
"""


@pytest.fixture
def live_reload(stage: Callable[[str], Buildpack], tmp_path: Path) -> Buildpack:
    """The buildpack, with rules of two others."""
    staged = stage("live-reload")
    staged.env["CNB_EXEC_ENV"] = "development"
    staged.entries = PLAN
    return staged


def test_detect_provides_in_development_only(live_reload: Buildpack) -> None:
    assert live_reload.detect().code == 0
    assert live_reload.plan.read_text() == '[[provides]]\nname = "live-reload"\n'
    live_reload.env["CNB_EXEC_ENV"] = "production"
    ran = live_reload.detect()
    assert (ran.code, ran.lines) == (100, ["takes part in development only (--exec-env development)"])


def test_build_puts_the_rules_into_a_layer_and_labels(live_reload: Buildpack) -> None:
    ran = live_reload.build()
    assert ran.code == 0, ran.output
    assert "warning: acme/a: sync rule 2 (`../x` sync): pattern `../x`: has the name .." in ran.output
    labels = {each["key"]: json.loads(each["value"]) for each in live_reload.toml("launch.toml")["labels"]}
    first = {"src": ["**/*.é"], "action": "reload", "buildpack": "acme/a"}
    second = {"src": ["**"], "action": "restart", "buildpack": "acme/b"}
    assert labels == {
        "io.packrunner.sync": {
            "version": 1,
            "workspace": str(live_reload.app),
            "rules": [PASSING, first, second],
            "buildpacks": {"acme/a": "1.0", "acme/b": "2.0"},
        },
        "io.packrunner.sync.acme/a": {"buildpack": "acme/a", "version": "1.0", "rules": [first]},
        "io.packrunner.sync.acme/b": {"buildpack": "acme/b", "version": "2.0", "rules": [second]},
    }
    written = json.loads((live_reload.layers / "reloader/rules.json").read_text())
    assert written == labels["io.packrunner.sync"]


def test_build_brings_the_program_and_stand_ins_for_tools(live_reload: Buildpack) -> None:
    live_reload.build()
    program = live_reload.layers / "reloader/bin/reloader"
    assert program.stat().st_mode & 0o777 == 0o755
    assert live_reload.processes == {"tar": [str(program), "tar"], "rm": [str(program), "rm"]}
    assert live_reload.default is None
    assert live_reload.toml("reloader.toml")["types"] == {"launch": True, "build": True, "cache": True}
    assert (live_reload.layers / "reloader/env.build/PACKRUNNER_RELOADER.override").read_text() == str(program)


def test_the_layer_is_kept_until_a_rule_changes(live_reload: Buildpack) -> None:
    live_reload.build()
    live_reload.restore()
    live_reload.build()
    assert live_reload.details == {"reloader": "reused (rules unchanged)"}
    live_reload.entries = PLAN.replace("restart", "reload")
    live_reload.restore()
    live_reload.build()
    assert live_reload.details == {"reloader": "new: supervisor and sync rules (rules changed)"}


def test_an_architecture_without_a_program_is_named(live_reload: Buildpack) -> None:
    live_reload.under.arch = "riscv64"
    ran = live_reload.build()
    assert ran.code == 1
    assert live_reload.failure["brief"] == "has no program for linux/riscv64"
