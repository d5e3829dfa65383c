"""Layers compressed for the way to a registry: on all processors, and to the same bytes whatever their number.

gzip is one member of blocks of a megabyte, each compressed with the 32 KB before it as its dictionary; so a block
depends on the layer and on nothing else. zstd does the like in its own threads.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Literal

from packrunner.images.manifest import LAYER_GZIP, LAYER_ZSTD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

Kind = Literal["gzip", "zstd"]
Compression = Literal["gzip", "zstd", "none"]

MEDIA_TYPES: dict[Kind, str] = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}
_BLOCK = 1 << 20
_WINDOW = 32 << 10
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 3
# Small, because each thread holds several of them, and each layer that is compressed at the same time has its own.
_ZSTD_JOB = 1 << 20
_ZSTD_THREADS = 8
# No name, no time, of no system: the same bytes everywhere.
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST = b"\x03\x00"


class Compressor:
    """Compresses layers, several at once if need be, with `workers` threads in all; a context manager."""

    def __init__(self, workers: int = 0) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._workers = workers or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor = ThreadPoolExecutor(self._workers, "compress")

    def close(self) -> None:
        """Let the threads end; what waits is not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def pieces(self, stream: BinaryIO, kind: Kind) -> Iterator[bytes]:
        """The bytes of `stream`, compressed."""
        return self._gzip(stream) if kind == "gzip" else self._zstd(stream)

    def _gzip(self, stream: BinaryIO) -> Iterator[bytes]:
        from isal import isal_zlib

        waiting: deque[Future[bytes]] = deque()
        before, checksum, size = b"", 0, 0
        yield _HEAD
        while block := stream.read(_BLOCK):
            waiting.append(self._pool.submit(_deflate, block, before))
            checksum, size = isal_zlib.crc32(block, checksum), size + len(block)
            before = block[-_WINDOW:]
            if len(waiting) > self._workers + 1:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()
        yield _LAST + struct.pack("<II", checksum, size & 0xFFFFFFFF)

    def _zstd(self, stream: BinaryIO) -> Iterator[bytes]:
        import zstandard

        # Threads even if it is one: without any, zstd makes other bytes.
        options = zstandard.ZstdCompressionParameters.from_level(
            _ZSTD_LEVEL, threads=min(self._workers, _ZSTD_THREADS), job_size=_ZSTD_JOB, write_checksum=True
        )
        member = zstandard.ZstdCompressor(compression_params=options).compressobj()
        while block := stream.read(_BLOCK):
            if piece := member.compress(block):
                yield piece
        yield member.flush()


def _deflate(block: bytes, before: bytes) -> bytes:
    """A block as a stretch of a deflate stream, which ends at a byte."""
    from isal import isal_zlib

    member = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, -15, zdict=before)
    return member.compress(block) + member.flush(isal_zlib.Z_SYNC_FLUSH)
