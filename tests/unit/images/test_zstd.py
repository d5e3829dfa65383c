"""zstd a block at a time: every kind of frame is read, every cut is noticed, no memory is given away."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tracemalloc

import pytest
import zstandard

from packrunner.errors import CorruptError, PackrunnerError, UnsafeArchiveError
from packrunner.images.inflate import Inflow
from packrunner.names import Digest

NOISE = random.Random(7).randbytes(300_000)


def unpacked(stored: bytes, *, limit: int = 1 << 30, ratio: int = 1000, diff_id: Digest | None = None) -> bytes:
    digest = Digest("sha256:" + hashlib.sha256(stored).hexdigest())
    inflow = Inflow(io.BytesIO(stored), "the layer", limit=limit, ratio=ratio, digest=digest, diff_id=diff_id)
    return b"".join(inflow.pieces())


def compressed(data: bytes, **options: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, **options)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


SKIPPED = struct.pack("<II", 0x184D2A53, 5) + b"hello"


@pytest.mark.fault("ARC-31")
@pytest.mark.parametrize(
    "stored",
    [
        compressed(NOISE),
        compressed(NOISE, write_checksum=True),
        compressed(NOISE, write_content_size=False),
        zstandard.ZstdCompressor(level=3, threads=2).compress(NOISE),
        compressed(NOISE[:150_000]) + SKIPPED + compressed(NOISE[150_000:]),
        SKIPPED + compressed(NOISE) + SKIPPED,
    ],
)
def test_frames_of_every_kind_are_read(stored: bytes) -> None:
    # A skippable frame at the start is no sign of zstd: other formats may begin so.
    expected = stored if stored.startswith(SKIPPED) else NOISE
    assert unpacked(stored) == expected


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5_000_000, b"abc" * 100_000])
def test_repetition_and_nothing_are_read(data: bytes) -> None:
    assert unpacked(compressed(data)) == data


@pytest.mark.fault("ARC-27")
def test_a_stream_cut_at_any_byte_is_refused() -> None:
    whole = compressed(NOISE[:700] + b"x" * 300_000, write_checksum=True)
    for end in range(8, len(whole)):
        with pytest.raises(CorruptError) as error:
            unpacked(whole[:end])
        assert error.value.slug == "archive-corrupt", end


@pytest.mark.fault("ARC-27")
def test_a_changed_byte_is_noticed_by_the_checksum() -> None:
    whole = bytearray(compressed(NOISE, write_checksum=True))
    whole[len(whole) // 2] ^= 1
    with pytest.raises(CorruptError):
        unpacked(bytes(whole))


@pytest.mark.fault("ARC-26")
def test_a_frame_that_asks_for_two_gigabytes_is_refused() -> None:
    # No single segment, window descriptor 21 << 3: 2 GiB.
    stored = b"\x28\xb5\x2f\xfd" + bytes([0x00, 21 << 3]) + b"\x01\x00\x00"
    with pytest.raises(CorruptError) as error:
        unpacked(stored)
    assert error.value.slug == "archive-corrupt"


@pytest.mark.fault("ARC-25")
@pytest.mark.fault("ARC-26")
def test_a_bomb_is_refused_and_memory_stays_flat() -> None:
    repeated = int.to_bytes(1 << 1 | (128 << 10) << 3, 3, "little") + b"\0"
    stored = b"\x28\xb5\x2f\xfd" + bytes([0x00, 7 << 3]) + repeated * 100_000
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeArchiveError):
            unpacked_size(stored)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def unpacked_size(stored: bytes) -> int:
    inflow = Inflow(io.BytesIO(stored), "the layer", limit=1 << 34, ratio=1000, digest=None, diff_id=None)
    return sum(map(len, inflow.pieces()))


@pytest.mark.fault("ARC-28")
def test_junk_after_the_end_is_hashed_and_not_unpacked() -> None:
    stored = compressed(b"data") + b"junk!"
    inflow = Inflow(io.BytesIO(stored), "the layer", limit=1 << 20, ratio=1000, digest=None, diff_id=None)
    assert b"".join(inflow.pieces()) == b"data"
    assert inflow.trailing
    digest = Digest("sha256:" + hashlib.sha256(compressed(b"data")).hexdigest())
    wrong = Inflow(io.BytesIO(stored), "the layer", limit=1 << 20, ratio=1000, digest=digest, diff_id=None)
    with pytest.raises(PackrunnerError):
        list(wrong.pieces())


@pytest.mark.fault("ARC-29")
def test_another_diff_id_is_refused() -> None:
    with pytest.raises(CorruptError) as error:
        unpacked(compressed(b"data"), diff_id=Digest("sha256:" + "0" * 64))
    assert error.value.slug == "archive-digest"
