"""What python and procfile say about changed files, in development and nowhere else."""

from __future__ import annotations

import os
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.dev.rules import decide, of_plan
from packrunner.formats.plan import Entry, Plan, read_detect_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from packrunner.formats.sync import SyncRules
    from tests.buildpacks.builtin import Buildpack

FILE = {"python": "requirements.txt", "procfile": "Procfile"}


@pytest.fixture(params=["python", "procfile"])
def buildpack(request: pytest.FixtureRequest, stage: Callable[[str], Buildpack]) -> Buildpack:
    """Each of them, with an application that it takes."""
    staged = stage(request.param)
    staged.write(FILE[request.param])
    return staged


@pytest.fixture
def python(stage: Callable[[str], Buildpack]) -> Buildpack:
    staged = stage("python")
    staged.write("requirements.txt")
    return staged


def detected(buildpack: Buildpack, exec_env: str = "development") -> bytes:
    buildpack.env["CNB_EXEC_ENV"] = exec_env
    ran = buildpack.detect()
    assert (ran.code, ran.output) == (0, "")
    return buildpack.plan.read_bytes()


def rules(buildpack: Buildpack) -> SyncRules:
    plan = read_detect_plan(detected(buildpack), where="plan")
    return of_plan(Plan(entries=(Entry(requires=plan.requires),)))


def actions(buildpack: Buildpack, *paths: str) -> dict[str, str]:
    stated = rules(buildpack)
    found = {path: decide(stated, path) for path in paths}
    return {path: rule.action if rule else "none" for path, rule in found.items()}


@pytest.mark.parametrize("exec_env", ["production", "test", "developments"])
def test_elsewhere_the_plan_is_what_it_was(buildpack: Buildpack, exec_env: str) -> None:
    name = buildpack.root.name
    text = f'[[provides]]\nname = "{name}"\n\n[[requires]]\nname = "{name}"\n'
    assert detected(buildpack, exec_env) == text.encode()


def test_a_platform_without_execution_environments_gets_the_plan_of_production(
    buildpack: Buildpack, repository: Path, tmp_path: Path
) -> None:
    source, plan = repository / "buildpacks" / buildpack.root.name, tmp_path / "plan.toml"
    env = {"CNB_BUILDPACK_DIR": str(source), "CNB_PLATFORM_DIR": str(tmp_path), "CNB_BUILD_PLAN_PATH": str(plan)}
    program = str(source / "bin" / "detect")
    subprocess.run([program], cwd=buildpack.app, env={"PATH": os.environ["PATH"], **env}, check=True)
    assert plan.read_bytes() == detected(buildpack, "production")


def test_in_development_groups_without_live_reload_pass_as_before(buildpack: Buildpack) -> None:
    first, second = read_detect_plan(detected(buildpack), where="plan").all
    assert [r.name for r in first.requires] == [buildpack.root.name, "live-reload"]
    assert [r.name for r in second.requires] == [buildpack.root.name]
    assert [p.name for p in first.provides] == [p.name for p in second.provides] == [buildpack.root.name]


def test_they_name_themselves_as_their_descriptors_do(buildpack: Buildpack) -> None:
    descriptor = tomllib.loads((buildpack.staged / "buildpack.toml").read_text())["buildpack"]
    assert rules(buildpack).buildpacks == {descriptor["id"]: descriptor["version"]}


def test_files_of_a_python_application(python: Buildpack) -> None:
    python.write("requirements.txt", "Flask==3.1.0\n")
    expected: Mapping[str, str] = {
        "app.py": "reload",
        "shop/views.py": "reload",
        "shop/templates/index.html": "sync",
        "templates": "sync",
        "static/style.css": "sync",
        "requirements.txt": "rebuild",
        "requirements/dev.txt": "rebuild",
        "dev-requirements.txt": "rebuild",
        "Procfile": "rebuild",
        "pyproject.toml": "rebuild",
        "config.yaml": "restart",
        "shop/requirements.txt": "restart",
        "shop/__pycache__/views.cpython-313.pyc": "ignore",
        ".venv/lib/x.py": "ignore",
        ".ruff_cache/0.1/x": "ignore",
    }
    assert actions(python, *expected) == expected


@pytest.mark.parametrize("name", ["flask", "Flask==1.0", "quart", "fastapi[standard]", "starlette>=0.4", "-r more.txt"])
def test_frameworks_that_look_at_templates_again(python: Buildpack, name: str) -> None:
    python.write("requirements.txt", f"gunicorn\n{name}\n")
    python.write("more.txt", "flask")
    assert actions(python, "t/a.html", "static/a.css") == {"t/a.html": "sync", "static/a.css": "sync"}


def test_others_keep_what_they_have_read_so_that_they_have_to_start_again(python: Buildpack) -> None:
    assert actions(python, "t/a.html", "static/a.css") == {"t/a.html": "reload", "static/a.css": "sync"}
    python.write("requirements.txt", "flask\nWhiteNoise==6\n")
    assert actions(python, "t/a.html", "static/a.css") == {"t/a.html": "sync", "static/a.css": "reload"}
    python.write("manage.py")
    assert actions(python, "t/a.html") == {"t/a.html": "reload"}


def test_requirements_that_requirements_name(python: Buildpack) -> None:
    python.write(
        "requirements.txt",
        "-r base.txt\r\n--constraint=limits.txt\n./libs/money[extra] ; x\n-e ./libs/mine\n./a.whl\n"
        "flask==3.0 --hash=sha256:0\n",
    )
    python.write("base.txt", "  -rdeep/more.txt\n--requirement pinned.txt\n-r base.txt\n-c /etc/passwd\n-r ../x.txt\n")
    python.write("deep/more.txt", "-r beside.txt")
    for name in ("limits.txt", "pinned.txt", "deep/beside.txt", "libs/money/setup.py"):
        python.write(name)
    assert actions(python, "libs/mine/setup.cfg", "libs/mine/x.py") == {
        "libs/mine/setup.cfg": "rebuild",
        "libs/mine/x.py": "reload",
    }
    paths = ("a.whl", "base.txt", "limits.txt", "pinned.txt", "deep/more.txt", "deep/beside.txt", "libs/money/money.py")
    assert set(actions(python, *paths).values()) == {"rebuild"}
    assert actions(python, "notes.txt", "libs/other.py") == {"notes.txt": "restart", "libs/other.py": "reload"}


@pytest.mark.parametrize(
    "line", ['-r a"b.txt', "-r $(touch x)", "-r ;x", "-r", "./", "-r ../b", "-r a//b", "-e", "-e git+https://x"]
)
def test_odd_requirements_leave_the_plan_as_it_is(python: Buildpack, line: str) -> None:
    plain: Any = rules(python)
    python.write('a"b.txt')
    python.write("requirements.txt", line)
    assert rules(python) == plain
    assert not (python.app / "x").exists()


def test_files_of_a_procfiles_application(stage: Callable[[str], Buildpack]) -> None:
    staged = stage("procfile")
    staged.write("Procfile")
    assert actions(staged, "Procfile", "server", "lib/a.rb") == {
        "Procfile": "rebuild",
        "server": "restart",
        "lib/a.rb": "restart",
    }
