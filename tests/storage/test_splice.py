"""The second version of a layer: what is kept, what is read again, and that the bytes are those of a full write."""

from __future__ import annotations

import os
import random
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from packrunner import fingerprint
from packrunner.errors import ExportError
from packrunner.images.layer import Dir, File, Link, Tree, WrittenLayer, write_layer
from packrunner.images.merge import Walk
from packrunner.images.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from packrunner.images.layer import Part
    from packrunner.names import Digest


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for folder in ("a", "a/b", "c", "empty"):
        (root / folder).mkdir(parents=True)
    for name, size in (("a/1", 10), ("a/2", 512), ("a/b/x", 70_000), ("a/b/y", 0), ("c/big", 3_000_000), ("z", 100)):
        (root / name).write_bytes(bytes([len(name)]) * size)
    (root / "c" / "link").symlink_to("../z")
    (root / "line\nfeed").write_text("x")
    settle()
    return root


def settle() -> None:
    """Let what was written become older than a clock tick."""
    time.sleep(0.04)


scanned = False


@pytest.fixture(params=[False, True], ids=["walked", "scanned"], autouse=True)
def _scanned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds whether or not the tree comes with its fingerprint."""
    monkeypatch.setattr(f"{__name__}.scanned", request.param)


def parts_of(source: Path, **more: object) -> list[Part]:
    if scanned:
        more["table"] = fingerprint.scan(str(source))
    tree = Tree(source=str(source), target="/workspace", uid=1000, gid=1000, **more)  # type: ignore[arg-type]
    return [Dir(target="/layers"), File(target="/layers/f", data=b"data"), tree, Link(target="/zz", to="workspace")]


def write(store: LocalStore, parts: Sequence[Part], previous: Digest | None = None) -> WrittenLayer:
    return write_layer(store, parts, created_by="test", previous=previous)


def full(tmp_path: Path, parts: Sequence[Part]) -> Digest:
    """The digest of a write that knows of no previous one."""
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    return write(LocalStore(str(tmp_path / "other")), parts).layer.diff_id


def no_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on, note the names of files that are opened below a directory descriptor."""
    opened: list[str] = []
    real = os.open

    def noting(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None and not flags & os.O_DIRECTORY:
            opened.append(os.fspath(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", noting)
    return opened


def test_nothing_changed_reads_and_writes_nothing(
    store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store, parts_of(source))
    blobs = os.listdir(store.root + "/blobs/sha256")
    opened = no_reading(monkeypatch)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert (second.unchanged, second.spliced, second.changed) == (True, False, 0)
    assert second.layer == first.layer
    assert second.tables == first.tables == {str(source): fingerprint.scan(str(source))}
    assert opened == []
    assert os.listdir(store.root + "/blobs/sha256") == blobs


def test_only_the_changed_file_is_opened(
    store: LocalStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store, parts_of(source))
    (source / "a" / "2").write_bytes(b"new" * 400)
    opened = no_reading(monkeypatch)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert opened == ["2"]
    assert (second.unchanged, second.spliced, second.changed) == (False, True, 1)
    assert second.layer.diff_id == full(tmp_path, parts_of(source)) != first.layer.diff_id


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def into_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


EDITS: dict[str, Callable[[Path], object]] = {
    "first file removed": lambda root: (root / "a" / "1").unlink(),
    "last file removed": lambda root: (root / "z").unlink(),
    "added before all": lambda root: (root / "A").write_text("A"),
    "added after all": lambda root: (root / "zzz").write_text("Z"),
    "directory removed": lambda root: shutil.rmtree(root / "a" / "b"),
    "directory added": lambda root: (root / "b").mkdir(),
    "mode of a file": lambda root: (root / "a" / "1").chmod(0o755),
    "mode of a directory": lambda root: (root / "c").chmod(0o700),
    "mode of the root": lambda root: root.chmod(0o711),
    "link elsewhere": lambda root: relink(root / "c" / "link", "/"),
    "file becomes a directory": lambda root: into_directory(root / "z"),
    "large file": lambda root: (root / "c" / "big").write_bytes(b"!" * 2_999_999),
    "renamed": lambda root: (root / "a" / "2").rename(root / "c" / "2"),
    "touched": lambda root: os.utime(root / "a" / "2"),
    "everything": lambda root: [
        p.write_bytes(p.read_bytes() + b"+") for p in root.rglob("*") if p.is_file() and not p.is_symlink()
    ],
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_spliced_layer_has_the_bytes_of_a_full_write(
    store: LocalStore, source: Path, tmp_path: Path, edit: str
) -> None:
    first = write(store, parts_of(source))
    EDITS[edit](source)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert second.layer.diff_id == full(tmp_path, parts_of(source))
    assert second.tables[str(source)] == fingerprint.scan(str(source))
    settle()
    third = write(store, parts_of(source), second.layer.diff_id)
    assert third.layer == second.layer
    if edit != "touched":
        assert not second.unchanged


def test_many_random_edits_in_a_row(store: LocalStore, source: Path, tmp_path: Path) -> None:
    chance = random.Random(4711)
    layer = write(store, parts_of(source)).layer
    for _ in range(12):
        for _ in range(chance.randrange(1, 4)):
            path = source / chance.choice("abc") / chance.choice(["1", "2", "m", "n"])
            path.parent.mkdir(exist_ok=True)
            if path.exists() and chance.random() < 0.4:
                path.unlink()
            else:
                path.write_bytes(chance.randbytes(chance.choice([0, 3, 512, 66_000])))
        layer = write(store, parts_of(source), layer.diff_id).layer
        assert layer.diff_id == full(tmp_path, parts_of(source))


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": 7},
        {"owners": {"a/1": (5, 6)}},
        {"target": "/elsewhere"},
        {"exclude": frozenset({"a"})},
        {"only": frozenset({"a/b"})},
        {"skip": frozenset({"z"})},
    ],
)
def test_other_settings_give_other_bytes(
    store: LocalStore, source: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    first = write(store, parts_of(source))
    tree = {"source": str(source), "target": "/workspace", "uid": 1000, "gid": 1000, **changed}
    parts = [Tree(**tree)]  # type: ignore[arg-type]
    second = write(store, parts, first.layer.diff_id)
    assert second.layer.diff_id == full(tmp_path, parts) != first.layer.diff_id


def test_single_entries_are_compared_too(store: LocalStore, source: Path, tmp_path: Path) -> None:
    parts: list[Part] = [
        Dir(target="/d"),
        File(target="/d/f", data=b"1"),
        File(target="/s", source=str(source / "z")),
        Link(target="/l", to="d"),
    ]
    first = write(store, parts)
    assert write(store, parts, first.layer.diff_id).unchanged
    others: list[Part] = [
        Dir(target="/d", mode=0o700),
        File(target="/d/f", data=b"2"),
        File(target="/s", source=str(source / "a" / "1")),
        Link(target="/l", to="e"),
    ]
    for i, other in enumerate(others):
        second = write(store, [*parts[:i], other, *parts[i + 1 :]], first.layer.diff_id)
        assert (second.unchanged, second.changed) == (False, 1)
        assert second.layer.diff_id == full(tmp_path, [*parts[:i], other, *parts[i + 1 :]])
    assert not write(store, parts[:-1], first.layer.diff_id).unchanged
    assert write(store, parts[::-1], first.layer.diff_id).layer.diff_id == full(tmp_path, parts[::-1])


def test_entries_as_new_as_the_record_count_as_changed(
    store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = os.stat(source / "z").st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: new)
    first = write(store, parts_of(source))
    monkeypatch.undo()
    opened = no_reading(monkeypatch)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert second.layer == first.layer  # the bytes were the same after all
    assert "z" in opened
    assert not second.unchanged


@pytest.mark.fault("STO-13")
@pytest.mark.parametrize("at", [0, 600, 100_000, -1])
def test_a_damaged_tar_is_never_spliced(store: LocalStore, source: Path, tmp_path: Path, at: int) -> None:
    first = write(store, parts_of(source))
    flip(store.blob_path(first.layer.diff_id), at)
    (source / "a" / "1").write_text("new")
    second = write(store, parts_of(source), first.layer.diff_id)
    assert second.layer.diff_id == full(tmp_path, parts_of(source))
    assert not second.spliced
    assert not store.has(first.layer.diff_id)
    with store.open(second.layer.diff_id) as stream:
        stream.read()


@pytest.mark.fault("STO-13")
@pytest.mark.parametrize("at", [0, 20, 300, -1])
def test_a_damaged_table_costs_a_full_write(store: LocalStore, source: Path, tmp_path: Path, at: int) -> None:
    first = write(store, parts_of(source))
    flip(os.path.join(store.root, "tables", first.layer.diff_id.hex), at)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert second.layer == first.layer
    assert not second.spliced
    assert not second.unchanged
    assert write(store, parts_of(source), second.layer.diff_id).unchanged


@pytest.mark.fault("STO-14")
@pytest.mark.parametrize("size", [0, 100])
def test_a_short_tar_counts_as_absent(store: LocalStore, source: Path, size: int) -> None:
    first = write(store, parts_of(source))
    os.truncate(store.blob_path(first.layer.diff_id), size)
    second = write(store, parts_of(source), first.layer.diff_id)
    assert second.layer == first.layer
    assert not second.unchanged
    assert store.has(first.layer.diff_id, first.layer.blob.size)


def test_a_previous_layer_that_is_gone(store: LocalStore, source: Path) -> None:
    first = write(store, parts_of(source))
    os.unlink(store.blob_path(first.layer.diff_id))
    assert write(store, parts_of(source), first.layer.diff_id).layer == first.layer


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        data[at] ^= 1
        file.seek(0)
        file.write(data)


def test_a_tree_that_comes_with_its_fingerprint_is_not_walked(
    store: LocalStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store, parts_of(source))
    (source / "a" / "2").write_bytes(b"new")
    parts = parts_of(source)
    walked: list[object] = []
    monkeypatch.setattr("packrunner.images.layer.Walk", walked.append if scanned else Walk)
    second = write(store, parts, first.layer.diff_id)
    monkeypatch.undo()
    assert second.spliced
    assert second.layer.diff_id == full(tmp_path, parts)


@pytest.mark.parametrize("late", ["a/1", "a/2", ".wh.z"])
def test_what_changes_after_the_fingerprint_is_seen_or_left_for_the_next_time(
    store: LocalStore, source: Path, tmp_path: Path, late: str
) -> None:
    """A changed file that is changed again is read as it is now; an unchanged one stays what the fingerprint said."""
    before = full(tmp_path, parts_of(source))
    first = write(store, parts_of(source))
    (source / "a" / "2").write_bytes(b"new")
    parts = parts_of(source)
    settle()
    (source / late).write_bytes(b"later")
    if late == ".wh.z" and not scanned:
        with pytest.raises(ExportError, match="cannot be put into a layer"):
            write(store, parts, first.layer.diff_id)
        return
    second = write(store, parts, first.layer.diff_id)
    settle()
    third = write(store, parts, second.layer.diff_id) if late == "a/2" else second
    assert before != second.layer.diff_id
    if late == "a/2":
        assert second.layer.diff_id == third.layer.diff_id == full(tmp_path, parts)
