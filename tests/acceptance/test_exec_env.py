"""Execution environments from the command line to the started process; images for production know nothing of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli, Ended

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


def facts(cli: Cli, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.ok("inspect", image, "--json").out)
    return found


def rules(cli: Cli, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.ok("sync-rules", "--format", "json", *words).out)
    return found


def test_an_image_for_production_is_the_same_whether_live_reload_is_there_or_not(cli: Cli, app: Path) -> None:
    def build(*words: str) -> Ended:
        return cli.ok("build", "env-production", "-p", str(app), "-b", "python", *words)

    first = build().digest
    development = cli.ok("build", "env-development", "-p", str(app), "-b", "python", "--exec-env", "development")
    assert development.digest != first
    again = build("--rebuild")
    assert again.digest == first
    assert "new:" not in again.err  # the other environment has a cache of its own
    assert build("--disable-system-buildpacks", "--clear-cache").digest == first


def test_an_image_for_development_carries_its_rules_and_is_supervised(cli: Cli, app: Path, port: int) -> None:
    cli.ok("build", "env-dev", "-p", str(app), "--exec-env", "development")
    found = facts(cli, "env-dev")
    assert found["env"]["CNB_EXEC_ENV"] == found["labels"]["io.buildpacks.exec-env"] == "development"
    (web,) = (process for process in found["processes"] if process["type"] == "web")
    assert web["command"][0].endswith("/bin/reloader")
    assert web["command"][1:5] == ["run", "--name", "web", "--"]
    assert "flask --app app:app run" in " ".join(web["command"])
    carried = rules(cli, "--from-image", "env-dev")
    assert carried["buildpacks"] == {"packrunner/python": "0.1.0"}
    assert carried == rules(cli, "-p", str(app))
    with cli.serving("env-dev", "-e", f"PORT={port}", port=port) as page:
        assert "Hello" in page


BUILD = """#!/bin/sh
cat > "$CNB_LAYERS_DIR/launch.toml" <<END
[[processes]]
type = "web"
command = ["echo", "for development"]
default = true
exec-env = ["development"]

[[processes]]
type = "web"
command = ["echo", "for production"]
END
for env in development test; do
    mkdir -p "$CNB_LAYERS_DIR/$env/bin"
    printf '[types]\\nlaunch = true\\n[metadata]\\nexec-env = ["%s"]\\n' $env > "$CNB_LAYERS_DIR/$env.toml"
done
echo "ran with $SETTING for $CNB_EXEC_ENV"
"""

PROJECT = """
[_]
schema-version = "0.3"

[[io.buildpacks.group]]
uri = "./probe"

[[io.buildpacks.group]]
uri = "./only"
exec-env = ["development"]

[[io.buildpacks.build.env]]
name = "SETTING"
value = "usual"

[[io.buildpacks.build.env]]
name = "SETTING"
value = "special"
exec-env = ["development"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An application whose project file and buildpack tell environments apart."""
    (tmp_path / "project.toml").write_text(PROJECT)
    for name, build in (("probe", BUILD), ("only", "#!/bin/sh\n")):
        probe_buildpack(tmp_path / name, build=build, name=f"acme/{name}")
    return tmp_path


@pytest.mark.cnb("BPD-14")
@pytest.mark.cnb("LAU-08")
@pytest.mark.cnb("EXP-27")
@pytest.mark.parametrize(
    ("env", "group", "said"),
    [
        ("development", ["acme/probe", "acme/only"], "special"),
        ("production", ["acme/probe"], "usual"),
        ("test", ["acme/probe"], "usual"),
    ],
)
def test_project_files_orders_layers_and_processes(
    cli: Cli, project: Path, env: str, group: list[str], said: str
) -> None:
    words = ["-p", str(project), "--exec-env", env]
    detected = json.loads(cli.ok("detect", *words, "--json").out)
    assert [member["id"] for member in detected["group"]] == group
    built = cli.ok("build", f"env-{env}", *words, "-v")
    assert f"ran with {said} for {env}" in built.err
    found = facts(cli, f"env-{env}")
    assert [one["id"] for one in found["buildpacks"]] == group
    names = {layer["name"] for layer in found["layers"]} & {"development", "test"}
    assert names == {env} - {"production"}
    ran = cli.ok("run", f"env-{env}")
    assert ran.out == f"for {'development' if env == 'development' else 'production'}\n"
