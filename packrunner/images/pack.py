"""From entries of a tree to pieces of a tar, as fast as the interpreter can: the loop that layers are made in.

Runs in the layer writer and in its helper process, so it imports next to nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from typing import TYPE_CHECKING
from zlib import adler32

from packrunner import fingerprint
from packrunner.images import tar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class Sink(Protocol):
        """Where the pieces go, in order."""

        def put(self, pieces: list[bytes]) -> None:
            """Take pieces, to be joined."""

        def content(self, fd: int, size: int, path: str) -> None:
            """Take a large file's descriptor, to read exactly `size` bytes from its start and close it."""


OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SMALL = 1 << 16
_BATCH = 1 << 20
_REGULAR = 0o100000
_CHECKSUMS: dict[int, bytes] = {}


class HelperLostError(Exception):
    """The helper process ended early: the layer is written again without one."""


class PackError(Exception):
    """An entry that cannot become part of a layer: `kind` is one of the slugs of layer.py."""

    def __init__(self, kind: str, path: str, cause: str) -> None:
        super().__init__(kind, path, cause)
        self.kind = kind
        self.path = path
        self.cause = cause


class Packer:
    """Writes the entries of one tree to a sink, and keeps a fingerprint line and a size in the tar for each.

    `target` is the tree's path in the image without the leading slash, "" for the root.
    """

    def __init__(
        self, sink: Sink, target: str, owner: tuple[int, int], owners: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        self.sink = sink
        self.lines: list[str] = []
        self.sizes = array("Q")
        self.newest = 0
        self.warnings: list[str] = []
        self._prefix = target + "/" if target else ""
        self._owner = owner
        self._owners = owners or {}
        self._modes: dict[int, tuple[str, bytes]] = {}
        self._octal: dict[int, bytes] = {}
        self._pieces: list[bytes] = []
        self._held = 0

    def flush(self) -> None:
        """Hand over what was collected."""
        if self._pieces:
            self.sink.put(self._pieces)
            self._pieces = []
            self._held = 0

    def put(self, pieces: list[bytes], size: int) -> None:
        """Add pieces of `size` bytes in all."""
        self._pieces += pieces
        self._held += size
        if self._held >= _BATCH:
            self.flush()

    def directory(self, path: str, mode: int) -> None:
        """Add a directory; the tree's root has the path "" and, at the root of an image, no entry."""
        self.lines.append(f"{mode:o} 0 0 0 0 {path}")
        full = self._prefix + path
        if not full:
            self.sizes.append(0)
            return
        self._small(tar.DIRECTORY, full.rstrip("/") + "/", mode, path)

    def files(self, fd: int, base: str, names: Sequence[str], special: frozenset[str] = frozenset()) -> None:  # noqa: PLR0915 - the loop that all is about, unrolled
        """Add entries of one directory, open as `fd`; `base` is its path with "/". `special` are not regular files."""
        if special or self._owners or not (base.isascii() and self._prefix.isascii()):
            for name in names:
                if name in special:
                    self._special(fd, base + name, name)
                else:
                    self._file(fd, base + name, name)
            return
        target = (self._prefix + base).encode()
        room = tar.NAME - len(target)
        of_mode, of_size, small = self._modes, self._octal, tar.PADDING
        rest = tar.tail(tar.FILE)
        rest_sum = tar.byte_sum(rest) + 8 * 0x20 - 1
        checksums = _CHECKSUMS
        zeros = [bytes(room - length) for length in range(room + 1)]
        pieces, held, newest = self._pieces, self._held, self.newest
        add = pieces.extend
        line, size_of = self.lines.append, self.sizes.append
        open_, read, fstat, close, mtime = os.open, os.read, os.fstat, os.close, tar.MTIME
        for name in names:
            try:
                file = open_(name, OPEN_FILE, dir_fd=fd)
            except OSError as e:
                raise unreadable(e, base + name) from e
            try:
                data = read(file, _SMALL)
                st = fstat(file)
            finally:
                close(file)
            size = len(data)
            mode = st.st_mode
            fields = of_mode.get(mode) or self._of_mode(mode)
            if size != st.st_size or fields is None or len(name) > room or not name.isascii():
                self._pieces, self._held, self.newest = pieces, held, newest
                self._file(fd, base + name, name)
                pieces, held, newest = self._pieces, self._held, self.newest
                add = pieces.extend
                continue
            ctime = st.st_ctime_ns
            if ctime > newest:  # noqa: PLR1730 - max() costs a call for each file
                newest = ctime
            line(f"{fields[0]} {size} {st.st_mtime_ns} {ctime} {st.st_ino} {base}{name}")
            digits = of_size.get(size)
            if digits is None:
                digits = of_size[size] = b"%011o\0" % size
            before = b"".join((target, name.encode(), zeros[len(name)], fields[1], digits, mtime))
            total = (adler32(before) & 0xFFFF) + rest_sum
            add((before, checksums.get(total) or _checksum(total), rest, data, small[size & 511]))
            grown = (size + 1023) & -512
            size_of(grown)
            held += grown
            if held >= _BATCH:
                self._pieces = pieces
                self.flush()
                pieces, held = self._pieces, 0
                add = pieces.extend
        self._held, self.newest = held, newest

    def _of_mode(self, mode: int) -> tuple[str, bytes] | None:
        """What lines and headers have for a mode; None unless it is of a regular file."""
        if not stat.S_ISREG(mode):
            return None
        fields = self._modes[mode] = (f"{mode:o}", tar.owner_field(mode & 0o7777, *self._owner))
        return fields

    def _file(self, fd: int, path: str, name: str) -> None:
        """Any regular file: large ones, long names, owners of their own."""
        try:
            file = os.open(name, OPEN_FILE, dir_fd=fd)
        except OSError as e:
            raise unreadable(e, path) from e
        try:
            data = os.read(file, _SMALL)
            st = os.fstat(file)
            mode, size = st.st_mode, st.st_size
            if stat.S_IFMT(mode) != _REGULAR:
                raise PackError("special-file", path, "it is no regular file")
            if len(data) != size and size <= _SMALL:
                raise changed(path)
            self._line(st, path)
            uid, gid = self._owners.get(path, self._owner)
            head = tar.header(
                tar.FILE, os.fsencode(self._prefix + path), mode=mode & 0o7777, uid=uid, gid=gid, size=size
            )
            padding = tar.PADDING[size % tar.BLOCK]
            self.sizes.append(len(head) + size + len(padding))
            if size <= _SMALL:
                self.put([head, data, padding], len(head) + size + len(padding))
                return
            self.put([head], len(head))
            self.flush()
            handed, file = file, -1
            self.sink.content(handed, size, path)
            self.put([padding], len(padding))
        finally:
            if file >= 0:
                os.close(file)

    def _special(self, fd: int, path: str, name: str) -> None:
        st = os.lstat(name, dir_fd=fd)
        kind = stat.S_IFMT(st.st_mode)
        if kind == stat.S_IFSOCK:
            self._line(st, path)
            self.sizes.append(0)
            self.warnings.append(f"{path} is a socket and was left out")
        elif kind == stat.S_IFLNK:
            try:
                to = os.readlink(name, dir_fd=fd)
            except OSError as e:
                raise unreadable(e, path) from e
            self._line(st, path)
            self._small(tar.LINK, self._prefix + path, 0o777, path, os.fsencode(to))
        elif kind == _REGULAR:
            self._file(fd, path, name)
        else:
            raise PackError("special-file", path, f"it is a {_KINDS.get(kind, 'thing of unknown kind')}")

    def _line(self, st: os.stat_result, path: str) -> None:
        self.newest = max(self.newest, st.st_ctime_ns)
        self.lines.append(f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {st.st_ctime_ns} {st.st_ino} {path}")

    def _small(self, kind: bytes, full: str, mode: int, path: str, link: bytes = b"") -> None:
        uid, gid = self._owners.get(path, self._owner)
        head = tar.header(kind, os.fsencode(full), mode=mode & 0o7777, uid=uid, gid=gid, link=link)
        self.sizes.append(len(head))
        self.put([head], len(head))

    def text(self) -> str:
        """The lines as one text."""
        return fingerprint.joined(self.lines)


def _checksum(total: int) -> bytes:
    """The checksum's field of a header; few headers have a new one."""
    return _CHECKSUMS.setdefault(total, b"%06o\0 " % total)


_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


def changed(path: str) -> PackError:
    """The error for a file that did not hold still."""
    return PackError("changed-while-read", path, "its size or time changed while it was read")


def unreadable(error: OSError, path: str) -> PackError:
    """The error for a file that cannot be opened: gone or replaced since it was listed, or not ours to read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or error.errno in {
        errno.ELOOP,
        errno.ENXIO,
    }:
        return PackError("changed-while-read", path, os.strerror(error.errno or 0))
    return PackError("unreadable", path, os.strerror(error.errno or 0))
