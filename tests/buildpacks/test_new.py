"""What `packrunner buildpack new` makes: its own tests pass in every language, and fail when it is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import pytest

from packrunner.catalog import scaffold
from packrunner.catalog.scaffold import Language
from tests.toolchain import GO, PATH

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = [
    pytest.param(one, marks=pytest.mark.skipif(one == "go" and not GO, reason="go is not installed"))
    for one in get_args(Language)
]


def own_tests(directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as the author of the buildpack does."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "packrunner.testing", "-c", os.devnull, "--rootdir", "."]
    env = {**os.environ, "PATH": PATH}
    return subprocess.run([*argv, *flags, "tests"], cwd=directory, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", ["programs", "in-process"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_its_tests_pass(language: Language, how: str, tmp_path: Path) -> None:
    scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example=language)
    ran = own_tests(tmp_path / "hello", "--run-buildpack", how)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        ('context.has("hello.txt")', "True", "declines"),
        ('"greet"], default=True', '"greet"]', "builds_the_fixture"),
        ('{"hello.txt": greeting}', '{"hello.txt": "same"}', "reuses"),
        ("if not greeting:", "if greeting is None:", "says_what_is_wrong"),
    ],
)
def test_its_tests_can_fail(old: str, new: str, failing: str, tmp_path: Path) -> None:
    scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example="python")
    for program in (tmp_path / "hello/bin").iterdir():
        program.write_text(program.read_text().replace(old, new))
    ran = own_tests(tmp_path / "hello")
    assert ran.returncode == 1
    assert f"test_{failing}" in ran.stdout
