"""Content-Encoding, undone once and exactly: what a server did to a body although it was asked not to (REG-30)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from packrunner.images.registry.failures import Failure, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STEP = 1 << 20
_DEEPEST = 3


class _Member(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def decoded(pieces: Iterator[bytes], encoding: str, host: str) -> Iterator[bytes]:
    """The body under all encodings that the header names. Raises Failure for others and for damaged data."""
    names = [name.strip().lower() for name in encoding.split(",")]
    found = [name for name in names if name not in {"", "identity"}]
    if len(found) > _DEEPEST or any(name not in {"gzip", "x-gzip", "deflate"} for name in found):
        raise Failure("answer", host, f"it encodes its answer as {printable(encoding)!r}, which nobody asked for")
    for name in reversed(found):
        pieces = _inflated(pieces, 15 if name == "deflate" else 31, host)
    return pieces


def _inflated(pieces: Iterable[bytes], window: int, host: str) -> Iterator[bytes]:
    member: _Member = zlib.decompressobj(window)
    try:
        for piece in pieces:
            feed = piece
            while feed:
                if member.eof:
                    member = zlib.decompressobj(window)
                yield member.decompress(feed, _STEP)
                feed = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise Failure("corrupt", host, f"what it encoded cannot be decoded ({error})", retry=True) from error
    if not member.eof:
        raise Failure("unreachable", host, "its encoded answer ends too early", phase="reading the answer", retry=True)
