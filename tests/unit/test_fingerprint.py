"""What fingerprint.py notices, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packrunner import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a-dir" / "deeper").mkdir(parents=True)
    (root / "a-dir" / "deeper" / "one").write_text("1")
    (root / "a-dir.txt").write_text("two")
    (root / "link").symlink_to("a-dir")
    return root


def test_equal_trees_have_equal_tables(tree: Path) -> None:
    assert fingerprint.scan(str(tree)) == fingerprint.scan(str(tree))


def test_order_is_of_a_walk_with_names_as_bytes(tree: Path) -> None:
    os.close(os.open(os.fsencode(tree) + b"/\xff", os.O_CREAT))
    (tree / "\U0001f600").touch()
    paths = fingerprint.paths(fingerprint.scan(str(tree)))
    assert paths == ["a-dir", "a-dir/deeper", "a-dir/deeper/one", "a-dir.txt", "link", "\U0001f600", "\udcff"]
    assert fingerprint.entries(fingerprint.scan(str(tree))) == 7


def test_every_kind_of_change_is_noticed(tree: Path) -> None:
    one = tree / "a-dir" / "deeper" / "one"
    before = fingerprint.scan(str(tree))
    times = os.stat(one)

    def seen() -> list[str]:
        return fingerprint.changed(before, fingerprint.scan(str(tree)))

    time.sleep(0.02)
    one.write_text("2")
    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert seen() == ["a-dir/deeper/one"]  # content with size and mtime kept: the ctime tells
    (tree / "new\nline").touch()
    assert seen() == ["a-dir/deeper/one", "new\nline"]
    (tree / "link").unlink()
    assert seen() == ["a-dir/deeper/one", "link", "new\nline"]
    (tree / "a-dir").chmod(0o700)
    tree.chmod(0o711)
    assert seen() == [".", "a-dir", "a-dir/deeper/one", "link", "new\nline"]


def test_a_replaced_file_with_the_same_times_is_noticed(tree: Path) -> None:
    path = tree / "a-dir.txt"
    before = fingerprint.scan(str(tree))
    st = path.stat()
    (tree.parent / "other").write_text("TWO")
    os.utime(tree.parent / "other", ns=(st.st_atime_ns, st.st_mtime_ns))
    os.rename(tree.parent / "other", path)
    assert fingerprint.changed(before, fingerprint.scan(str(tree))) == ["a-dir.txt"]


def test_a_directory_whose_entries_are_the_same_is_the_same(tree: Path) -> None:
    before = fingerprint.scan(str(tree))
    (tree / "a-dir" / "scratch").touch()
    (tree / "a-dir" / "scratch").unlink()
    assert fingerprint.scan(str(tree)) == before


def test_skip_is_for_names_at_the_top(tree: Path) -> None:
    (tree / "a-dir" / "link").touch()
    table = fingerprint.scan(str(tree), skip=frozenset({"link", "absent"}))
    assert fingerprint.paths(table) == ["a-dir", "a-dir/deeper", "a-dir/deeper/one", "a-dir/link", "a-dir.txt"]


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "out").symlink_to(outside)
    before = fingerprint.scan(str(tree))
    (outside / "secret").touch()
    assert fingerprint.scan(str(tree)) == before


def test_the_root_may_be_named_by_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert fingerprint.scan(str(tmp_path / "alias")) == fingerprint.scan(str(tree))


@pytest.mark.parametrize(
    ("ctime", "settled"),
    [
        (100 * SECOND - 1, False),
        (100 * SECOND - 30_000_001, True),
        (100 * SECOND + 1, False),
        (99 * SECOND, False),  # whole seconds: a file system that knows no others
        (97 * SECOND, True),
    ],
)
def test_what_is_as_new_as_the_scan_is_not_settled(ctime: int, settled: bool) -> None:
    table = fingerprint.join([f"100644 1 5 {ctime} 7 x"], ctime)
    assert fingerprint.settled(table, 100 * SECOND) is settled


def test_a_future_mtime_does_not_matter(tree: Path) -> None:
    os.utime(tree / "a-dir.txt", (2**32, 2**32))
    time.sleep(0.05)
    assert fingerprint.settled(fingerprint.scan(str(tree)), time.time_ns())


def test_an_empty_tree_is_settled(tmp_path: Path) -> None:
    table = fingerprint.scan(str(tmp_path))
    assert fingerprint.entries(table) == 0
    assert fingerprint.paths(table) == []
    assert fingerprint.settled(table, time.time_ns())


@pytest.mark.parametrize("size", [10, 600_000])
def test_digest_is_sha256_whichever_library_computes_it(size: int) -> None:
    data = b"x" * size
    program = "import hashlib,sys; print(hashlib.sha256(b'x' * int(sys.argv[1])).hexdigest())"
    expected = subprocess.run([sys.executable, "-c", program, str(size)], capture_output=True, check=True, text=True)
    assert fingerprint.digest(data) == expected.stdout.strip()


@pytest.mark.fault("ARC-32")
def test_too_deep_a_tree_is_named(tmp_path: Path) -> None:
    fds = [os.open(tmp_path, os.O_RDONLY)]
    for _ in range(fingerprint.DEEPEST + 5):
        os.mkdir("d", dir_fd=fds[-1])
        fds.append(os.open("d", os.O_RDONLY, dir_fd=fds[-1]))
        os.close(fds.pop(0))
    os.close(fds[0])
    with pytest.raises(OSError, match="directories deep") as caught:
        fingerprint.scan(str(tmp_path))
    assert caught.value.filename == str(tmp_path) + "/d" * (fingerprint.DEEPEST + 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_named_whole(tmp_path: Path) -> None:
    (tmp_path / "a" / "closed").mkdir(parents=True)
    (tmp_path / "a" / "closed").chmod(0)
    with pytest.raises(PermissionError) as caught:
        fingerprint.scan(str(tmp_path))
    assert caught.value.filename == str(tmp_path / "a" / "closed")


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint.scan(str(tmp_path / "absent"))


def test_nothing_is_imported_but_os_and_sys() -> None:
    program = "import os, sys; a = set(sys.modules); import packrunner.fingerprint; print(set(sys.modules) - a)"
    found = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, check=True, text=True, env={})
    assert set(eval(found.stdout)) <= {"packrunner", "packrunner.fingerprint", "errno", "__future__"}
