"""The sample buildpack that installs a tool: its plan, its rules, what its layer is for. Here esbuild is a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.dev.rules import decide, of_plan
from packrunner.formats.plan import Entry, Plan, read_detect_plan
from tests.buildpacks.builtin import ROOT, Buildpack

if TYPE_CHECKING:
    from pathlib import Path

ESBUILD = """#!/bin/sh
mkdir -p public
echo "$*" > public/main.js
"""


@pytest.fixture
def esbuild(tmp_path: Path) -> Buildpack:
    """The buildpack, with an application, and with the layer of the last build."""
    staged = Buildpack.stage(ROOT / "samples/esbuild-buildpack", tmp_path)
    staged.write("src/main.ts")
    program = staged.layers / "esbuild/bin/esbuild"
    program.parent.mkdir(parents=True)
    program.write_text(ESBUILD)
    program.chmod(0o755)
    (staged.layers / "esbuild.toml").write_text('[metadata]\nesbuild = "0.28.2"\narch = "amd64"\n')
    return staged


def test_other_applications_are_declined(esbuild: Buildpack) -> None:
    (esbuild.app / "src/main.ts").unlink()
    assert (esbuild.detect().code, esbuild.detect().lines) == (100, ["needs src/main.ts"])


def test_sources_are_bundled_where_the_page_is_served(esbuild: Buildpack) -> None:
    esbuild.env["CNB_EXEC_ENV"] = "development"
    assert esbuild.detect().code == 0
    first, second = read_detect_plan(esbuild.plan.read_bytes(), where="plan").all
    assert [[r.name for r in pair.requires] for pair in (first, second)] == [["esbuild", "live-reload"], ["esbuild"]]
    warnings: list[str] = []
    rules = of_plan(Plan(entries=(Entry(requires=first.requires),)), warn=warnings.append)
    assert warnings == []
    bundled, served = decide(rules, "src/lib/a.ts"), decide(rules, "public/index.html")
    assert bundled is not None
    assert (bundled.action, bundled.exec[:2]) == ("sync", ("esbuild", "src/main.ts"))
    assert served is not None
    assert (served.action, served.exec) == ("sync", ())


@pytest.mark.parametrize(
    ("exec_env", "setting", "option"),
    [
        ("production", "", "--minify"),
        ("production", "true", "--sourcemap"),
        ("development", "", "--sourcemap"),
        ("development", "false", "--minify"),
    ],
)
def test_the_tool_is_in_images_for_development_only(
    esbuild: Buildpack, exec_env: str, setting: str, option: str
) -> None:
    esbuild.env["CNB_EXEC_ENV"] = exec_env
    if setting:
        esbuild.set("BP_ESBUILD_SOURCEMAP", setting)
    ran = esbuild.build()
    assert ran.code == 0, ran.output
    launch = exec_env == "development"
    assert esbuild.toml("esbuild.toml")["types"] == {"launch": launch, "build": True, "cache": True}
    assert (esbuild.app / "public/main.js").read_text().split()[-1] == option
