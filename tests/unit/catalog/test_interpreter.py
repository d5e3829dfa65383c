"""Which Python a build image has, told from its files: only what is known to fail is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog import interpreter
from packrunner.catalog.stage import StagedBuildpack
from packrunner.errors import UsageError
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo
from packrunner.images.view import View

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/usr/local/bin:/usr/bin:relative"


def staged(short: str, *, sdk: bool) -> StagedBuildpack:
    descriptor = BuildpackDescriptor(api="0.12", buildpack=BuildpackInfo(id=short))
    return StagedBuildpack(
        id=short, version="1", digest="", path="", source="", descriptor=descriptor, short=short, sdk=sdk
    )


def check(root: Path, *buildpacks: StagedBuildpack, path: str = PATH) -> None:
    with View([str(root)]) as files:
        interpreter.check(buildpacks or (staged("python", sdk=True),), files, path=path, builder="theirs")


def program(root: Path, path: str, *, to: str = "") -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if to:
        os.symlink(to, place)
    else:
        place.write_text("")


def refused(root: Path, path: str = PATH) -> UsageError:
    with pytest.raises(UsageError) as caught:
        check(root, path=path)
    assert caught.value.slug == "builder-python"
    assert "--builder debian:13" in caught.value.tries
    return caught.value


def test_none_at_all(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/perl")
    error = refused(tmp_path)
    assert error.brief == "python cannot run in theirs: it has no python3"
    assert PATH in (error.at or "")


def test_only_buildpacks_on_the_sdk_need_one(tmp_path: Path) -> None:
    check(tmp_path, staged("shell", sdk=False))
    with pytest.raises(UsageError, match="a, b cannot run"):
        check(tmp_path, staged("b", sdk=True), staged("a", sdk=True), staged("shell", sdk=False))


@pytest.mark.parametrize(("version", "good"), [("3.13", True), ("3.11", True), ("3.10", False), ("3.9", False)])
def test_the_name_behind_the_links_says_the_version(tmp_path: Path, version: str, *, good: bool) -> None:
    program(tmp_path, f"usr/bin/python{version}")
    program(tmp_path, "usr/bin/python3", to="/etc/alternatives/python3")
    program(tmp_path, "etc/alternatives/python3", to=f"../../usr/bin/python{version}")
    if good:
        check(tmp_path)
    else:
        error = refused(tmp_path)
        assert f"it has Python {version}" in error.brief
        assert error.at == f"/usr/bin/python{version}"


def test_the_first_on_the_path_decides(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/python3.13")
    program(tmp_path, "usr/bin/python3", to="python3.13")
    program(tmp_path, "usr/local/bin/python3.8")
    program(tmp_path, "usr/local/bin/python3", to="python3.8")
    assert "Python 3.8" in refused(tmp_path).brief
    check(tmp_path, path="/usr/bin:/usr/local/bin")
    assert "no python3" in refused(tmp_path, path="/bin").brief


def test_the_library_beside_it_says_the_version_else_it_counts_as_good(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/python3")
    check(tmp_path)
    program(tmp_path, "usr/lib/python3.9/os.py")
    assert "Python 3.9" in refused(tmp_path).brief
    program(tmp_path, "usr/lib/python3.12/os.py")
    check(tmp_path)


def test_a_link_to_nowhere_is_none(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/python3", to="/opt/python3.13")
    assert "no python3" in refused(tmp_path).brief


def test_without_a_path_the_usual_directories_count(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3")
    check(tmp_path, path="")
