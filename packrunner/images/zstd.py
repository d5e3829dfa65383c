"""zstd, a block at a time (RFC 8878): so that a few bytes cannot become gigabytes at once, and a cut is noticed.

The library decompresses; what is read here is only where frames and their blocks begin and end.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

MAGIC = b"\x28\xb5\x2f\xfd"
WINDOW = 32 << 20
"""Bytes of memory that a frame may ask for; what compresses layers asks for 8 MiB at most (ARC-26)."""
_SKIPPABLE = 0x184D2A50
_RLE = 1
_LARGEST_BLOCK = 128 << 10


class ZstdError(ValueError):
    """The data is damaged, cut, or asks for too much memory."""


class _Feed:
    """The stored bytes, in pieces of asked sizes."""

    def __init__(self, first: bytes, more: Callable[[], bytes]) -> None:
        self._data = first
        self._at = 0
        self._more = more

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._data) - self._at < size:
            more = self._more()
            if not more:
                raise ZstdError("it ends too early")
            self._data, self._at = self._data[self._at :] + more, 0
        self._at += size
        return self._data[self._at - size : self._at]

    def starts(self) -> bytes:
        """The next four bytes, which stay; fewer at the end."""
        while len(self._data) - self._at < 4 and (more := self._more()):
            self._data, self._at = self._data[self._at :] + more, 0
        return self._data[self._at : self._at + 4]


def frames(first: bytes, more: Callable[[], bytes]) -> Generator[bytes, None, bool]:
    """The uncompressed bytes of all frames, in pieces of 128 KiB at most; returns whether something else followed them.

    That is read, not unpacked. Raises ZstdError.
    """
    feed = _Feed(first, more)
    while start := feed.starts():
        if start == MAGIC:
            yield from filter(None, _frame(feed))
        elif len(start) == 4 and struct.unpack("<I", start)[0] & 0xFFFFFFF0 == _SKIPPABLE:
            _skip(feed)
        else:
            while more():
                pass
            return True
    return False


def _skip(feed: _Feed) -> None:
    left = int(struct.unpack("<I", feed.take(8)[4:])[0])
    while left:
        left -= len(feed.take(min(left, _LARGEST_BLOCK)))


def _frame(feed: _Feed) -> Iterator[bytes]:
    import zstandard

    member = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
    try:
        head = feed.take(5)
        flags = head[4]
        single, checksum = bool(flags & 0x20), bool(flags & 0x04)
        rest = (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + ((1 if single else 0), 2, 4, 8)[flags >> 6]
        yield member.decompress(head + feed.take(rest))
        last = False
        while not last:
            block = feed.take(3)
            word = int.from_bytes(block, "little")
            last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
            if size > _LARGEST_BLOCK and kind != _RLE:
                raise ZstdError("a block is larger than blocks are")
            yield member.decompress(block + feed.take(1 if kind == _RLE else size))
        if checksum:
            yield member.decompress(feed.take(4))
    except zstandard.ZstdError as error:
        raise ZstdError(str(error)) from error
    if not member.eof:
        raise ZstdError("a frame does not end where its last block does")
