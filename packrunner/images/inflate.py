"""The tar inside a stored layer: uncompressed where need be, hashed and bounded on the way, one step ahead of its use.

What a layer is compressed with is seen in its first bytes, whatever its media type says (ARC-31).
"""

from __future__ import annotations

import hashlib
import queue
from typing import TYPE_CHECKING, NoReturn, cast

from packrunner.errors import CorruptError, UnsafeArchiveError
from packrunner.images import zstd
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from packrunner.names import Digest

_STEP = 1 << 20
_FEED = 16 << 10  # of compressed bytes at once: after each member of a stream the rest of the feed is copied
_SLACK = 32 << 20  # bytes that any archive may unpack to, whatever its ratio
_AHEAD = 8
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
}


class Inflow:
    """The bytes of one archive. `limit` bounds the uncompressed bytes, `ratio` how many there are for each stored one.

    Raises CorruptError: `archive-corrupt` for compressed data that is damaged or cut, `archive-digest` at the end for
    bytes that do not have `digest` (as stored) or `diff_id` (uncompressed), `archive-compression`;
    UnsafeArchiveError, `archive-limit`.
    """

    def __init__(
        self, stream: BinaryIO, what: str, *, limit: int, ratio: int, digest: Digest | None, diff_id: Digest | None
    ) -> None:
        self.trailing = False
        """Whether something that is no further gzip member followed the compressed data."""
        self._stream = stream
        self._what = what
        self._limit = limit
        self._ratio = ratio
        self._digest, self._diff_id = digest, diff_id
        self._raw_hash, self._hash = hashlib.sha256(), hashlib.sha256()
        self._raw = self._size = 0

    def pieces(self) -> Iterator[bytes]:
        """The uncompressed bytes, to the end of the stream, where digests are compared."""
        first = self._first()
        if first.startswith(_GZIP):
            found = self._gunzip(first)
        elif first.startswith(zstd.MAGIC):
            found = self._unzstd(first)
        else:
            for magic, name in _OTHERS.items():
                if first.startswith(magic):
                    raise CorruptError(
                        f"{self._what} is compressed with {name}, which packrunner does not read",
                        slug="archive-compression",
                        tries=("skopeo copy --dest-compress-format gzip oci:IMAGE oci:COPY",),
                    )
            found = self._plain(first)
        for piece in found:
            self._size += len(piece)
            self._check()
            if self._diff_id:
                self._hash.update(piece)
            yield piece
        self._compare()

    def _first(self) -> bytes:
        """Enough bytes to see what this is; a stream may give them one by one."""
        data = b""
        while len(data) < 8 and (more := self._read()):
            data += more
        return data

    def _read(self) -> bytes:
        data = self._stream.read(_STEP)
        self._raw += len(data)
        if self._digest:
            self._raw_hash.update(data)
        return data

    def _plain(self, first: bytes) -> Iterator[bytes]:
        data = first
        while data:
            yield data
            data = self._read()

    def _gunzip(self, first: bytes) -> Iterator[bytes]:
        """All members of a gzip stream; what is no member is read, not unpacked (ARC-26 to ARC-28)."""
        # A third faster than zlib, and the same in all else.
        from isal import isal_zlib

        damaged = cast("type[Exception]", isal_zlib.error)  # its stub says that it is an instance
        member = isal_zlib.decompressobj(31)
        fresh = False
        data = first
        while data:
            for at in range(0, len(data), _FEED):
                feed = data[at : at + _FEED]
                while feed:
                    if fresh and not _GZIP.startswith(feed[:2]):
                        yield from self._trail()
                        return
                    fresh = False
                    try:
                        piece = member.decompress(feed, _STEP)
                    except damaged as error:
                        self._refuse(f"its compressed data is damaged ({error})", error)
                    if piece:
                        yield piece
                    feed = member.unconsumed_tail
                    if member.eof:
                        feed, member, fresh = member.unused_data, isal_zlib.decompressobj(31), True
            data = self._read()
        if not fresh:
            self._refuse("its compressed data ends too early")

    def _unzstd(self, first: bytes) -> Iterator[bytes]:
        """All frames of a zstd stream."""
        try:
            self.trailing = yield from zstd.frames(first, self._read)
        except zstd.ZstdError as error:
            self._refuse(f"its compressed data is damaged ({error})", error)

    def _trail(self) -> Iterator[bytes]:
        """Hash the rest."""
        self.trailing = True
        while self._read():
            pass
        yield from ()

    def _check(self) -> None:
        if self._size > self._limit:
            raise UnsafeArchiveError(
                f"{self._what} is too large", slug="archive-limit", cause=f"it unpacks to more than {self._limit} bytes"
            )
        if self._size > _SLACK and self._size > self._raw * self._ratio:
            raise UnsafeArchiveError(
                f"{self._what} is too large for what is stored of it",
                slug="archive-limit",
                cause=f"{self._raw} bytes unpack to more than {self._ratio} times as many",
            )

    def _compare(self) -> None:
        for what, wanted, made in (
            ("its bytes have", self._digest, self._raw_hash),
            ("its uncompressed bytes have", self._diff_id, self._hash),
        ):
            if wanted and made.hexdigest() != wanted.hex:
                raise CorruptError(
                    f"{self._what} is not what it should be",
                    slug="archive-digest",
                    cause=f"{what} the digest sha256:{made.hexdigest()}, expected {wanted}",
                )

    def _refuse(self, why: str, error: Exception | None = None) -> NoReturn:
        raise CorruptError(f"{self._what} cannot be unpacked", slug="archive-corrupt", cause=why) from error


class Ahead:
    """Pieces, made in a thread a few steps before they are asked for; reading and hashing let other threads run.

    A context manager; the thread has ended when it is left.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._stop = False
        self._thread = Worker(self._work, "inflate")

    def __enter__(self) -> Iterator[bytes]:
        self._thread.start()
        return self._taken()

    def __exit__(self, *_: object) -> None:
        self._stop = True
        while not self._thread.ended:
            # The thread may wait for room in the queue.
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _taken(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        try:
            for piece in self._pieces:
                if self._stop:
                    return
                self._queue.put(piece)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that reads
            self._queue.put(error)
        self._queue.put(None)
