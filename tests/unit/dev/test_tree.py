"""The model of what the other side has, over small trees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.ignored import Ignored
from packrunner.dev.tree import Entry, Tree
from packrunner.events import Warned

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = {"": True}


class Said(list[Warned]):
    """What the user was told."""

    def __call__(self, warned: Warned) -> None:
        self.append(warned)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def tree(tmp_path: Path, said: Said) -> Tree:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("one")
    os.symlink("a.py", tmp_path / "src" / "link")
    made = Tree(str(tmp_path), Ignored(str(tmp_path)), notice=said)
    made.look(EVERYTHING, adopt=True)
    return made


def looked(tree: Tree, *paths: str) -> list[tuple[str, str]]:
    return [(c.path, c.kind) for c in tree.look(dict.fromkeys(paths, False) if paths else EVERYTHING)]


def test_what_is_there_at_first_is_known(tree: Tree) -> None:
    assert looked(tree) == []
    assert [c.path for c in tree.everything()] == ["src", "src/a.py", "src/link"]


def test_a_new_directory_comes_with_what_is_in_it(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "f").write_text("x")
    assert looked(tree, "new") == [("new", "dir"), ("new/deep", "dir"), ("new/deep/f", "file")]


@pytest.mark.fault("LIV-11")
def test_same_size_and_time_but_other_bytes_are_a_change(tree: Tree, tmp_path: Path) -> None:
    file = tmp_path / "src" / "a.py"
    found = file.stat()
    assert looked(tree, "src/a.py") == []
    file.write_text("two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert looked(tree, "src/a.py") == [("src/a.py", "file")]


@pytest.mark.fault("LIV-11")
def test_other_times_but_the_same_bytes_are_no_change(tree: Tree, tmp_path: Path) -> None:
    file = tmp_path / "src" / "a.py"
    file.write_text("two")
    assert tree.parcel(tree.look(EVERYTHING)).size == 3
    os.utime(file, ns=(0, 0))
    assert looked(tree) == []


@pytest.mark.fault("LIV-14")
def test_what_was_touched_since_a_mark_is_sent_again_as_it_is_now(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    looked(tree)
    mark = tree.mark()
    (tmp_path / "src" / "a.py").write_text("two")
    looked(tree)
    (tmp_path / "src" / "a.py").write_text("one")
    os.remove(tmp_path / "old")
    looked(tree)
    assert [(c.path, c.kind) for c in tree.since(mark)] == [("old", "gone"), ("src/a.py", "file")]


@pytest.mark.fault("LIV-14")
def test_what_was_another_one_for_a_moment_is_sent_again_too(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "src" / "a.py").write_text("two")
    tree.parcel(tree.look(EVERYTHING))
    mark = tree.mark()
    # A build may have read this:
    (tmp_path / "src" / "a.py").write_text("three")
    (tmp_path / "src" / "a.py").write_text("two")
    assert looked(tree) == []
    assert [c.path for c in tree.since(mark)] == ["src/a.py"]


def test_what_is_ignored_from_now_on_is_not_gone(tree: Tree, tmp_path: Path) -> None:
    mark = tree.mark()
    (tmp_path / "src" / "a.py").write_text("touched, then ignored")
    looked(tree)
    (tmp_path / ".gitignore").write_text("src/\n")
    assert looked(tree) == [(".gitignore", "file")]
    assert [(c.path, c.kind) for c in tree.since(mark)] == [(".gitignore", "file")]
    assert [c.path for c in tree.everything()] == [".gitignore"]


def test_what_could_not_be_taken_is_sent_with_the_next_touch(tree: Tree) -> None:
    tree.failed(["src/a.py"])
    changes = tree.look({"src/a.py": False})
    assert [change.path for change in changes] == ["src/a.py"]
    assert tree.parcel(changes).size == 3
    assert looked(tree, "src/a.py") == []


def test_a_manifest_shows_what_the_other_side_lacks(tree: Tree) -> None:
    theirs = [
        Entry(path="src", kind="dir", mode=0o755),
        Entry(path="src/a.py", kind="file", mode=0o644, size=3, sha256="0" * 64),
        Entry(path="src/made-there.pyc", kind="file", mode=0o644, size=9, sha256="1" * 64),
    ]
    assert [(c.path, c.kind) for c in tree.reconcile(theirs)] == [("src/a.py", "file"), ("src/link", "link")]


def test_a_parcel_has_the_bytes_of_its_files(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "src" / "a.py").write_text("four")
    (tmp_path / "large").write_bytes(b"l" * (3 << 20))
    parcel = tree.parcel(tree.look(EVERYTHING))
    assert [(c.path, c.size) for c in parcel.changes] == [("large", 3 << 20), ("src/a.py", 4)]
    assert b"".join(parcel.pieces()) == b"l" * (3 << 20) + b"four"
