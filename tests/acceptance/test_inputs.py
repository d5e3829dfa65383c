"""Every input of a build, changed one at a time: "nothing changed" must never be said wrongly."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An application with a probe buildpack, an env file, an output, and the command line that builds it."""

    cli: Cli
    root: Path

    @property
    def app(self) -> Path:
        """The application."""
        return self.root / "app"

    @property
    def args(self) -> list[str]:
        """The arguments of the build."""
        return [
            "build", "inputs", "-p", str(self.app), "-b", str(self.root / "probe"),
            "--env-file", str(self.root / "env"), "--output", f"oci-archive:{self.root / 'out.tar'}",
        ]  # fmt: skip


@pytest.fixture
def case(cli: Cli, tmp_path: Path) -> Case:
    """Built twice: the second time nothing had changed."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "file").write_text("content 1")
    (tmp_path / "env").write_text("BPE_A=1\n")
    probe_buildpack(tmp_path / "probe")
    case = Case(cli=cli, root=tmp_path)
    time.sleep(0.05)
    cli.ok(*case.args)
    assert cli.ok(*case.args).err.startswith("Nothing changed")
    return case


def content_with_size_and_mtime_kept(case: Case) -> list[str]:
    file = case.app / "file"
    was = file.stat()
    file.write_text("content 2")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    return case.args


def a_mode(case: Case) -> list[str]:
    (case.app / "file").chmod(0o755)
    return case.args


def a_new_file(case: Case) -> list[str]:
    (case.app / "new").touch()
    return case.args


def a_removed_file(case: Case) -> list[str]:
    (case.app / "file").unlink()
    return case.args


def a_link(case: Case) -> list[str]:
    (case.app / "link").symlink_to("file")
    return case.args


def an_env_flag(case: Case) -> list[str]:
    return [*case.args, "-e", "BPE_B=2"]


def the_env_file(case: Case) -> list[str]:
    (case.root / "env").write_text("BPE_A=2\n")
    return case.args


def the_buildpack(case: Case) -> list[str]:
    script = case.root / "probe" / "bin" / "build"
    script.write_text(script.read_text() + "\n# another version\n")
    return case.args


def another_buildpack(case: Case) -> list[str]:
    shutil.copytree(case.root / "probe", case.root / "other")
    descriptor = case.root / "other" / "buildpack.toml"
    descriptor.write_text(descriptor.read_text().replace("test/probe", "test/other"))
    return [*case.args, "-b", str(case.root / "other")]


def the_project_settings(case: Case) -> list[str]:
    (case.app / "project.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["file"]\n')
    return case.args


def the_user_settings(case: Case) -> list[str]:
    config = Path(case.cli.home) / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text('builder = "debian:trixie"\n')
    return case.args


def a_removed_image(case: Case) -> list[str]:
    case.cli.ok("rm", "inputs", "--yes")
    return case.args


def a_removed_output(case: Case) -> list[str]:
    (case.root / "out.tar").unlink()
    return case.args


def a_changed_output(case: Case) -> list[str]:
    with (case.root / "out.tar").open("r+b") as file:
        file.write(b"x")
    return case.args


def the_base(case: Case) -> list[str]:
    """The base's lock is an input; touching it is enough to have it looked at."""
    locks = list((Path(case.cli.home) / "data").rglob("*lock*.json"))
    assert locks
    for lock in locks:
        os.utime(lock)
    return case.args


CHANGES: list[Callable[[Case], list[str]]] = [
    content_with_size_and_mtime_kept, a_mode, a_new_file, a_removed_file, a_link, an_env_flag, the_env_file,
    the_buildpack, another_buildpack, the_project_settings, the_user_settings, a_removed_image, a_removed_output,
    a_changed_output, the_base,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: str(c.__name__))
def test_each_input_is_noticed(case: Case, change: Callable[[Case], list[str]]) -> None:
    args = change(case)
    try:
        built = case.cli.ok(*args)
    finally:
        (Path(case.cli.home) / "config" / "config.toml").unlink(missing_ok=True)
    assert "Nothing changed" not in built.err
    assert (case.root / "out.tar").exists()
    assert case.cli.ok("images", "--json").out.count('"inputs:latest"') == 1


def test_the_environment_that_matters_is_an_input(case: Case) -> None:
    changed = case.cli.ok(*case.args, SOURCE_DATE_EPOCH="1700000000")
    assert "Nothing changed" not in changed.err
    assert case.cli.ok(*case.args, SOURCE_DATE_EPOCH="1700000000").err.startswith("Nothing changed")


def test_another_version_of_packrunner_builds_again(case: Case) -> None:
    records = list((Path(case.cli.home) / "state" / "records").glob("*.json"))
    assert records
    for record in records:
        record.write_text(record.read_text().replace('"version": "', '"version": "0.0.0+'))
    assert "Nothing changed" not in case.cli.ok(*case.args).err
