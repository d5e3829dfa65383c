"""A mirror is equal to its source after any change, and touches only what changed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner import fingerprint
from packrunner.errors import UsageError
from packrunner.lifecycle.mirror import Mirror

if TYPE_CHECKING:
    from pathlib import Path


def contents(root: Path) -> dict[str, tuple[int, bytes | str]]:
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, os.readlink(path))
        else:
            found[str(path.relative_to(root))] = (mode, path.read_bytes() if path.is_file() else b"")
    return found


def update(mirror: Mirror, source: Path) -> None:
    mirror.update(str(source), fingerprint.scan(str(source)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("1")
    (root / "a" / "script").write_text("#!/bin/sh\n")
    (root / "a" / "script").chmod(0o755)
    (root / "link").symlink_to("a/script")
    return root


def test_the_first_update_copies_everything(source: Path, tmp_path: Path) -> None:
    update(Mirror(str(tmp_path / "mirror"), owner=None), source)
    assert contents(tmp_path / "mirror") == contents(source)


def test_only_what_changed_is_touched(source: Path, tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "mirror"), owner=None)
    update(mirror, source)
    kept = (tmp_path / "mirror" / "a" / "script").stat().st_ino
    (source / "a" / "b" / "file").write_text("2")
    update(mirror, source)
    assert contents(tmp_path / "mirror") == contents(source)
    assert (tmp_path / "mirror" / "a" / "script").stat().st_ino == kept


def test_a_directory_that_became_a_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "mirror"), owner=None)
    update(mirror, source)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    shutil.rmtree(source / "a" / "b")
    (source / "a" / "b").symlink_to(outside)
    update(mirror, source)
    assert contents(tmp_path / "mirror") == contents(source)
    assert (outside / "file").read_text() == "outside"


def test_a_killed_update_is_done_again_from_the_start(source: Path, tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "mirror"), owner=None)
    update(mirror, source)
    (tmp_path / "mirror" / "a" / "script").write_text("half")
    (tmp_path / "mirror.changing").touch()
    update(mirror, source)
    assert contents(tmp_path / "mirror") == contents(source)
    assert not (tmp_path / "mirror.changing").exists()


def test_what_no_image_can_hold_is_named(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(UsageError, match="pipe is not a file") as caught:
        update(Mirror(str(tmp_path / "mirror"), owner=None), source)
    assert caught.value.slug == "special-file"


NAMES = st.sampled_from(["a", "b", "a/c", "a/c/d", "b/e"])
KINDS = st.sampled_from(["file", "dir", "link", "gone", "executable"])


def put(root: Path, name: str, kind: str, n: int) -> None:
    path = root / name
    for parent in reversed(path.relative_to(root).parents[:-1]):
        above = root / parent
        if above.is_symlink() or above.is_file():
            above.unlink()
        above.mkdir(exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    if kind == "dir":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(f"target{n % 3}")
    elif kind != "gone":
        path.write_text(f"content {n}")
        path.chmod(0o755 if kind == "executable" else 0o644)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(NAMES, KINDS), max_size=4), min_size=1, max_size=4))
def test_any_sequence_of_changes_converges(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, str]]]
) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / "source").mkdir()
    mirror = Mirror(str(root / "mirror"), owner=None)
    for n, changes in enumerate(rounds):
        for name, kind in changes:
            put(root / "source", name, kind, n)
        update(mirror, root / "source")
        assert contents(root / "mirror") == contents(root / "source")
