"""What `reloader attach` and this side say to each other: lines of JSON, and behind a change the bytes of its files.

Whatever comes from inside is hostile: a line is bounded, typed, and shown only through the console.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.dev.tree import Entry  # noqa: TC001  msgspec reads it
from packrunner.engines.frames import protocol_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.dev.changes import Change

VERSION = 1
_LONGEST_LINE = 4 << 20


class Hello(msgspec.Struct, frozen=True, tag_field="event", tag="hello"):
    """The first line: where the application is, and which of its processes can be restarted."""

    version: int
    app: str = ""
    processes: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """A path that could not be made as told, and why."""

    path: str
    why: str


class Copied(msgspec.Struct, frozen=True, tag_field="event", tag="copied"):
    """All bytes of a request are in place, but for these."""

    id: int
    failed: tuple[Refused, ...] = ()


class Executed(msgspec.Struct, frozen=True, tag_field="event", tag="exec"):
    """A rule's program has ended."""

    id: int
    command: tuple[str, ...] = ()
    code: int = 0
    output: str = ""
    ms: float = 0


class Restarting(msgspec.Struct, frozen=True, tag_field="event", tag="restarting"):
    """A process is being ended, to be started again."""

    process: str
    id: int = 0


class Up(msgspec.Struct, frozen=True, tag_field="event", tag="up"):
    """A process runs: it listens, or has lived for a moment."""

    process: str
    id: int = 0
    ms: float = 0


class Crash(msgspec.Struct, frozen=True, tag_field="event", tag="crash"):
    """A process ended by itself."""

    process: str
    code: int = 0
    signal: int = 0


class Done(msgspec.Struct, frozen=True, tag_field="event", tag="done"):
    """Everything that a request asked for has been done."""

    id: int
    action: str = "sync"
    self: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, tag_field="event", tag="manifest"):
    """A part of what is in the application's directory."""

    id: int
    files: tuple[Entry, ...] = ()
    end: bool = False


class Failed(msgspec.Struct, frozen=True, tag_field="event", tag="error"):
    """A request that cannot be done."""

    why: str
    id: int = 0


Event = Hello | Copied | Executed | Restarting | Up | Crash | Done | Manifest | Failed


class Reader:
    """Makes events of the bytes that the reloader writes, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that end in `data`. Raises EngineError, slug `sandbox-protocol`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise protocol_error("the reloader writes a line without an end")
        for line in lines:
            try:
                event = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise protocol_error(f"the reloader's line cannot be read: {error}") from error
            if isinstance(event, Hello) and event.version != VERSION:
                raise protocol_error(f"the reloader speaks version {event.version}, this packrunner {VERSION}")
            yield event


def changes(number: int, made: Sequence[Change], dest: str = "") -> bytes:
    """The line that announces changes; the bytes of their files follow it."""
    return _line({"id": number, "changes": [_plain(change) for change in made], "dest": dest})


def restart(number: int, processes: Sequence[str] = ()) -> bytes:
    """The line that asks for processes to be started again, all of them unless some are named."""
    return _line({"id": number, "restart": list(processes)})


def manifest(number: int) -> bytes:
    """The line that asks what is in the application's directory."""
    return _line({"id": number, "manifest": True})


def _plain(change: Change) -> dict[str, Any]:
    plain: dict[str, Any] = {"path": change.path, "kind": change.kind}
    match change.kind:
        case "file":
            plain |= {"mode": change.mode, "size": change.size, "mtime_ns": change.mtime_ns}
        case "link":
            plain["target"] = change.target
        case "dir":
            plain["mode"] = change.mode
        case "gone":
            pass
    return plain


def _line(values: dict[str, Any]) -> bytes:
    # json, and not msgspec: names that are not UTF-8 have to travel as lone surrogates.
    import json

    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"
