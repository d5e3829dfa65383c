"""A new buildpack works at once: it is built with, tested in the sandbox, packaged; and an image of it is tested."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.toolchain import GO, PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Cli

pytestmark = pytest.mark.sandbox

LANGUAGES = [
    "python",
    "shell",
    pytest.param("go", marks=pytest.mark.skipif(not GO, reason="go is not installed")),
]

SERVING = """
def test_serves(application, buildpack):
    app = application("fixture", buildpacks=[buildpack], args=["--env", "BP_X=1"])
    assert app.processes["hello"]["default"]
    assert "greet" in app.processes["hello"]["command"]
    assert app.run("sh", "-c", "echo $GREETING") == "Hello, world!\\n"
    with app.start() as running:
        assert running.wait() == 0
        assert running.output == "Hello, world!\\n"
    with app.start("web", env={"PLACE": "/workspace"}) as running:
        answer = running.get("/hello.txt")
        assert (answer.status, answer.text) == (200, "Hello, world!\\n")
        assert answer.headers["content-type"] == "text/plain"
        assert running.get("/other").status == 404
    with app.start("always", port=8000) as running:
        assert running.get("/hello.txt").text == "Hello, world!\\n"


def test_says_what_went_wrong(application, buildpack):
    import pytest
    from packrunner.testing import ApplicationError

    app = application("fixture", buildpacks=[buildpack])
    with app.start("broken") as running, pytest.raises(ApplicationError, match="(?s)last words.*ended with 3"):
        running.get()
    with pytest.raises(ApplicationError, match="needs hello.txt"):
        application("..", buildpacks=[buildpack])
"""
PROCESSES = """
    python = ["python3", "-c", "import os, http.server as s; "
              "s.test(s.SimpleHTTPRequestHandler, port=int(os.environ.get('PORT', 8000)))"]
    context.process("web", python)
    context.process("always", ["env", "-u", "PORT", *python])
    context.process("broken", ["sh", "-c", "echo last words; exit 3"])
"""


def own_tests(directory: Path, cli: Cli, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as the author does."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "packrunner.testing", "-c", os.devnull, "--rootdir", "."]
    return subprocess.run(
        [*argv, *flags, "tests"], cwd=directory, env=cli.environ(), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.cnb("DST-01", "DST-02")
def test_from_nothing_to_a_package(language: str, cli: Cli, tmp_path: Path) -> None:
    new = cli.ok("buildpack", "new", f"acme/new-{language}", "--language", language, cwd=tmp_path, PATH=PATH)
    first, *_, last = new.out.splitlines()
    assert first.startswith(f"Created new-{language}/ (")
    assert first.endswith(" files, 4 tests pass)")
    assert last == f"Try it:  packrunner build demo -p new-{language}/tests/fixture -b ./new-{language}"
    words = last.removeprefix("Try it:  packrunner ").split()
    built = cli.ok(*words, cwd=tmp_path)
    assert cli.ok("run", "demo").out == "Hello, world!\n"
    assert "greeter reused (hello.txt unchanged)" in cli.ok(*words, "--rebuild", cwd=tmp_path).err
    validated = cli.ok("buildpack", "validate", "--strict", f"new-{language}", cwd=tmp_path)
    assert "fine" in validated.out
    cli.ok("buildpack", "package", "it.cnb", "-p", f"new-{language}", cwd=tmp_path)
    packaged = cli.ok("build", "demo", "-p", f"new-{language}/tests/fixture", "-b", "./it.cnb", cwd=tmp_path)
    assert packaged.digest == built.digest
    again = cli("buildpack", "new", f"acme/new-{language}", "--language", language, cwd=tmp_path)
    assert (again.code, again.out) == (2, "")
    assert "error[buildpack-exists]" in again.err


@pytest.mark.parametrize("language", ["python", "shell"])
def test_its_tests_pass_in_the_sandbox(language: str, cli: Cli, tmp_path: Path) -> None:
    cli.ok("buildpack", "new", "acme/hello", "--language", language, "--no-test", cwd=tmp_path)
    ran = own_tests(tmp_path / "hello", cli, "--run-buildpack", "sandbox")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


def test_what_runs_in_the_sandbox_does_not_see_this_machine(cli: Cli, tmp_path: Path) -> None:
    cli.ok("buildpack", "new", "acme/hello", "--language", "shell", "--no-test", cwd=tmp_path)
    program = tmp_path / "hello/bin/build"
    program.write_text(f"#!/bin/sh\npwd\necho $CNB_LAYERS_DIR\ncat /etc/os-release\n[ ! -e {tmp_path} ]\n")
    (tmp_path / "hello/tests/test_buildpack.py").write_text(
        "def test(buildpack):\n    buildpack.use('fixture')\n    out = buildpack.build().output\n"
        "    assert out.startswith('/workspace\\n/layers/acme_hello\\n') and 'VERSION_ID=\"13\"' in out\n"
    )
    ran = own_tests(tmp_path / "hello", cli, "--run-buildpack", "sandbox")
    assert ran.returncode == 0, ran.stdout
    assert own_tests(tmp_path / "hello", cli).returncode == 1


def test_an_image_is_built_started_and_asked(cli: Cli, tmp_path: Path) -> None:
    cli.ok("buildpack", "new", "acme/hello", "--no-test", cwd=tmp_path)
    build = tmp_path / "hello/bin/build"
    build.write_text(build.read_text().replace("    context.step =", f"{PROCESSES}\n    context.step ="))
    (tmp_path / "hello/tests/test_image.py").write_text(SERVING)
    ran = own_tests(tmp_path / "hello", cli, "-k", "serves or wrong")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("kind", ["composite", "extension"])
def test_a_composite_and_an_extension_work_at_once(kind: str, cli: Cli, tmp_path: Path) -> None:
    new = cli.ok("buildpack", "new", f"acme/new-{kind}", "--kind", kind, cwd=tmp_path)
    words = new.out.splitlines()[-1].removeprefix("Try it:  packrunner ").split()
    cli.ok(*words, cwd=tmp_path)
    assert cli.ok("run", "demo").out == "Hello, world!\n"
    ran = own_tests(tmp_path / f"new-{kind}", cli)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cli.ok("buildpack", "package", "it.cnb", "-p", f"new-{kind}", cwd=tmp_path)
    assert f"acme/new-{kind}" in cli.ok("buildpack", "inspect", "it.cnb", cwd=tmp_path).out


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A directory of somebody else's, all above which they may list: pytest does."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        os.chown(made, *pwd.getpwnam("nobody")[2:4])
        yield Path(made)


def test_an_ordinary_user_tests_in_the_sandbox_too(ordinary: Cli, foreign: Path) -> None:
    new = ordinary.ok("buildpack", "new", "acme/hello", "--language", "shell", "--no-test", cwd=foreign)
    assert new.out.startswith("Created hello/ (6 files)")
    argv = [*ordinary.prefix, sys.executable, "-m", "pytest", "-q", "-p", "packrunner.testing"]
    argv += ["-c", os.devnull, "--rootdir", ".", "--basetemp", str(foreign / "t"), "--run-buildpack", "sandbox"]
    argv += ["-p", "no:cacheprovider", "tests"]
    env = ordinary.environ()
    ran = subprocess.run(argv, cwd=foreign / "hello", env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout
