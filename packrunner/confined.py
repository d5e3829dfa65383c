"""Reading, writing and deleting in trees that a sandbox wrote, with the user's own rights (SBX group 1).

Everything here starts at the descriptor of the tree's root and takes one path component at a time, never
through a link. What is read must be a regular file of bounded size; what is written is a new file, renamed into
place. So nothing that a buildpack leaves behind, or does at the same moment, can turn a path of ours into
a path outside of its tree.

Relative paths are plain: components divided by `/`, none of them empty, `.` or `..`; "" is the root itself.
Names are str by os.fsdecode, so any bytes survive.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from packrunner.directories import LIST, STEP, Entry, Kind, enter, entries, remove, unlink, writable
from packrunner.disk import FileLock, disk_error, temporary, write_all, write_atomic
from packrunner.errors import StoreError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

__all__ = ["Entry", "FileLock", "Kind", "Root", "write_atomic"]

# O_NONBLOCK: a FIFO must not make us wait for its writer (SBX-07).
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRONG_KIND = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENOTEMPTY, errno.ENODEV})


class Root:
    """A tree that others wrote, held by a descriptor; a context manager.

    Raises UnsafeArchiveError (slug `unsafe-tree`) for links, files that are not regular and sizes over the limit,
    StoreError (`disk`, `disk-full`) for what the operating system refuses.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def open(cls, path: str) -> Self:
        """Hold the directory at `path`. Its last component may not be a link; the ones before it are trusted."""
        try:
            return cls(path, os.open(path, LIST))
        except OSError as error:
            raise _error(error, path) from error

    def close(self) -> None:
        """Let go of the tree; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sub(self, rel: str) -> Root:
        """The tree at `rel`, confined to itself."""
        with self._guard(rel), self._directory(_split(rel)) as fd:
            return Root(self._shown(rel), os.open(".", LIST, dir_fd=fd))

    def kind(self, rel: str) -> Kind | None:
        """What is at `rel`; None when nothing is."""
        with self._guard(rel):
            try:
                with self._parent(rel) as (parent, name):
                    return _kind(os.lstat(name, dir_fd=parent).st_mode)
            except FileNotFoundError:
                return None

    def names(self, rel: str = "") -> list[Entry]:
        """What is in the directory, in byte order; nothing when it does not exist."""
        with self._guard(rel):
            try:
                with self._directory(_split(rel)) as fd:
                    found = entries(fd)
            except FileNotFoundError:
                return []
        return sorted(found, key=lambda entry: os.fsencode(entry.name))

    def read(self, rel: str, *, limit: int = 4 << 20) -> bytes | None:
        """The content of a regular file of at most `limit` bytes; None when it does not exist (SBX-01, SBX-05)."""
        with self._guard(rel):
            try:
                with self._parent(rel) as (parent, name):
                    fd = os.open(name, _READ, dir_fd=parent)
            except FileNotFoundError:
                return None
            try:
                return self._content(fd, rel, limit)
            finally:
                os.close(fd)

    def link(self, rel: str) -> str | None:
        """Where a link leads, as it says; None for anything else, and for nothing."""
        with self._guard(rel):
            try:
                with self._parent(rel) as (parent, name):
                    return os.readlink(name, dir_fd=parent)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.ENOENT}:
                    raise
                return None

    def has_mark(self, rel: str, attribute: str, value: bytes) -> bool:
        """Whether the directory at `rel` has the extended attribute with this value."""
        with self._guard(rel), self._directory(_split(rel)) as fd:
            try:
                return os.getxattr(f"/proc/self/fd/{fd}", attribute) == value
            except OSError as error:
                if error.errno not in {errno.ENODATA, errno.ENOTSUP}:
                    raise
                return False

    def copy(self, rel: str, write: Callable[[bytes], object], *, limit: int) -> bool:
        """Pass on the content of a regular file of at most `limit` bytes in pieces; false when it does not exist."""
        with self._guard(rel):
            try:
                with self._parent(rel) as (parent, name):
                    fd = os.open(name, _READ, dir_fd=parent)
            except FileNotFoundError:
                return False
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise self._unsafe(rel, "not a regular file")
                if found.st_size > limit:
                    raise self._unsafe(rel, f"{found.st_size} bytes, more than the {limit} that it may have")
                left = found.st_size
                while left and (part := os.read(fd, min(left, 1 << 20))):
                    write(part)
                    left -= len(part)
                return True
            finally:
                os.close(fd)

    def write(self, rel: str, data: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
        """Put a new file at `rel`; whatever file or link had the name is replaced, never written to (SBX-04)."""
        with self._guard(rel), self._parent(rel) as (parent, name):
            beside = temporary(name)
            fd = os.open(beside, _CREATE, 0o600, dir_fd=parent)
            try:
                try:
                    if owner:
                        os.fchown(fd, *owner)
                    os.fchmod(fd, mode & 0o777)
                    write_all(fd, data)
                finally:
                    os.close(fd)
                os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                unlink(parent, beside)
                raise

    def makedirs(self, rel: str, *, mode: int = 0o755, owner: tuple[int, int] | None = None) -> None:
        """Make the directory and those above it; `mode` and `owner` are given to new ones only."""
        with self._guard(rel):
            here = os.dup(self._fd)
            try:
                for name in _split(rel):
                    there = enter(here, name, mode, owner)
                    os.close(here)
                    here = there
            finally:
                os.close(here)

    def rename(self, rel: str, new: str) -> None:
        """Move within the tree; an existing file or empty directory at `new` is replaced."""
        with self._guard(rel), self._parent(rel) as (source, name), self._parent(new) as (target, new_name):
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, rel: str) -> None:
        """Remove a file, a link or a whole tree; absent is fine. The name is gone at once (SBX-09)."""
        with self._guard(rel):
            try:
                with self._parent(rel) as (parent, name), writable(parent):
                    remove(parent, name)
            except FileNotFoundError:
                return

    def node(self, rel: str, kind: int, *, owner: tuple[int, int] | None = None) -> None:
        """Make a FIFO, a socket or, with S_IFCHR, the overlay file system's mark of a removed name, for a file."""
        with self._guard(rel), self._parent(rel) as (parent, name), writable(parent):
            with suppress(FileNotFoundError):
                remove(parent, name)
            os.mknod(name, kind | 0o644, os.makedev(0, 0), dir_fd=parent)
            if owner:
                os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)

    def symlinks(self, rel: str, targets: Mapping[str, str]) -> None:
        """Make links in the directory `rel`, by their names, where nothing may be yet."""
        with self._guard(rel), self._directory(_split(rel)) as directory:
            for name, target in targets.items():
                if len(_split(name)) != 1:
                    raise self._unsafe(rel, f"{name!r} is not a name")
                os.symlink(target, name, dir_fd=directory)

    def chown_tree(self, rel: str, uid: int, gid: int) -> None:
        """Give `rel` and all below it to uid:gid; links themselves, never their targets.

        A regular file with a hard link from outside of the tree is refused before anything is changed (SBX-11).
        """
        with self._guard(rel):
            shared = self._inner_links(rel)
            for directory, name in self._walk(rel):
                self._chown(directory, name, (uid, gid), shared)
            with self._directory(_split(rel)) as fd:
                os.chown(f"/proc/self/fd/{fd}", uid, gid)

    def _inner_links(self, rel: str) -> set[tuple[int, int]]:
        """Inodes with several links, all of them inside."""
        seen: dict[tuple[int, int], int] = {}
        links: dict[tuple[int, int], tuple[int, str]] = {}
        for directory, name in self._walk(rel):
            found = os.lstat(name, dir_fd=directory)
            if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
                inode = (found.st_dev, found.st_ino)
                seen[inode] = seen.get(inode, 0) + 1
                links[inode] = (found.st_nlink, name)
        for inode, (count, name) in links.items():
            if seen[inode] != count:
                raise self._foreign(rel, name)
        return set(links)

    def _chown(self, directory: int, name: str, owner: tuple[int, int], shared: set[tuple[int, int]]) -> None:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            found = os.fstat(fd)
            if stat.S_ISLNK(found.st_mode):
                os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
                return
            if stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and (found.st_dev, found.st_ino) not in shared:
                raise self._foreign("", name)
            os.chown(f"/proc/self/fd/{fd}", *owner)
        finally:
            os.close(fd)

    def _foreign(self, rel: str, name: str) -> UnsafeArchiveError:
        return UnsafeArchiveError(
            f"{self._shown(rel)} holds a file that is also linked from elsewhere: {name}",
            slug="unsafe-tree",
            cause="changing its owner would change a file outside of the tree",
            at=self._shown(rel),
        )

    def _walk(self, rel: str) -> Iterator[tuple[int, str]]:
        """Every entry below `rel` as (directory descriptor, name); a few descriptors whatever the depth."""
        pending = [_split(rel)]
        while pending:
            parts = pending.pop()
            with self._directory(parts) as fd:
                for entry in entries(fd):
                    yield fd, entry.name
                    if entry.kind == "dir":
                        pending.append([*parts, entry.name])

    def _content(self, fd: int, rel: str, limit: int) -> bytes:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise self._unsafe(rel, "not a regular file")
        if found.st_size > limit:
            raise self._unsafe(rel, f"{found.st_size} bytes, more than the {limit} that such a file may have")
        parts: list[bytes] = []
        left = limit + 1
        while left and (part := os.read(fd, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        if not left:
            raise self._unsafe(rel, f"grew beyond {limit} bytes while it was read")
        return b"".join(parts)

    @contextmanager
    def _directory(self, parts: list[str]) -> Iterator[int]:
        here = os.dup(self._fd)
        try:
            for name in parts:
                there = os.open(name, STEP, dir_fd=here)
                os.close(here)
                here = there
            yield here
        finally:
            os.close(here)

    @contextmanager
    def _parent(self, rel: str) -> Iterator[tuple[int, str]]:
        *above, name = _split(rel) or [""]
        if not name:
            raise UnsafeArchiveError(f"{self.path} itself was meant, not a path in it", slug="unsafe-tree")
        with self._directory(above) as fd:
            yield fd, name

    @contextmanager
    def _guard(self, rel: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _error(error, self._shown(rel)) from error

    def _unsafe(self, rel: str, cause: str) -> UnsafeArchiveError:
        shown = self._shown(rel)
        return UnsafeArchiveError(f"{_brief(shown)} cannot be used", slug="unsafe-tree", cause=cause, at=shown)

    def _shown(self, rel: str) -> str:
        return os.path.join(self.path, rel) if rel else self.path


def _brief(shown: str) -> str:
    """The end of a path: enough to know it by, beside the whole of it."""
    return "/".join(shown.rsplit("/", 2)[-2:])


def _split(rel: str) -> list[str]:
    if not rel:
        return []
    parts = rel.split("/")
    if "\0" in rel or any(part in {"", ".", ".."} for part in parts):
        raise UnsafeArchiveError(f"{rel!r} is not a plain path below its tree", slug="unsafe-tree")
    return parts


def _error(error: OSError, shown: str) -> StoreError:
    if error.errno in _WRONG_KIND:
        cause = "a link, or not the kind of file that belongs here"
        return UnsafeArchiveError(f"{_brief(shown)} cannot be used", slug="unsafe-tree", cause=cause, at=shown)
    return disk_error(error, shown)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"
