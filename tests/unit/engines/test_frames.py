"""The host's decoder on the fuzz corpus of the agent's: one wire format, two hostile readers (SBX-28)."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

import pytest

from packrunner.engines import frames
from packrunner.errors import EngineError

CORPUS = Path(__file__).resolve().parents[3] / "launcher/internal/frame/testdata/fuzz/FuzzReader"
SEEDS = sorted(CORPUS.iterdir())


def bytes_of(seed: Path) -> bytes:
    """The one value of a Go corpus file."""
    version, value = seed.read_text(encoding="utf-8").splitlines()
    assert version == "go test fuzz v1"
    assert value.startswith('[]byte("')
    return codecs.escape_decode(value.removeprefix('[]byte("').removesuffix('")').encode())[0]


def read_all(content: bytes) -> list[frames.Frame]:
    """Every frame up to the first fault, and a check that the frames are what the stream says."""
    stream, read = io.BytesIO(content), []
    try:
        while (one := frames.read_frame(stream)) is not None:
            read.append(one)
            assert content[: stream.tell()] == b"".join(frames.frame(*each) for each in read)
    except EngineError as error:
        assert error.slug == "sandbox-protocol"  # noqa: PT017 (both ends are right; only this error is)
    else:
        assert stream.tell() == len(content)
    return read


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_any_stream_is_frames_or_one_error(seed: Path) -> None:
    content = bytes_of(seed)
    whole = read_all(content)
    for end in range(len(content)):
        assert read_all(content[:end]) == whole[: len(read_all(content[:end]))]


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("conversation-of-the-agent", b"HOEXD"),
        ("fatal", b"F"),
        ("length-zero", b"OX"),
        ("length-4-gib", b""),
        ("length-one-over-a-chunk", b""),
        ("run", b""),
        ("unknown-kind", b""),
        ("text-instead-of-frames", b""),
    ],
)
def test_what_is_read_of_it(name: str, kinds: bytes) -> None:
    assert bytes(one.kind for one in read_all(bytes_of(CORPUS / name))) == kinds


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_any_payload_is_a_reply_or_one_error(seed: Path) -> None:
    for one in read_all(bytes_of(seed)):
        for reply in (frames.Hello, frames.ExitReply, frames.FatalReply):
            try:
                frames.parse(one.payload, reply)
            except EngineError as error:
                assert error.slug == "sandbox-protocol"  # noqa: PT017 (as above)
