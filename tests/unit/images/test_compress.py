"""Compression: the same bytes whoever compresses, readable by everybody, in little memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from packrunner.images.compress import Compressor, Kind

TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(60_000))
NOISE = random.Random(3).randbytes(2_500_000)


def compressed(data: bytes, kind: Kind, workers: int = 2) -> bytes:
    compressor = Compressor(workers)
    try:
        return b"".join(compressor.pieces(io.BytesIO(data), kind))
    finally:
        compressor.close()


def unpacked(data: bytes, kind: Kind) -> bytes:
    if kind == "gzip":
        member = zlib.decompressobj(31)
        found = member.decompress(data) + member.flush()
        assert member.eof
        assert not member.unused_data, "one member"
        return found
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2_300_000])
def test_what_is_compressed_is_read_by_others(kind: Kind, size: int) -> None:
    for data in (TEXT[:size], NOISE[:size], bytes(size)):
        assert unpacked(compressed(data, kind), kind) == data


@given(st.binary(max_size=5000))
def test_any_bytes(data: bytes) -> None:
    assert gzip.decompress(compressed(data, "gzip", 1)) == data


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_the_number_of_processors_changes_no_byte(kind: Kind) -> None:
    data = TEXT + NOISE + TEXT
    digests = {hashlib.sha256(compressed(data, kind, workers)).hexdigest() for workers in (1, 2, 3, 8)}
    assert len(digests) == 1


def test_a_block_knows_what_was_before_it() -> None:
    shared = random.Random(4).randbytes(6000)
    first, second = NOISE[: (1 << 20) - len(shared)] + shared, shared + TEXT[:5000]
    apart = len(compressed(first, "gzip")) + len(compressed(second, "gzip"))
    assert len(compressed(first + second, "gzip")) < apart - 2000


def test_nothing_of_this_machine_is_in_the_header() -> None:
    assert compressed(b"x", "gzip")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_memory_stays_flat(kind: Kind) -> None:
    class Endless(io.RawIOBase):
        left = 150 << 20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed's Buffer is 3.12's
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = bytes(size)
            return size

    compressor = Compressor(2)
    tracemalloc.start()
    try:
        size = sum(map(len, compressor.pieces(io.BufferedReader(Endless()), kind)))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
        compressor.close()
    assert 0 < size < 2 << 20
