"""`packrunner buildpack new`: its page, and what it says where something is missing."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from packrunner.cli import beginning
from packrunner.formats.platform import default_target
from tests.unit.cli.cli_fakes import call

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

PAGE = """\
Created hello/ (6 files)
  buildpack.toml        acme/hello 0.1.0, buildpack API 0.12
  bin/detect            accepts an application with hello.txt; change this first
  bin/build             one cached layer and one process, written with the SDK
  tests/                a fixture application and tests: pip install pytest, and pytest hello
  README.md             what it does, how to compose and package it
Try it:  packrunner build demo -p hello/tests/fixture -b ./hello
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "find_spec", lambda name: None)


def test_the_page_where_there_is_no_pytest(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pytest(monkeypatch)
    assert call("buildpack", "new", "acme/hello") == 0
    assert capsys.readouterr().out == PAGE


@pytest.mark.parametrize("argv", [["sub/other"], ["-p", "sub/other"]])
def test_another_directory(argv: list[str], here: Path, capsys: Capture) -> None:
    assert call("buildpack", "new", "acme/hello", *argv, "--language", "shell", "--no-test") == 0
    assert (here / "sub/other/bin/build").exists()
    out = capsys.readouterr().out
    assert out.startswith("Created sub/other/ (6 files)\n")
    assert out.endswith("Try it:  packrunner build demo -p sub/other/tests/fixture -b ./sub/other\n")


def test_two_directories_are_one_too_many(capsys: Capture) -> None:
    assert call("buildpack", "new", "acme/hello", "a", "--path", "b") == 2
    assert "DIR and --path say the same" in capsys.readouterr().err


def test_flags_of_pack(here: Path, capsys: Capture) -> None:
    flags = ["-a", "0.10", "-V", "2.0.0", "-t", "linux/arm64", "--targets", "linux/amd64:debian@13", "--no-test"]
    assert call("buildpack", "new", "acme/hello", *flags) == 0
    assert "acme/hello 2.0.0, buildpack API 0.10" in capsys.readouterr().out
    text = (here / "hello/buildpack.toml").read_text()
    assert text.index('arch = "arm64"') < text.index('arch = "amd64"') < text.index('name = "debian"')


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("linux/riscv64", "linux/riscv64"),
        (f"linux/{default_target().arch}:ubuntu@24.04", f"linux/{default_target().arch} ubuntu 24.04"),
    ],
)
def test_tests_that_cannot_pass_here_are_not_run(target: str, said: str, capsys: Capture) -> None:
    assert call("buildpack", "new", "acme/hello", "--target", target) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Created hello/ (6 files)"
    assert lines[-1] == f"It is for {said}: its tests pass and builds take it there, not here."


def test_without_a_compiler_it_says_what_is_missing(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "tools").mkdir()
    for name in ("dirname", "mkdir"):
        (here / "tools" / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(here / "tools"))
    assert call("buildpack", "new", "acme/hello", "--language", "go") == 0
    assert (
        "make.sh               compiles both programs of *.go; needs go, which is not here" in capsys.readouterr().out
    )


def test_a_compiler_that_fails_is_heard(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "tools").mkdir()
    (here / "tools/go").write_text("#!/bin/sh\necho too old >&2\nexit 1\n")
    (here / "tools/go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'tools'}{os.pathsep}{os.environ['PATH']}")
    assert call("buildpack", "new", "acme/hello", "--language", "go") == 1
    err = capsys.readouterr().err
    assert "error[buildpack-new]: hello was created, but hello/make.sh failed" in err
    assert "too old" in err
    assert (here / "hello/main.go").exists()


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("composite", ["  buildpack.toml        acme/hello 0.1.0", "    [[order]]           two", "  package.toml "]),
        ("extension", ["  extension.toml        acme/hello 0.1.0", "  bin/detect ", "  bin/generate  "]),
    ],
)
def test_other_kinds(kind: str, lines: list[str], capsys: Capture) -> None:
    assert call("buildpack", "new", "acme/hello", "--kind", kind) == 0
    out = capsys.readouterr().out.splitlines()
    assert all(line.startswith(start) for line, start in zip(out[1:], lines, strict=False))
    assert "  tests/                a fixture application and tests: pytest hello" in out
    taking = "-b procfile --extension ./hello" if kind == "extension" else "-b ./hello"
    assert out[-1] == f"Try it:  packrunner build demo -p hello/tests/fixture {taking}"


def test_only_buildpacks_have_a_language(here: Path, capsys: Capture) -> None:
    assert call("buildpack", "new", "acme/hello", "--kind", "extension", "--language", "go") == 2
    assert "--language is for buildpacks" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.fault("PRO-14")
@pytest.mark.parametrize(
    "argv",
    [
        ("buildpack", "new", "acme/hello"),
        ("buildpack", "package", "hello.cnb"),
        ("builder", "create", "acme/builder"),
        ("builder", "lock"),
        ("builder", "suggest"),
        ("rebase", "shop"),
        ("save", "shop", "-o", "shop.tar"),
        ("detect",),
    ],
)
def test_a_current_directory_that_is_gone_is_said(argv: tuple[str, ...], here: Path, capsys: Capture) -> None:
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    (here / "gone").rmdir()
    assert call(*argv) == 2
    err = capsys.readouterr().err
    assert err == "error[no-such-path]: the current directory does not exist any more\n  try:   cd ~\n"
