"""The host at work in trees that a buildpack filled (SBX group 1)."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner.confined import Entry, Root
from packrunner.errors import StoreError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AS_ROOT = os.geteuid() == 0


class Outside:
    """A sentinel beside the tree that nothing may touch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "keep").mkdir(parents=True)
        (path / "secret").write_text("secret")
        (path / "keep" / "file").write_text("kept")
        self._before = self._state()

    def _state(self) -> list[tuple[object, ...]]:
        state: list[tuple[object, ...]] = []
        for path in sorted((self.path, *self.path.rglob("*"))):
            found = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            state.append((path, found.st_mode, found.st_uid, found.st_mtime_ns, found.st_nlink, content))
        return state

    def assert_untouched(self) -> None:
        assert self._state() == self._before


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    found = Outside(tmp_path / "outside")
    yield found
    found.assert_untouched()


@pytest.fixture
def root(tree: Path, outside: Outside) -> Iterator[Root]:
    with Root.open(str(tree)) as opened:
        yield opened


def refused(action: Callable[..., object], *args: Any, **more: Any) -> UnsafeArchiveError:
    """The error of something that reaches out of the tree."""
    with pytest.raises(UnsafeArchiveError) as caught:
        action(*args, **more)
    assert caught.value.slug == "unsafe-tree"
    assert caught.value.exit_code == 15
    assert "secret" not in str(caught.value.cause)
    return caught.value


