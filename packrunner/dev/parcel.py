"""The bytes of changed files, for the attach channel: a header that says sizes, then exactly so many bytes.

Small files are read before the header is made, so that what it says is what follows. A large one is read while it is
sent; should it be written to meanwhile, its size stays as announced, and it is looked at again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.dev.node import stamp_of
from packrunner.dev.source import Cursor
from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from packrunner.dev.changes import Change

_SMALL = 1 << 20
_HELD = 32 << 20
"""So much is held in memory at most; what comes after that is read while it is sent."""
_PIECE = 1 << 20


class Reader:
    """Reads files of the source, confined to it; tells the model what was read, and what could not be."""

    def __init__(
        self,
        root: str,
        sent: Callable[[str, tuple[int, ...], bytes], None],
        unread: Callable[[str, Warned | None], None],
    ) -> None:
        self.root = root
        self.sent = sent
        self.unread = unread

    def whole(self, cursor: Cursor, path: str) -> tuple[bytes, os.stat_result] | None:
        """The bytes of a small file as it is now; None where it cannot be had."""
        try:
            fd, found = cursor.open(path)
            try:
                data = os.read(fd, _SMALL + 1)
                if len(data) < found.st_size:
                    data = b"".join((data, *_read(fd, _SMALL + 1 - len(data))))
            finally:
                os.close(fd)
        except OSError as error:
            self.refused(path, error)
            return None
        self.sent(path, stamp_of(found), hashlib.sha256(data).digest())
        return data, found

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """Exactly `size` bytes, of the file as far as it goes."""
        left = size
        try:
            with Cursor(self.root) as cursor:
                fd, found = cursor.open(path)
            digest = hashlib.sha256()
            try:
                for piece in _read(fd, size):
                    digest.update(piece)
                    left -= len(piece)
                    yield piece
            finally:
                os.close(fd)
            # The stamp of before it was read: whatever was written since leaves another one.
            self.sent(path, stamp_of(found) if found.st_size == size else (), digest.digest())
        except OSError as error:
            self.refused(path, error)
        if left:
            self.unread(path, None)
        while left:
            yield bytes(min(left, _PIECE))
            left -= min(left, _PIECE)

    def refused(self, path: str, error: OSError) -> None:
        """One that is gone has an event of its own; the others the user should know of (LIV-15)."""
        gone = error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
        text = f"{path} is not sent: {os.strerror(error.errno or 0)}"
        self.unread(path, None if gone else Warned(text=text))


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """`changes` are what can be sent now, with the sizes that hold; `pieces` are their bytes, in their order."""

    changes: tuple[Change, ...]
    _held: dict[str, bytes]
    _reader: Reader

    @classmethod
    def of(cls, changes: Iterable[Change], reader: Reader) -> Self:
        """Read what is small, open nothing else."""
        held: dict[str, bytes] = {}
        kept: list[Change] = []
        room = _HELD
        with Cursor(reader.root) as cursor:
            for change in changes:
                if change.kind != "file" or change.size > min(room, _SMALL):
                    kept.append(change)
                    continue
                read = reader.whole(cursor, change.path)
                if read is None:
                    continue
                data, found = read
                if len(data) > _SMALL:
                    # It has grown: its bytes come later.
                    kept.append(msgspec.structs.replace(change, size=found.st_size, mtime_ns=found.st_mtime_ns))
                    continue
                room -= len(data)
                held[change.path] = data
                kept.append(msgspec.structs.replace(change, size=len(data), mtime_ns=found.st_mtime_ns))
        return cls(changes=tuple(kept), _held=held, _reader=reader)

    @property
    def size(self) -> int:
        """How many bytes `pieces` are."""
        return sum(change.size for change in self.changes if change.kind == "file")

    def pieces(self) -> Iterator[bytes]:
        """The bytes of all files, one after the other: as many as the changes say, whatever happens to the files."""
        for change in self.changes:
            if change.kind != "file":
                continue
            data = self._held.get(change.path)
            if data is None:
                yield from self._reader.pieces(change.path, change.size)
            elif data:
                yield data


def digest_of(cursor: Cursor, path: str) -> bytes:
    """The SHA-256 of a file's bytes; OSError where it is no regular file now."""
    digest = hashlib.sha256()
    fd, found = cursor.open(path)
    try:
        for piece in _read(fd, found.st_size):
            digest.update(piece)
    finally:
        os.close(fd)
    return digest.digest()


def _read(fd: int, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := os.read(fd, min(left, _PIECE))):
        left -= len(piece)
        yield piece
