"""The fixtures of packrunner.testing in a pytest of their own, as the author of a buildpack has them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TOML = """api = "0.12"
[buildpack]
id = "acme/tool"
version = "1.0.0"
[[targets]]
os = "linux"
"""


def ran(directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a pytest that knows of nothing else."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "packrunner.testing", "-c", "/dev/null", "--rootdir", "."]
    return subprocess.run([*argv, *flags, "."], cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A buildpack with tests."""
    for name, text in (
        ("buildpack.toml", TOML),
        ("bin/detect", "#!/bin/sh\n"),
        ("bin/build", "#!/usr/bin/env python3\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/fixture").mkdir(parents=True)
    (tmp_path / "tests/fixture/a.txt").write_text("a")
    return tmp_path


def test_the_buildpack_is_the_nearest_one(project: Path) -> None:
    (project / "tests/test_it.py").write_text(
        "def test(buildpack, buildpack_at):\n"
        "    buildpack.use('fixture')\n"
        "    assert (buildpack.app / 'a.txt').read_text() == 'a'\n"
        "    assert buildpack.detect().passed\n"
        "    assert buildpack_at('..').source == buildpack.source\n"
    )
    found = ran(project)
    assert "1 passed" in found.stdout, found.stdout


def test_without_a_buildpack_the_fixture_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test(buildpack):\n    pass\n")
    found = ran(tmp_path)
    assert found.returncode == 1
    assert "there is no buildpack.toml at or above" in found.stdout


def test_the_option_says_how_programs_run(project: Path) -> None:
    (project / "bin/build").write_text("#!/usr/bin/env python3\nimport os\nprint(os.getpid())\n")
    (project / "tests/test_it.py").write_text(
        "import os\n\ndef test(buildpack):\n    assert buildpack.build().output == f'{os.getpid()}\\n'\n"
    )
    assert ran(project, "--run-buildpack", "in-process").returncode == 0
    assert ran(project).returncode == 1


def test_a_failed_assertion_shows_what_there_was(project: Path) -> None:
    (project / "bin/detect").write_text("#!/bin/sh\necho needs a reason\nexit 100\n")
    (project / "tests/test_it.py").write_text("def test(buildpack):\n    assert buildpack.detect().passed\n")
    assert "reason='needs a reason'" in ran(project).stdout