class TestRead:
    def test_a_file(self, root: Root, tree: Path) -> None:
        (tree / "launch.toml").write_bytes(b"x")
        assert root.read("launch.toml") == b"x"

    @pytest.mark.parametrize("rel", ["absent", "absent/deep"])
    def test_nothing(self, root: Root, rel: str) -> None:
        assert root.read(rel) is None

    @pytest.mark.fault("SBX-01")
    def test_a_link_to_a_secret(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "launch.toml").symlink_to(outside.path / "secret")
        assert "launch.toml" in refused(root.read, "launch.toml").brief

    @pytest.mark.fault("SBX-02")
    def test_a_link_above(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "env.build").symlink_to(outside.path)
        refused(root.read, "env.build/secret")
        refused(root.names, "env.build")
        refused(root.sub, "env.build")

    @pytest.mark.fault("SBX-02")
    def test_a_link_within_the_tree_is_no_exception(self, root: Root, tree: Path) -> None:
        (tree / "file").write_text("x")
        (tree / "link").symlink_to("file")
        refused(root.read, "link")

    @pytest.mark.fault("SBX-07")
    def test_a_fifo_does_not_block(self, root: Root, tree: Path) -> None:
        os.mkfifo(tree / "store.toml")
        began = time.monotonic()
        refused(root.read, "store.toml")
        assert time.monotonic() - began < 30

    @pytest.mark.fault("SBX-08")
    def test_a_directory_and_a_socket(self, root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import socket

        (tree / "d").mkdir()
        monkeypatch.chdir(tree)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
        refused(root.read, "d")
        refused(root.read, "s")

    def test_a_limit(self, root: Root, tree: Path) -> None:
        (tree / "f").write_bytes(b"12345")
        assert root.read("f", limit=5) == b"12345"
        assert "5 bytes" in str(refused(root.read, "f", limit=4).cause)

    def test_a_sparse_giant_is_refused_before_it_is_read(self, root: Root, tree: Path) -> None:
        with open(tree / "f", "wb") as file:
            file.truncate(1 << 40)
        refused(root.read, "f")

    @pytest.mark.fault("SBX-06")
    def test_a_file_that_grows_while_it_is_read(self, root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tree / "f").write_bytes(b"1")
        real = os.fstat

        def grow(fd: int) -> os.stat_result:
            found = real(fd)
            with open(tree / "f", "ab") as file:
                file.write(b"x" * 100)
            return found

        monkeypatch.setattr(os, "fstat", grow)
        assert "grew" in str(refused(root.read, "f", limit=50).cause)

    @pytest.mark.fault("SBX-17")
    @pytest.mark.parametrize(
        "rel", ["..", "../outside/secret", "a/../../outside/secret", "/etc/passwd", "a//b", "a/.", "a\0b"]
    )
    def test_a_path_that_is_not_plain(self, root: Root, rel: str) -> None:
        for action in (root.read, root.kind, root.names, root.remove, root.makedirs, root.sub):
            refused(action, rel)
        refused(root.write, rel, b"")
        refused(root.rename, rel, "x")
        refused(root.rename, "x", rel)

    @pytest.mark.fault("SBX-03")
    def test_the_root_itself_may_not_be_a_link(self, tmp_path: Path, outside: Outside) -> None:
        (tmp_path / "link").symlink_to(outside.path)
        refused(Root.open, str(tmp_path / "link"))

    def test_an_absent_root_is_an_error_of_the_disk(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as caught:
            Root.open(str(tmp_path / "absent"))
        assert caught.value.slug == "disk"


class TestNames:
    def test_kinds_in_byte_order(self, root: Root, tree: Path) -> None:
        (tree / "b").mkdir()
        (tree / "ä").write_text("")
        (tree / "a").symlink_to("nowhere")
        os.mkfifo(tree / "B")
        assert root.names() == [
            Entry(name="B", kind="other"),
            Entry(name="a", kind="link"),
            Entry(name="b", kind="dir"),
            Entry(name="ä", kind="file"),
        ]
        assert [root.kind(entry.name) for entry in root.names()] == ["other", "link", "dir", "file"]
        assert root.kind("absent") is None
        assert root.names("absent") == []

    def test_any_bytes_are_a_name(self, root: Root, tree: Path) -> None:
        name = os.fsdecode(b"\xff\n\x1b[2J")
        root.write(name, b"x")
        assert [entry.name for entry in root.names()] == [name]
        assert root.read(name) == b"x"
        root.remove(name)
        assert root.names() == []


class TestWrite:
    @pytest.mark.fault("SBX-04")
    def test_a_planted_link_is_replaced(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "layer.toml").symlink_to(outside.path / "secret")
        root.write("layer.toml", b"new")
        assert not (tree / "layer.toml").is_symlink()
        assert (tree / "layer.toml").read_bytes() == b"new"

    @pytest.mark.fault("SBX-04")
    def test_a_planted_hard_link_is_replaced(self, root: Root, tree: Path) -> None:
        (tree / "one").write_text("old")
        os.link(tree / "one", tree / "two")
        root.write("two", b"new")
        assert (tree / "one").read_text() == "old"

    @pytest.mark.fault("SBX-04")
    def test_a_link_above_is_refused(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "config").symlink_to(outside.path)
        refused(root.write, "config/metadata.toml", b"x")
        refused(root.makedirs, "config/new")

    def test_a_fifo_is_replaced_and_a_directory_is_not(self, root: Root, tree: Path) -> None:
        os.mkfifo(tree / "fifo")
        (tree / "dir").mkdir()
        root.write("fifo", b"x")
        assert root.read("fifo") == b"x"
        refused(root.write, "dir", b"x")
        assert [entry.name for entry in root.names()] == ["dir", "fifo"]

    def test_modes_have_no_set_id_bits_and_ignore_the_umask(self, root: Root, tree: Path) -> None:
        before = os.umask(0o077)
        try:
            root.write("f", b"", mode=0o4755)
            root.makedirs("a/b", mode=0o2775)
        finally:
            os.umask(before)
        assert (tree / "f").stat().st_mode & 0o7777 == 0o755
        assert (tree / "a").stat().st_mode & 0o7777 == 0o775
        assert (tree / "a" / "b").stat().st_mode & 0o7777 == 0o775

    def test_an_existing_directory_keeps_its_mode(self, root: Root, tree: Path) -> None:
        (tree / "a").mkdir(mode=0o700)
        root.makedirs("a/b")
        assert (tree / "a").stat().st_mode & 0o777 == 0o700

    def test_a_full_disk_leaves_the_old_file_and_nothing_else(
        self, root: Root, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "f").write_text("old")

        def full(fd: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError) as caught:
            root.write("f", b"new")
        assert caught.value.slug == "disk-full"
        monkeypatch.undo()
        assert [(entry.name, root.read(entry.name)) for entry in root.names()] == [("f", b"old")]

    @pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
    @pytest.mark.fault("STO-15")
    def test_a_refusal_names_the_owner(self, root: Root, tree: Path) -> None:
        (tree / "d").mkdir(mode=0o555)
        with pytest.raises(StoreError) as caught:
            root.write("d/f", b"")
        assert caught.value.slug == "disk"
        assert f"user {os.geteuid()}" in str(caught.value.cause)

    def test_rename(self, root: Root, tree: Path, outside: Outside) -> None:
        root.makedirs("a")
        root.write("a/f", b"x")
        root.rename("a", "b")
        assert root.read("b/f") == b"x"
        (tree / "link").symlink_to(outside.path)
        refused(root.rename, "b", "link/b")
        refused(root.rename, "link/keep", "c")

    def test_a_child_is_confined_to_itself(self, root: Root) -> None:
        root.makedirs("bp/layer")
        with root.sub("bp") as child:
            child.write("layer.toml", b"x")
            assert child.names() == [Entry(name="layer", kind="dir"), Entry(name="layer.toml", kind="file")]
            refused(child.read, "../bp/layer.toml")
            assert child.path.endswith("/tree/bp")


class TestRemove:
    def test_what_is_not_there(self, root: Root) -> None:
        root.remove("absent")
        root.remove("absent/deep")

    @pytest.mark.fault("SBX-09")
    def test_links_are_removed_and_their_targets_stay(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "layers").mkdir()
        (tree / "layers" / "l").symlink_to(outside.path)
        (tree / "layers" / "abs").symlink_to("/")
        (tree / "top").symlink_to(outside.path)
        root.remove("layers")
        root.remove("top")
        assert root.names() == []

    @pytest.mark.fault("SBX-09")
    def test_a_link_above_is_refused(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "l").symlink_to(outside.path)
        refused(root.remove, "l/keep")

    @pytest.mark.fault("ARC-41")
    @pytest.mark.parametrize("mode", [0o000, 0o500, 0o100])
    def test_directories_without_rights(self, root: Root, tree: Path, mode: int) -> None:
        deep = tree / "a" / "b" / "c"
        deep.mkdir(parents=True)
        (deep / "f").write_text("")
        for path in (deep, deep.parent, deep.parent.parent):
            path.chmod(mode)
        root.remove("a")
        assert root.names() == []

    def test_a_name_in_a_directory_without_rights_which_keeps_its_mode(self, root: Root, tree: Path) -> None:
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a").chmod(0o500)
        root.remove("a/b")
        assert (tree / "a").stat().st_mode & 0o777 == 0o500
        (tree / "a").chmod(0o700)

    @pytest.mark.fault("ARC-32")
    def test_a_tree_deeper_than_any_path(self, root: Root, tree: Path) -> None:
        here = os.open(tree, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("deep", dir_fd=here)
            below = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        root.remove("deep")
        assert root.names() == []

    def test_the_root_itself_is_not_removed(self, root: Root, tree: Path) -> None:
        refused(root.remove, "")
        assert tree.is_dir()

    @settings(max_examples=30, deadline=None, database=None)
    @given(st.lists(st.tuples(st.sampled_from(["dir", "file", "link", "fifo"]), st.integers(0, 5)), max_size=12))
    def test_any_tree(self, tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, int]]) -> None:
        top = tmp_path_factory.mktemp("any")
        directories = [top / "t"]
        directories[0].mkdir()
        for number, (kind, where) in enumerate(entries):
            path = directories[where % len(directories)] / str(number)
            if kind == "dir":
                path.mkdir()
                directories.append(path)
            elif kind == "file":
                path.write_text("")
            elif kind == "link":
                path.symlink_to("/")
            else:
                os.mkfifo(path)
        for directory in reversed(directories):
            directory.chmod(0o000)
        with Root.open(str(top)) as opened:
            opened.remove("t")
            assert opened.names() == []


class TestOwners:
    @pytest.mark.fault("SBX-11")
    def test_a_foreign_hard_link_is_refused_before_anything_changes(
        self, root: Root, tree: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").write_text("")
        (tree / "t").mkdir()
        (tree / "t" / "a").write_text("")
        os.link(tmp_path / "elsewhere", tree / "t" / "z")
        before = (tree / "t" / "a").stat().st_ctime_ns
        assert "z" in refused(root.chown_tree, "t", os.getuid(), os.getgid()).brief
        assert (tree / "t" / "a").stat().st_ctime_ns == before

    @pytest.mark.fault("SBX-11")
    def test_links_within_the_tree_and_every_kind_of_entry(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "t" / "d").mkdir(parents=True)
        (tree / "t" / "one").write_text("")
        os.link(tree / "t" / "one", tree / "t" / "d" / "two")
        (tree / "t" / "link").symlink_to(outside.path / "secret")
        os.mkfifo(tree / "t" / "fifo")
        (tree / "t" / "d").chmod(0o500)
        owner = (12345, 12346) if AS_ROOT else (os.getuid(), os.getgid())
        root.chown_tree("t", *owner)
        for path in (tree / "t", *(tree / "t").rglob("*")):
            found = path.lstat()
            assert (found.st_uid, found.st_gid) == owner
        (tree / "t" / "d").chmod(0o700)

    @pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
    def test_new_files_and_directories_have_an_owner(self, root: Root, tree: Path) -> None:
        root.makedirs("a/b", owner=(1000, 1001))
        root.write("a/b/f", b"", owner=(1000, 1001))
        for path in (tree / "a", tree / "a" / "b", tree / "a" / "b" / "f"):
            assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1001)


@contextmanager
def swapping(real: Path, link: Path) -> Iterator[None]:
    """Another process that exchanges the two as fast as it can."""
    code = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "sys.stdout.write('.'); sys.stdout.flush()\n"
        "a, b = (path.encode() for path in sys.argv[1:])\n"
        "while True: libc.renameat2(-100, a, -100, b, 2)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(real), str(link)], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            assert child.stdout.read(1) == b"."
            yield
        finally:
            child.kill()


def exchange(one: Path, other: Path) -> None:
    """Swap two names at once."""
    result = ctypes.CDLL(None, use_errno=True).renameat2(-100, bytes(one), -100, bytes(other), 2)
    assert result == 0, os.strerror(ctypes.get_errno())


class TestRaces:
    """Every effect stays in the tree; an operation may fail, but only with its own error."""

    @pytest.mark.fault("SBX-05")
    @pytest.mark.fault("ARC-39")
    def test_a_directory_that_is_a_link_at_times(self, root: Root, tree: Path, outside: Outside) -> None:
        (tree / "d").mkdir()
        (tree / "d" / "secret").write_text("mine")
        (tree / "l").symlink_to(outside.path)
        seen = {b"mine": 0, None: 0}
        with swapping(tree / "d", tree / "l"):
            for number in range(400):
                with suppress(UnsafeArchiveError):
                    seen[root.read("d/secret")] += 1
                with suppress(UnsafeArchiveError):
                    root.write(f"d/{number}", b"x")
                with suppress(UnsafeArchiveError):
                    root.makedirs(f"d/dir-{number}", mode=0o700)
                with suppress(UnsafeArchiveError):
                    root.remove(f"d/{number}")
                with suppress(UnsafeArchiveError):
                    root.names("d")
        assert seen[b"mine"] > 0

    @pytest.mark.fault("SBX-09")
    def test_removing_while_directories_and_links_change_places(self, root: Root, tree: Path, outside: Outside) -> None:
        for number in range(60):
            top = tree / "t"
            for name in ("a", "b"):
                (top / name / "keep").mkdir(parents=True)
                (top / name / "keep" / "file").write_text("")
                (top / name / "secret").write_text("")
            (top / "l").symlink_to(outside.path)
            with swapping(top / "a", top / "l"):
                time.sleep(0.001 * (number % 7))
                for _ in range(50):
                    with suppress(UnsafeArchiveError):
                        root.remove("t")
                    if root.kind("t") is None:
                        break
            for entry in root.names():
                root.remove(entry.name)
            outside.assert_untouched()

    @pytest.mark.fault("SBX-05")
    def test_a_swap_between_looking_and_opening(
        self, root: Root, tree: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "f").write_text("mine")
        (tree / "l").symlink_to(outside.path / "secret")
        assert root.kind("f") == "file"
        exchange(tree / "f", tree / "l")
        refused(root.read, "f")

    @pytest.mark.fault("SBX-09")
    def test_a_swap_in_the_middle_of_removing(
        self, root: Root, tree: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "t" / "sub").mkdir(parents=True)
        (tree / "l").symlink_to(outside.path)
        real = os.mkdir

        def swap(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            # The moment after remove has seen a directory, and before it opens it.
            real(path, mode, dir_fd=dir_fd)
            exchange(tree / "t", tree / "l")

        monkeypatch.setattr(os, "mkdir", swap)
        root.remove("t")
        monkeypatch.undo()
        assert (tree / "l" / "sub").is_dir()
        assert root.kind("t") is None

    @pytest.mark.fault("SBX-11")
    @pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
    def test_a_link_that_appears_while_owners_change(
        self, root: Root, tree: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "t").mkdir()
        (tree / "t" / "f").write_text("")
        (tree / "l").symlink_to(outside.path / "secret")
        real = os.lstat

        def swap(path: str, *, dir_fd: int | None = None) -> os.stat_result:
            found = real(path, dir_fd=dir_fd)
            if path == "f" and stat.S_ISREG(found.st_mode):
                exchange(tree / "t" / "f", tree / "l")
            return found

        monkeypatch.setattr(os, "lstat", swap)
        root.chown_tree("t", 12345, 12345)
        monkeypatch.undo()
        assert (tree / "t" / "f").lstat().st_uid == 12345


@pytest.mark.fault("SBX-01")
def test_a_link_is_read_and_never_followed(tree: Path, outside: Outside) -> None:
    (tree / "file").write_text("x")
    (tree / "to").symlink_to(outside.path / "secret")
    (tree / "dir").symlink_to(outside.path)
    with Root.open(str(tree)) as root:
        assert root.link("to") == str(outside.path / "secret")
        assert root.link("file") is None
        assert root.link("gone") is None
        with pytest.raises(UnsafeArchiveError):
            root.link("dir/secret")


@pytest.mark.fault("SBX-01")
def test_marks_of_directories_are_read_where_they_are(tree: Path, outside: Outside) -> None:
    (tree / "marked").mkdir()
    (tree / "plain").mkdir()
    (tree / "link").symlink_to(outside.path)
    try:
        os.setxattr(tree / "marked", "user.overlay.opaque", b"y")
    except OSError as error:
        pytest.skip(f"this file system keeps no attributes: {error}")
    with Root.open(str(tree)) as root:
        assert root.has_mark("marked", "user.overlay.opaque", b"y")
        assert not root.has_mark("marked", "user.overlay.opaque", b"n")
        assert not root.has_mark("plain", "user.overlay.opaque", b"y")
        with pytest.raises(UnsafeArchiveError):
            root.has_mark("link", "user.overlay.opaque", b"y")


@pytest.mark.fault("SBX-04")
def test_links_are_made_where_they_belong_and_nowhere_else(tree: Path, outside: Outside) -> None:
    (tree / "here").mkdir()
    (tree / "away").symlink_to(outside.path)
    with Root.open(str(tree)) as root:
        root.symlinks("here", {"a": "/one", "b": "../two"})
        with pytest.raises(UnsafeArchiveError):
            root.symlinks("away", {"a": "/one"})
        with pytest.raises(UnsafeArchiveError):
            root.symlinks("here", {"../away/a": "/one"})
        with pytest.raises(UnsafeArchiveError):
            root.symlinks("here", {"a/b": "/one"})
        with pytest.raises(StoreError):
            root.symlinks("here", {"a": "/other"})
    assert {path.name: os.readlink(path) for path in (tree / "here").iterdir()} == {"a": "/one", "b": "../two"}
