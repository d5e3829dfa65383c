"""Packages into a tree: descriptor by descriptor, through no link, over no existing file.

A parent must be a real directory and a name must be free, so the order of packages does not matter and two of them
can be unpacked at once (decompressing is nearly all the work, and lets other threads run). Modes are those of the
archive without the set-id bits; modes and times of directories come last, when nothing is added any more.
"""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases.deb import open_deb
from packrunner.bases.members import members
from packrunner.disk import disk_error, write_all
from packrunner.errors import CorruptError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from packrunner.bases.deb import Content
    from packrunner.bases.members import Member

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o1777
# In suites before trixie packages still have files here; the directories themselves are links to those in usr.
_MERGED = frozenset({b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"})
_DROPPED = tuple(b"usr/share/%s/" % name for name in (b"man", b"info", b"locale", b"lintian", b"doc-base"))
_DOC = b"usr/share/doc/"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A .deb to unpack; `size` in bytes orders the work."""

    name: str
    path: str
    size: int


class Installed(msgspec.Struct, kw_only=True):
    """What one package put into the tree; names are relative to it. `listing` has them as the package does."""

    name: str
    control: dict[str, bytes] = msgspec.field(default_factory=dict)
    listing: list[bytes] = msgspec.field(default_factory=list)
    directories: dict[bytes, tuple[int, int]] = msgspec.field(default_factory=dict)
    owners: dict[bytes, tuple[int, int]] = msgspec.field(default_factory=dict)
    newest: int = 0


def unpack(sources: Sequence[Source], tree: str, *, done: Callable[[int], None], threads: int = 2) -> list[Installed]:
    """Unpack all into the directory `tree`; the results are ordered by name, `done(bytes)` is told of each package.

    Raises CorruptError (`deb`, `deb-conflict`), UnsafeArchiveError (`unsafe-archive`) and StoreError.
    """
    stop = threading.Event()

    def one(source: Source) -> Installed:
        installed = _unpack(source, tree, stop)
        done(source.size)
        return installed

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="unpack") as pool:
        futures = [pool.submit(one, source) for source in sorted(sources, key=lambda s: (-s.size, s.name))]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(results, key=lambda installed: installed.name)


def finish(tree: str, installed: Sequence[Installed], *, newest: int) -> None:
    """Give every directory its mode and time; those of no package get 0755 and `newest` (seconds)."""
    known = {name: value for one in installed for name, value in one.directories.items()}
    for path, _, _, fd in os.fwalk(os.fsencode(tree), topdown=False):
        relative = os.path.relpath(path, os.fsencode(tree))
        mode, mtime = known.get(b"" if relative == b"." else relative, (0o755, newest))
        os.fchmod(fd, mode & _MODE)
        os.utime(fd, (mtime, mtime))


def place_of(name: bytes, *, is_link_or_file: bool) -> bytes | None:
    """Where an entry goes; None where it is left out: documentation but for copyright files, and translations."""
    first, _, rest = name.partition(b"/")
    if first in _MERGED and (rest or not is_link_or_file):
        name = b"usr/" + name
    if name.startswith(_DROPPED):
        return None
    if name.startswith(_DOC):
        package, _, inner = name[len(_DOC) :].partition(b"/")
        if package and inner not in {b"", b"copyright"}:
            return None
    return name


def _unpack(source: Source, tree: str, stop: threading.Event) -> Installed:
    try:
        with open_deb(source.path, source.name) as deb, _Writer(tree, source.name) as writer:
            writer.installed.control = deb.control()
            content = deb.data()
            for member in members(content):
                if stop.is_set():
                    content.refuse("another one failed")
                writer.place(member, content)
            return writer.installed
    except OSError as error:
        raise disk_error(error, tree) from error


class _Writer:
    """Places one package's entries; holds the descriptors of the directory it is in, and of those above."""

    def __init__(self, tree: str, package: str) -> None:
        self.installed = Installed(name=package)
        self._package = package
        self._fds = [os.open(tree, _DIRECTORY)]
        self._parts: list[bytes] = []
        self._files: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._fds:
            os.close(fd)

    def place(self, member: Member, content: Content) -> None:
        name = place_of(member.name, is_link_or_file=member.kind != "dir")
        if name is None:
            return
        self._note(member, name)
        if member.kind == "dir":
            self._enter(name.split(b"/") if name else [])
            return
        parent, _, leaf = name.rpartition(b"/")
        directory = self._enter(parent.split(b"/") if parent else [])
        try:
            if member.kind == "file":
                self._file(directory, leaf, member, content)
                self._files.add(name)
            elif member.kind == "link":
                os.symlink(member.target, leaf, dir_fd=directory)
                os.utime(leaf, (member.mtime, member.mtime), dir_fd=directory, follow_symlinks=False)
            else:
                self._hard_link(directory, leaf, member)
        except FileExistsError as error:
            raise CorruptError(
                f"the package {self._package} holds {os.fsdecode(name)!r}, which is there already",
                slug="deb-conflict",
                cause="another package holds it too, or this one twice",
            ) from error

    def _note(self, member: Member, name: bytes) -> None:
        record = self.installed
        record.listing.append(b"/" + (member.name or b"."))
        record.newest = max(record.newest, member.mtime)
        if member.kind == "dir":
            record.directories[name] = (member.mode, member.mtime)
        if member.uid or member.gid:
            record.owners[name] = (member.uid, member.gid)

    @staticmethod
    def _file(directory: int, leaf: bytes, member: Member, content: Content) -> None:
        fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            for piece in content.copy(member.size):
                write_all(fd, piece)
            os.fchmod(fd, member.mode & 0o777)
            os.utime(fd, (member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _hard_link(self, directory: int, leaf: bytes, member: Member) -> None:
        """To a regular file that this package brought before, and to nothing else (ARC-07 to ARC-09)."""
        target = place_of(member.target, is_link_or_file=True)
        if target not in self._files or target is None:
            raise UnsafeArchiveError(
                f"the package {self._package} links {os.fsdecode(member.name)!r} to a file that it does not hold",
                slug="unsafe-archive",
                cause=f"the target is {os.fsdecode(member.target)!r}",
            )
        here = os.dup(directory)  # entering the target's directory closes the one we are in
        try:
            parent, _, name = target.rpartition(b"/")
            there = self._enter(parent.split(b"/") if parent else [])
            os.link(name, leaf, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        finally:
            os.close(here)

    def _enter(self, parts: list[bytes]) -> int:
        """The descriptor of a directory, made where it is missing; no component may be a link (ARC-03, -04, -39)."""
        same = 0
        while same < min(len(parts), len(self._parts)) and parts[same] == self._parts[same]:
            same += 1
        while len(self._parts) > same:
            self._parts.pop()
            os.close(self._fds.pop())
        for part in parts[same:]:
            self._fds.append(self._open(self._fds[-1], part))
            self._parts.append(part)
        return self._fds[-1]

    def _open(self, parent: int, name: bytes) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            with suppress(FileExistsError):  # the other thread was faster
                os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            raise UnsafeArchiveError(
                f"the package {self._package} puts files below {os.fsdecode(name)!r}, which is no directory",
                slug="unsafe-archive",
            ) from error
