"""The sample buildpack for a compiled language: its rules, and what images for development have in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.dev.rules import decide, of_plan
from packrunner.formats.plan import Entry, Plan, read_detect_plan
from tests.buildpacks.builtin import ROOT, Buildpack

if TYPE_CHECKING:
    from pathlib import Path

RELOADER = "/layers/live-reload/reloader/bin/reloader"
FAKE_GO = """#!/bin/sh
mkdir -p "$GOBIN" "$GOCACHE"
echo "$* with $GOFLAGS" > "$GOBIN/hello"
"""


@pytest.fixture
def go(tmp_path: Path) -> Buildpack:
    """The buildpack, with a module, and with Go from the last build: a script that makes a file of its arguments."""
    staged = Buildpack.stage(ROOT / "samples/go-buildpack", tmp_path)
    staged.write("go.mod")
    program = staged.layers / "go/go/bin/go"
    program.parent.mkdir(parents=True)
    program.write_text(FAKE_GO)
    program.chmod(0o755)
    (staged.layers / "go.toml").write_text('[metadata]\ngo = "1.27.3"\narch = "amd64"\n')
    return staged


def test_for_production_the_plan_is_about_go_alone(go: Buildpack) -> None:
    assert go.detect().code == 0
    (only,) = read_detect_plan(go.plan.read_bytes(), where="plan").all
    assert [r.name for r in only.requires] == [p.name for p in only.provides] == ["go"]


def test_other_applications_are_declined(go: Buildpack) -> None:
    (go.app / "go.mod").unlink()
    assert (go.detect().code, go.detect().lines) == (100, ["needs go.mod"])


def test_a_changed_source_is_compiled_and_restarted(go: Buildpack) -> None:
    go.env["CNB_EXEC_ENV"] = "development"
    assert go.detect().code == 0
    first, second = read_detect_plan(go.plan.read_bytes(), where="plan").all
    assert [r.name for r in second.requires] == ["go"]
    warnings: list[str] = []
    rules = of_plan(Plan(entries=(Entry(requires=first.requires),)), warn=warnings.append)
    assert warnings == []
    paths = ("main.go", "lib/a.go", "index.html", "static/style.css", "main_test.go", "go.mod")
    found = [rule for path in paths if (rule := decide(rules, path))]
    assert [rule.action for rule in found] == ["restart", "restart", "restart", "sync", "ignore", "rebuild"]
    assert {rule.exec for rule in found[:3]} == {("go", "install", ".")}


@pytest.mark.parametrize("exec_env", ["production", "development"])
def test_images_for_development_have_the_compiler_and_its_cache(go: Buildpack, exec_env: str) -> None:
    development = exec_env == "development"
    go.env |= {"CNB_EXEC_ENV": exec_env, "PACKRUNNER_RELOADER": RELOADER}
    ran = go.build()
    assert ran.code == 0, ran.output
    launched = {name: go.toml(f"{name}.toml")["types"]["launch"] for name in ("go", "compiled", "program")}
    assert launched == {"go": development, "compiled": development, "program": True}
    program = f"{go.layers}/program/bin/hello"
    wrapped = [RELOADER, "run", "--name", "web", "--", program]
    assert go.processes == {"web": wrapped if development else [program]}
    variables = go.layers / "program/env.launch"
    assert variables.exists() is development
    if development:
        assert (variables / "GOBIN.override").read_text() == f"{go.layers}/program/bin"
        assert (variables / "GOCACHE.override").read_text() == f"{go.layers}/compiled/cache"
