"""Hostile archives to trees: whatever an archive says, every effect is beneath the root it is given.

Paths are resolved one component at a time by directory descriptors, links as if the root were "/" (ARC-03, ARC-05);
nothing is ever written through the last component (ARC-10). Set-id bits and extended attributes stay in the archive
(ARC-19). Times and modes of directories are set last, on the very directories that were made (ARC-11, ARC-41).
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.errors import UnsafeArchiveError
from packrunner.images import tarread
from packrunner.images.resolve import Resolver, refused
from packrunner.images.source import Source
from packrunner.images.tarread import Member, TarReader
from packrunner.images.whiteouts import OPAQUE, PREFIX, Applied, Marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.errors import StoreError
    from packrunner.names import Digest

Whiteouts = Literal["apply", "overlay", "reject"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IMPLIED = 0o755
_MAX_ID = (1 << 32) - 2
_RESERVE = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may need at most: entries, bytes of content, bytes out for a byte in, bytes of a name."""

    entries: int = 2_000_000
    bytes: int = 64 << 30
    ratio: int = 400
    name: int = 4095


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What was written: entries and bytes of content."""

    entries: int
    bytes: int
    warnings: tuple[str, ...] = ()


DEFAULTS = Limits()


def extract(
    stream: BinaryIO,
    root_path: str,
    *,
    uid_gid: tuple[int, int] | None = None,
    whiteouts: Whiteouts = "apply",
    limits: Limits = DEFAULTS,
    prefix: str = "",
    digest: Digest | None = None,
    diff_id: Digest | None = None,
) -> Extracted:
    """Unpack an archive, gzipped or not, into the existing directory `root_path`.

    Owners are `uid_gid`, or those of the archive, where this process may give files away; else its own. `whiteouts`:
    "apply" removes what they name, "overlay" makes the marks of an overlay file system, "reject" is for archives that
    are no layers: it also refuses absolute names and devices. `prefix` takes only what is below that path, without it.
    `digest` is of the bytes as they come, `diff_id` of the uncompressed archive.

    Raises UnsafeArchiveError (`unsafe-archive`, `archive-too-large`, `archive-format`), CorruptError
    (`archive-corrupt`), StoreError (`disk`, `disk-full`). What was written until then stays.
    """
    try:
        root = os.open(root_path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        raise disk_error(e, root_path) from e
    try:
        source = Source(stream, ratio=limits.ratio)
        inner = _plain(os.fsencode(prefix))
        work = _Extraction(root, root_path, uid_gid=uid_gid, whiteouts=whiteouts, limits=limits, prefix=inner)
        try:
            reader = TarReader(source, entries=limits.entries, name=limits.name, whole=bool(digest or diff_id))
            work.run(reader)
        finally:
            work.close()
        source.verify(digest, diff_id)
        return Extracted(entries=work.entries, bytes=work.bytes, warnings=tuple(work.warnings))
    finally:
        os.close(root)


def _plain(name: bytes) -> list[bytes]:
    return [part for part in name.split(b"/") if part not in {b"", b"."}]


class _Extraction:
    """One archive on its way into one tree."""

    def __init__(
        self,
        root: int,
        root_path: str,
        *,
        uid_gid: tuple[int, int] | None,
        whiteouts: Whiteouts,
        limits: Limits,
        prefix: list[bytes],
    ) -> None:
        self.entries = self.bytes = 0
        self.warnings: list[str] = []
        self._root = root
        self._tree = Root.open(root_path)
        self._owner = uid_gid
        self._may_chown = os.geteuid() == 0
        self._strict = whiteouts == "reject"
        self._prefix = prefix
        self._limit = limits.bytes
        self._room = _room(root)
        self._resolver = Resolver(root, replace=self._replace, made=self._parent_made)
        self._marks = Marked(self._tree) if whiteouts == "overlay" else Applied(self._tree)
        self._folders: dict[bytes, tuple[Member, tuple[int, int]]] = {}
        self._skipped = self._odd = 0

    def close(self) -> None:
        self._resolver.close()
        self._tree.close()

    def run(self, reader: TarReader) -> None:
        for member in reader:
            self.entries += 1
            self._reserve(member)
            parts = self._parts(member)
            if parts is not None:
                try:
                    self._one(reader, member, parts)
                except OSError as e:
                    raise self._error(e, member) from e
        self._finish()

    def _reserve(self, member: Member) -> None:
        """Refuse in time what could only end in a full disk (ARC-25)."""
        self._limit -= member.size
        self._room -= member.size
        if self._limit < 0:
            raise UnsafeArchiveError("the archive holds more than an archive may need", slug="archive-too-large")
        if self._room < 0:
            raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self._tree.path)

    def _parts(self, member: Member) -> list[bytes] | None:
        """The components of an entry's path below the root; None for what is not wanted (ARC-01, ARC-02, ARC-06)."""
        name = member.name
        parts = _plain(name)
        if b".." in parts:
            raise refused(name, "it leads upwards")
        if self._strict and name.startswith(b"/"):
            raise refused(name, "it is absolute")
        if not parts:
            if member.kind != tarread.DIRECTORY:
                raise refused(name, "it would replace the root")
            return None
        depth = len(self._prefix)
        if depth:
            if parts[:depth] != self._prefix or len(parts) == depth:
                return None
            parts = parts[depth:]
        return parts

    def _one(self, reader: TarReader, member: Member, parts: list[bytes]) -> None:
        name = parts[-1]
        if name.startswith(PREFIX) or any(part.startswith(PREFIX) for part in parts):
            self._whiteout(member, parts)
            return
        if member.kind in tarread.DEVICES:
            if self._strict:
                raise refused(member.name, "it is a device or a FIFO")
            self._skipped += 1
            return
        parent, real = self._resolver.parent(parts)
        path = real + name
        if member.odd_time:
            self._odd += 1
        match member.kind:
            case tarread.FILE:
                self._file(reader, member, parent, path, name)
            case tarread.DIRECTORY:
                self._directory(member, parent, path, name)
            case tarread.LINK:
                self._link(member, parent, path, name)
            case _:
                self._hard_link(member, parent, path, name)
        if member.kind != tarread.DIRECTORY:
            self._marks.made(path, None)

    def _file(self, reader: TarReader, member: Member, parent: int, path: bytes, name: bytes) -> None:
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._replace(path)
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            for piece in reader.content():
                self.bytes += len(piece)
                while piece:
                    piece = piece[os.write(fd, piece) :]  # noqa: PLW2901 - what the kernel left of it
            if self._may_chown:
                os.fchown(fd, *self._owner_of(member))
            os.fchmod(fd, member.mode & 0o777)
            os.utime(fd, ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _directory(self, member: Member, parent: int, path: bytes, name: bytes) -> None:
        new = True
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            new = not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
            if new:
                self._replace(path)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            st = os.fstat(fd)
            if st.st_mode & 0o700 != 0o700:
                os.chmod(f"/proc/self/fd/{fd}", 0o700)
            self._marks.made(path, fd if new else None)
        finally:
            os.close(fd)
        self._folders[path] = (member, (st.st_dev, st.st_ino))

    def _link(self, member: Member, parent: int, path: bytes, name: bytes) -> None:
        if not member.link:
            raise refused(member.name, "a link to nothing")
        self._again(path, lambda: os.symlink(member.link, name, dir_fd=parent))
        if self._may_chown:
            os.chown(name, *self._owner_of(member), dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, member: Member, parent: int, path: bytes, name: bytes) -> None:
        """A second name for a file that is there; its path goes through no link (ARC-07, ARC-09)."""
        parts = _plain(member.link)
        depth = len(self._prefix)
        if b".." in parts or parts[:depth] != self._prefix or len(parts) <= depth:
            raise refused(member.name, "a hard link that leads out")
        parts = parts[depth:]
        if b"/".join(parts) == path:
            raise refused(member.name, "a hard link to itself")
        try:
            directory = self._resolver.strictly(parts[:-1])
        except OSError as e:
            raise refused(member.name, "a hard link to something that is not in the archive") from e
        try:
            found = os.lstat(parts[-1], dir_fd=directory)
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
                raise refused(member.name, "a hard link to something that is no file")
            source = parts[-1]
            self._again(
                path, lambda: os.link(source, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
            )
        except FileNotFoundError as e:
            raise refused(member.name, "a hard link to something that is not in the archive") from e
        finally:
            os.close(directory)

    def _whiteout(self, member: Member, parts: list[bytes]) -> None:
        """Removals (ARC-14 to ARC-16)."""
        name = parts[-1]
        hidden = name.removeprefix(PREFIX)
        if self._strict:
            raise refused(member.name, "such a name deletes files in images")
        if any(part.startswith(PREFIX) for part in parts[:-1]) or hidden in {b"", b".", b".."}:
            raise refused(member.name, "a removal of a directory itself")
        if name == OPAQUE:
            self._marks.opaque(self._resolver, parts[:-1])
        elif not hidden.startswith(PREFIX):  # others of that kind are another file system's own notes
            self._marks.remove(self._resolver, parts[:-1], hidden)

    def _again(self, path: bytes, make: Callable[[], None]) -> None:
        """Make an entry, over whatever has its name."""
        try:
            make()
        except FileExistsError:
            self._replace(path)
            make()

    def _parent_made(self, path: bytes, fd: int) -> None:
        """A directory that the archive only implies."""
        if self._may_chown and self._owner:
            os.chown(f"/proc/self/fd/{fd}", *self._owner)
        os.chmod(f"/proc/self/fd/{fd}", _IMPLIED)
        self._marks.made(path, fd)

    def _replace(self, path: bytes) -> None:
        """Take away what has the name, a whole tree if need be (ARC-12)."""
        self._resolver.forget()
        self._tree.remove(os.fsdecode(path))

    def _owner_of(self, member: Member) -> tuple[int, int]:
        if self._owner:
            return self._owner
        if member.uid > _MAX_ID or member.gid > _MAX_ID:
            raise refused(member.name, f"its owner {member.uid}:{member.gid} does not exist")
        return member.uid, member.gid

    def _finish(self) -> None:
        """Modes, owners and times of directories, deepest first; only of those that are still the ones we made."""
        self._resolver.forget()
        for path in sorted(self._folders, key=lambda path: path.count(b"/"), reverse=True):
            member, made = self._folders[path]
            try:
                fd = self._resolver.strictly(path.split(b"/"))
            except OSError:
                continue
            try:
                st = os.fstat(fd)
                if (st.st_dev, st.st_ino) == made:
                    self._settle(fd, member)
            finally:
                os.close(fd)
        if self._skipped:
            self.warnings.append(f"{self._skipped} devices and FIFOs were left out")
        if self._odd:
            self.warnings.append(f"{self._odd} entries had impossible times")

    def _error(self, error: OSError, member: Member) -> StoreError:
        if error.errno == errno.ENAMETOOLONG:
            return refused(member.name, "its name is too long for the file system")
        if error.errno in {errno.EINVAL, errno.EILSEQ}:
            return refused(member.name, os.strerror(error.errno))
        return disk_error(error, os.path.join(self._tree.path, os.fsdecode(member.name[:200])))

    def _settle(self, fd: int, member: Member) -> None:
        place = f"/proc/self/fd/{fd}"
        if self._may_chown:
            os.chown(place, *self._owner_of(member))
        os.chmod(place, member.mode & 0o1777)
        os.utime(place, ns=(member.mtime, member.mtime))


def _room(root: int) -> int:
    """Bytes that may be written there."""
    found = os.fstatvfs(root)
    return found.f_bavail * found.f_frsize - _RESERVE
