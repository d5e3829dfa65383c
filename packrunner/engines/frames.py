"""The wire format between the host and the agent; the host's half of launcher/internal/frame.

A frame is one byte of kind, four bytes of run id, four bytes of payload length (big-endian), then the payload. Whatever
comes from the agent is hostile (SBX-28): kinds are known, sizes bounded, JSON typed and strict.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import msgspec

from packrunner.errors import EngineError

if TYPE_CHECKING:
    from packrunner.engines.base import Command

PROTOCOL = 2
MAX_REQUEST = 1 << 20
MAX_INPUT = 64 << 10

PREPARE, RUN, INPUT, KILL, SWEEP, QUIT = b"PRIKSQ"
LACKING, HELLO, STDOUT, STDERR, EXIT, DONE, FATAL = b"LHOEXDF"

_HEADER = struct.Struct(">BII")
_SHORT, _CHUNK = 4096, 64 << 10
_LIMITS = {
    LACKING: _CHUNK,
    HELLO: _SHORT,
    STDOUT: _CHUNK,
    STDERR: _CHUNK,
    EXIT: _CHUNK,
    DONE: 0,
    FATAL: _CHUNK,
}


class Frame(NamedTuple):
    """One message from the agent."""

    kind: int
    id: int
    payload: bytes


class Readable(Protocol):
    """What frames are read from."""

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for; fewer at the end only."""


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame: the protocol it speaks, and who it is inside."""

    protocol: int
    uid: int
    gid: int


class ExitReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command's end."""

    code: int
    signal: int = 0
    error: str = ""
    timed_out: bool = False


class LackingReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Places whose content has to be sent."""

    places: tuple[str, ...]


class FatalReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the agent gives up."""

    error: str


_Reply = TypeVar("_Reply", bound=msgspec.Struct)


def protocol_error(what: str) -> EngineError:
    """The error for an agent that does not keep to the protocol."""
    return EngineError(
        "the sandbox's agent broke its protocol; nothing it reported is trusted",
        slug="sandbox-protocol",
        cause=what,
    )


def read_frame(stream: Readable) -> Frame | None:
    """The next frame of a buffered stream, None at its end. Raises EngineError, slug `sandbox-protocol`."""
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise protocol_error("the stream ended inside a frame")
    kind, run, size = _HEADER.unpack(header)
    limit = _LIMITS.get(kind)
    if limit is None:
        raise protocol_error(f"unknown kind of frame: {kind:#04x}")
    if size > limit:
        raise protocol_error(f"a frame of kind {chr(kind)} claims {size} bytes, {limit} are allowed")
    payload = stream.read(size)
    if len(payload) < size:
        raise protocol_error("the stream ended inside a frame")
    return Frame(kind, run, payload)


def parse(payload: bytes, reply: type[_Reply]) -> _Reply:
    """A typed reply. Raises EngineError, slug `sandbox-protocol`."""
    try:
        return msgspec.json.decode(payload, type=reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise protocol_error(f"a reply is not a {reply.__name__}: {error}") from error


def run_request(command: Command, *, stdin: bool = False) -> bytes:
    """The payload that starts `command`; bytes that are not UTF-8 travel as Python's lone surrogates.

    With `stdin` the run reads what INPUT frames bring.
    """
    return json.dumps(
        {
            "argv": list(command.argv),
            "env": [f"{name}={value}" for name, value in command.env.items()],
            "cwd": command.cwd,
            **({} if command.user is None else {"user": list(command.user)}),
            **({"stdin": True} if stdin else {}),
            "timeout_ms": 0 if command.timeout is None else max(1, int(command.timeout * 1000)),
        }
    ).encode("ascii")


def frame(kind: int, run: int = 0, payload: bytes | memoryview = b"") -> bytes:
    """A frame's bytes."""
    return b"".join((_HEADER.pack(kind, run, len(payload)), payload))
