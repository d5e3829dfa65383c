"""What both sides of a place looked like when they were last known to be equal: pure, but for the file that keeps it.

Lines are those of packrunner.fingerprint, which this host and the agent write alike; each side's are compared with
that side's own, because inodes and times differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint
from packrunner.engines.frames import protocol_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Lines = dict[bytes, bytes]
"""By path, the rest of its line; "" is the tree's root."""

_HEADING = b"packrunner-twin 1"
_FIELDS = 5
_DIRECTORY = b"4"
_KIND = {b"1": b"fifo", b"14": b"socket"}


def lines(table: bytes) -> Lines:
    """A table by its paths. Raises EngineError (`sandbox-protocol`) for what is none: it may come from a sandbox."""
    found: Lines = {}
    try:
        for line in fingerprint.body(table).split(b"\n")[:-1]:
            facts, path = _split(line)
            found[path] = facts
    except ValueError as e:
        raise protocol_error("a table of files cannot be read") from e
    return found


def _split(line: bytes) -> tuple[bytes, bytes]:
    fields = line.split(b" ", _FIELDS)
    if len(fields) != _FIELDS + 1 or not all(field.lstrip(b"-").isdigit() for field in fields[:_FIELDS]):
        raise ValueError(line)
    path = fields[_FIELDS].replace(b"\0", b"\n")
    if path and any(part in {b"", b".", b".."} for part in path.split(b"/")):
        raise ValueError(line)
    return b" ".join(fields[:_FIELDS]), path


def is_directory(facts: bytes) -> bool:
    """Whether a line is a directory's."""
    return facts.startswith(_DIRECTORY) and facts.index(b" ") == 5


def is_plain(facts: bytes) -> bool:
    """Whether a line is of a file, a directory or a link."""
    return int(facts.split(b" ", 1)[0], 8) & 0o170000 in {0o100000, 0o040000, 0o120000}


def mode(facts: bytes) -> int:
    """The kind and the permissions."""
    return int(facts.split(b" ", 1)[0], 8)


def topmost(paths: Iterable[bytes]) -> list[bytes]:
    """The paths that are below no other one of them."""
    chosen: list[bytes] = []
    for path in sorted(paths, key=lambda p: p.split(b"/")):
        if not (chosen and path.startswith(chosen[-1] + b"/")):
            chosen.append(path)
    return chosen


def with_parents(paths: Iterable[bytes]) -> list[bytes]:
    """The paths and the directories above them, each before what is in it; the root is left out."""
    found = set(paths)
    for path in tuple(found):
        above = path.rpartition(b"/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition(b"/")[0]
    return sorted(found - {b""}, key=lambda p: p.split(b"/"))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one side has to take over: paths to write, parents first, and the topmost ones to remove."""

    fresh: list[bytes]
    gone: list[bytes]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.fresh and not self.gone


def below(path: bytes, place: bytes) -> bool:
    """Whether a path is at a place or below it."""
    return not place or path == place or path.startswith(place + b"/")


def change(known: Mapping[bytes, bytes], now: Lines, others: Iterable[bytes], place: bytes = b"") -> Change:
    """What of `now` was not `known` of the same side, and which of `others`, at a place, are not in it."""
    fresh = [path for path, facts in now.items() if known.get(path) != facts and path]
    return Change(fresh=fresh, gone=topmost(path for path in others if path not in now and path and below(path, place)))


def encode(host: Lines, inside: Lines) -> bytes:
    """Both sides of the paths that are known on both."""
    rows = [
        b"%b %b %b" % (host[path], facts, path.replace(b"\n", b"\0")) for path, facts in inside.items() if path in host
    ]
    return b"\n".join((_HEADING, *rows, b""))


def decode(data: bytes) -> tuple[Lines, Lines]:
    """What `encode` kept; nothing where the file is of another version, or cut."""
    heading, _, rest = data.partition(b"\n")
    host: Lines = {}
    inside: Lines = {}
    if heading != _HEADING or not rest.endswith(b"\n"):
        return host, inside
    for row in rest.split(b"\n")[:-1]:
        fields = row.split(b" ", 2 * _FIELDS)
        if len(fields) != 2 * _FIELDS + 1:
            return {}, {}
        path = fields[-1].replace(b"\0", b"\n")
        host[path] = b" ".join(fields[:_FIELDS])
        inside[path] = b" ".join(fields[_FIELDS : 2 * _FIELDS])
    return host, inside
