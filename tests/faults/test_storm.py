"""Storms of everything that can happen to a tree, from fixed seeds: afterwards both sides are equal.

PACKRUNNER_STORM=20 .venv/bin/python -m pytest tests/faults/test_storm.py      so many seeds
"""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.news import LONGEST_WRITTEN, WRITTEN
from tests.following import Following, Reloader, listing

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = range(int(os.environ.get("PACKRUNNER_STORM", "4")))
NAMES = ("a", "b", "c.py", "d e", "é", "f\nf")


class Storm:
    """Does one thing after the other to a tree; `outside` is a place to move things out to and in from."""

    def __init__(self, root: Path, outside: Path, seed: int) -> None:
        self.root = root
        self.outside = outside
        self.random = random.Random(seed)
        self.deeds: list[Callable[[], None]] = [
            self.write, self.write, self.write, self.append, self.replace, self.same_size, self.make_directories,
            self.remove, self.remove_tree, self.move, self.move, self.move_out, self.move_in, self.link, self.chmod,
            self.touch, self.swap, self.hard_link, self.copy_tree, self.fifo,
        ]  # fmt: skip

    def blow(self, deeds: int) -> None:
        """Some of it at once, some of it after a moment."""
        for _ in range(deeds):
            # What does not fit what is there does nothing.
            with suppress(OSError):
                self.random.choice(self.deeds)()
            if self.random.random() < 0.1:
                time.sleep(self.random.choice((0.001, 0.01, 0.03)))

    def place(self) -> Path:
        """A path, most often one level below something that exists."""
        path = self.root
        for _ in range(self.random.randrange(1, 5)):
            path = path / self.random.choice(NAMES)
            if not path.is_dir() or path.is_symlink():
                break
        return path

    def existing(self) -> Path:
        found = [path for path in self.root.rglob("*") if not path.name.startswith(".last")]
        return self.random.choice(found) if found else self.place()

    def data(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 10, 5000, 70_000)))

    def into(self, path: Path, data: bytes, flags: int) -> None:
        # A FIFO would wait for its reader; a link may lead out of the tree.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def write(self) -> None:
        self.into(self.place(), self.data(), os.O_TRUNC)

    def append(self) -> None:
        self.into(self.existing(), b"more", os.O_APPEND)

    def same_size(self) -> None:
        path = self.existing()
        found = path.lstat()
        self.into(path, self.random.randbytes(found.st_size), os.O_TRUNC)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    def replace(self) -> None:
        path = self.place()
        beside = path.with_name(".beside")
        beside.write_bytes(self.data())
        try:
            os.replace(beside, path)
        except OSError:
            beside.unlink()

    def make_directories(self) -> None:
        path = self.place() / self.random.choice(NAMES) / self.random.choice(NAMES)
        path.mkdir(parents=True, exist_ok=True)
        (path / self.random.choice(NAMES)).write_bytes(self.data())

    def remove(self) -> None:
        self.existing().unlink()

    def remove_tree(self) -> None:
        path = self.existing()
        # rmtree opens what it is given, and would wait for a FIFO's writer.
        if path.is_dir() and self.random.random() < 0.3:
            shutil.rmtree(path)

    def move(self) -> None:
        os.rename(self.existing(), self.place())

    def move_out(self) -> None:
        os.rename(self.existing(), self.outside / str(self.random.randrange(5)))

    def move_in(self) -> None:
        os.rename(self.outside / str(self.random.randrange(5)), self.place())

    def link(self) -> None:
        self.place().symlink_to(self.random.choice(("a", "../b", ".", "/dev/null/x", "nothing")))

    def chmod(self) -> None:
        path = self.existing()
        if not path.is_symlink():
            path.chmod(
                self.random.choice((0o755, 0o700, 0o711)) if path.is_dir() else self.random.choice((0o644, 0o755))
            )

    def touch(self) -> None:
        os.utime(self.existing(), (1, self.random.randrange(1 << 32)), follow_symlinks=False)

    def swap(self) -> None:
        """A directory becomes a file, a file a directory."""
        path = self.existing()
        if path.is_dir() and not path.is_symlink():
            if self.random.random() < 0.3:
                shutil.rmtree(path)
                path.write_bytes(b"a file now")
        else:
            path.unlink()
            path.mkdir()
            (path / "a").write_bytes(self.data())

    def hard_link(self) -> None:
        os.link(self.existing(), self.place(), follow_symlinks=False)

    def copy_tree(self) -> None:
        path, to = self.existing(), self.place()
        # Not for ever: copies of copies would fill the disk.
        small = path.is_dir() and sum(1 for _ in path.rglob("*")) < 40
        if small and not to.is_relative_to(path) and self.random.random() < 0.3:
            shutil.copytree(path, to, symlinks=True)

    def fifo(self) -> None:
        if self.random.random() < 0.2:
            os.mkfifo(self.place())


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "walking"])
@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_storm_both_sides_are_equal(tmp_path: Path, seed: int, poll: float | None) -> None:
    source, target, storm = storming(tmp_path, seed)
    with Following(source, target, poll=poll) as following:
        for _ in range(5):
            storm.blow(120)
            equal_in_the_end(following)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_storm_the_reloaders_tree_is_equal(tmp_path: Path, seed: int) -> None:
    source, target, storm = storming(tmp_path, 1000 + seed)
    with Reloader(target, str(tmp_path)) as reloader, Following(source, target, take=reloader.take) as following:
        for _ in range(5):
            storm.blow(120)
            equal_in_the_end(following)
        assert reloader.failed == []
        # What it says that it has is what is known of it.
        assert following.watcher.tree.reconcile(reloader.manifest()) == ()


def test_a_manifest_mends_what_the_other_side_lost(tmp_path: Path) -> None:
    source, target, storm = storming(tmp_path, 5)
    with Reloader(target, str(tmp_path)) as reloader, Following(source, target, take=reloader.take) as following:
        storm.blow(120)
        equal_in_the_end(following)
        damage = Storm(Path(target), tmp_path / "outside", 6)
        damage.deeds = [damage.same_size, damage.remove, damage.remove_tree, damage.chmod, damage.swap]
        damage.blow(60)
        assert listing(source) != listing(target)
        tree = following.watcher.tree
        reloader.take(tree.parcel(tree.reconcile(reloader.manifest())))
        lacking = {path: what for path, what in listing(source).items() if listing(target).get(path) != what}
        assert lacking == {}


def storming(tmp_path: Path, seed: int) -> tuple[str, str, Storm]:
    for name in ("source", "target", "outside"):
        (tmp_path / name).mkdir()
    storm = Storm(tmp_path / "source", tmp_path / "outside", seed)
    return str(tmp_path / "source"), str(tmp_path / "target"), storm


def equal_in_the_end(following: Following) -> None:
    """What was heard of last has arrived; a file that seems to be written to still is waited for, LONGEST_WRITTEN."""
    until = time.monotonic() + LONGEST_WRITTEN
    following.settle()
    while listing(following.source) != listing(following.target) and time.monotonic() < until:
        time.sleep(WRITTEN)
        following.settle()
    assert listing(following.source) == listing(following.target)
