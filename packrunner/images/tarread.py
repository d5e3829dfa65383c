"""Reading tar streams that others wrote: ustar, pax and GNU names, each byte with one meaning only.

What readers are known to disagree about is refused, not guessed: sparse files, two long names for one entry, contents
of things that have none, numbers that are none. Extended headers that are meant for all entries change none
(ARC-20 to ARC-24). Where an entry goes is none of this module's business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn
from zlib import adler32

from packrunner.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["file", "dir", "link", "hardlink", "device", "fifo"]

BLOCK = 512
LONGEST_HEADER = 1 << 20
"""Bytes that an extended header may have."""

_ZERO = bytes(BLOCK)
_NOTHING = memoryview(b"")
_CHECKSUM = slice(148, 156)
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "link",
    b"3": "device",
    b"4": "device",
    b"5": "dir",
    b"6": "fifo",
}
_SIZES = 1 << 63
_IDS = (1 << 32) - 1  # the last one means "do not change" to chown (ARC-37)
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=]+)=")
_TIME = re.compile(rb"(-?)([0-9]{1,24})(?:\.([0-9]*))?")
_OWNERS_KEPT = 256


class Member(NamedTuple):
    """One entry. A tuple, because making one is most of the cost of an entry.

    `name` and `target` are as they stand in the archive; `mtime` is in nanoseconds, None where it cannot be read;
    `mode` has no file type; `attributes`: it has extended attributes.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int | None
    target: bytes
    attributes: bool


class Tape:
    """Bytes in order, from pieces of any size but zero."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer at the end only."""
        end = self._at + size
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            return data
        parts: list[bytes] = []
        while size and (view := self.some(size)):
            parts.append(bytes(view))
            size -= len(view)
        return b"".join(parts)

    def some(self, size: int) -> memoryview:
        """From one to `size` bytes, without a copy; none at the end only."""
        if self._at == len(self._piece):
            self._piece = next(self._pieces, b"")
            self._at = 0
        view = memoryview(self._piece)[self._at : self._at + size]
        self._at += len(view)
        return view

    def skip(self, size: int) -> bool:
        """Pass over `size` bytes; says whether there were as many."""
        end = self._at + size
        if end <= len(self._piece):
            self._at = end
            return True
        while size and (view := self.some(size)):
            size -= len(view)
        return not size


class _Extended(NamedTuple):
    """What goes before an entry: pax records, or GNU's long name and long target."""

    pax: dict[bytes, bytes] | None = None
    name: bytes | None = None
    target: bytes | None = None


class TarReader:
    """Iterates over the entries of a tar; `what` names it in errors: "the layer 0123456789ab".

    A file's content is read with `content` before the next entry is asked for; what is left of it is passed over.
    Raises CorruptError, slug `archive-corrupt`.
    """

    def __init__(self, tape: Tape, what: str) -> None:
        self.ended = False
        """Whether the end of the archive was marked: without a mark it may have been cut between two entries."""
        self._tape = tape
        self._what = what
        self._left = 0
        self._padding = 0
        self._name = b""
        self._owners: dict[bytes, tuple[int, int, int]] = {}

    def __iter__(self) -> Iterator[Member]:
        extended = _Extended()
        while header := self._header():
            kind = header[156:157]
            size = self._number(header[124:136], "size")
            if kind == b"g":
                if extended != _Extended():
                    self.refuse("an extended header is followed by one for all entries")
                self._records(self._long(size))
            elif kind in b"xLK":
                extended = self._extend(extended, kind, self._long(size))
            else:
                member = self._member(header, kind, size, extended)
                extended = _Extended()
                yield member
                self._pass_over()
        if extended != _Extended():
            self.refuse("its last entry is missing")

    def content(self) -> memoryview:
        """The next bytes of the current entry's content; none at its end."""
        if not self._left:
            return _NOTHING
        view = self._tape.some(self._left)
        if not view:
            self.refuse(f"it ends inside {shown(self._name)}")
        self._left -= len(view)
        return view

    def refuse(self, why: str) -> NoReturn:
        """Raise the error for a malformed archive."""
        raise CorruptError(f"{self._what} cannot be unpacked", slug="archive-corrupt", cause=why)

    def _header(self) -> bytes:
        """The next header, verified; b"" at the end."""
        header = self._tape.read(BLOCK)
        if len(header) < BLOCK:
            if header:
                self.refuse("it ends inside a header")
            return b""
        if header == _ZERO:
            # The second block of the end; some writers leave it out.
            if self._tape.read(BLOCK).strip(b"\0"):
                self.refuse("data follows half of an end mark")
            self.ended = True
            return b""
        expected = self._number(header[_CHECKSUM], "checksum")
        # Adler-32's low half is the sum of fewer than 257 bytes, plus one; a checksum counts its own field as spaces.
        total = (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2
        if total - sum(header[_CHECKSUM]) + 256 != expected and _signed(header) != expected:
            self.refuse("a header is damaged, or this is no tar archive")
        return header

    def _pass_over(self) -> None:
        if (self._left or self._padding) and not self._tape.skip(self._left + self._padding):
            self.refuse(f"it ends inside {shown(self._name)}")
        self._left = self._padding = 0

    def _long(self, size: int) -> bytes:
        """The content of an extended header."""
        if size > LONGEST_HEADER:
            self.refuse(f"an extended header has {size} bytes, more than {LONGEST_HEADER}")
        data = self._tape.read(size)
        if len(data) < size or not self._tape.skip(-size % BLOCK):
            self.refuse("it ends inside an extended header")
        return data

    def _extend(self, before: _Extended, kind: bytes, data: bytes) -> _Extended:
        # Readers differ in which of two kinds wins, and in what a second one of a kind means (ARC-21).
        second = before.name if kind == b"L" else before.target
        if before.pax is not None or second is not None or (kind == b"x" and before != _Extended()):
            self.refuse("two extended headers come before one entry")
        if kind == b"x":
            return _Extended(pax=self._records(data))
        text = data.rstrip(b"\0")
        if b"\0" in text or not text:
            self.refuse("a long name is empty, or has a NUL byte")
        return before._replace(name=text) if kind == b"L" else before._replace(target=text)

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        records: dict[bytes, bytes] = {}
        at = 0
        while at < len(data):
            match = _RECORD.match(data, at)
            end = at + int(match[1]) if match else 0
            if not match or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                self.refuse("an extended header is damaged")
            records[match[2]] = data[match.end() : end - 1]
            at = end
        return records

    def _member(self, header: bytes, kind_field: bytes, size: int, extended: _Extended) -> Member:
        name = extended.name or _name(header)
        target = extended.target or header[157:257].partition(b"\0")[0]
        mode, uid, gid = self._owners.get(header[100:124]) or self._owner(header)
        mtime = self._time(header[136:148])
        attributes = False
        if pax := extended.pax:
            if any(key.startswith(b"GNU.sparse.") for key in pax):
                self.refuse(f"{shown(name)} is sparse, which layers cannot be")
            name = pax.get(b"path") or name
            target = pax.get(b"linkpath") or target
            size = self._decimal(pax, b"size", size, _SIZES)
            uid = self._decimal(pax, b"uid", uid, _IDS)
            gid = self._decimal(pax, b"gid", gid, _IDS)
            if pax.get(b"mtime"):
                mtime = _pax_time(pax[b"mtime"])
            attributes = any(key.startswith((b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")) for key in pax)
        kind = self._kind(kind_field, name, size)
        if b"\0" in name or b"\0" in target:
            self.refuse(f"{shown(name)} has a NUL byte in its name or target")
        self._name, self._left, self._padding = name, size, -size % BLOCK
        return Member(name, kind, mode, uid, gid, size, mtime, target, attributes)

    def _kind(self, field: bytes, name: bytes, size: int) -> Kind:
        kind = _KINDS.get(field)
        if kind is None:
            what = "is sparse, which layers cannot be" if field == b"S" else f"is of the unknown type {field!r}"
            self.refuse(f"{shown(name)} {what}")
        if kind == "file" and name.endswith(b"/"):
            # The oldest archives have no type for directories.
            if field != b"\0" or size:
                self.refuse(f"{shown(name)} is a file with the name of a directory")
            return "dir"
        if kind != "file" and size:
            self.refuse(f"{shown(name)} is no file, but has {size} bytes")
        return kind

    def _owner(self, header: bytes) -> tuple[int, int, int]:
        """Mode, user and group; remembered, as few archives have many different ones."""
        mode = self._number(header[100:108], "mode") & 0o7777
        uid, gid = self._number(header[108:116], "user"), self._number(header[116:124], "group")
        if uid >= _IDS or gid >= _IDS:
            self.refuse(f"there is no user and group {uid}:{gid}")
        if len(self._owners) >= _OWNERS_KEPT:
            self._owners.clear()
        self._owners[header[100:124]] = (mode, uid, gid)
        return mode, uid, gid

    def _number(self, field: bytes, what: str) -> int:
        """An octal field, or GNU's binary one."""
        value = _octal(field)
        if value is None and field[0] == 0x80:
            value = int.from_bytes(field[1:], "big")
        if value is None or value >= _SIZES:
            self.refuse(f"a header has a {what} that is no number, or out of range")
        return value

    def _time(self, field: bytes) -> int | None:
        """The same, but a time may be before 1970, and one that cannot be read harms nobody (ARC-36)."""
        seconds = _octal(field)
        if seconds is None and field[0] in {0x80, 0xFF}:
            seconds = int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
        return None if seconds is None else seconds * 1_000_000_000

    def _decimal(self, pax: dict[bytes, bytes], key: bytes, plain: int, limit: int) -> int:
        """A number of an extended header, which wins over the plain one; an empty one takes the plain one back."""
        text = pax.get(key)
        if not text:
            return plain
        if not text.isdigit() or len(text) > 20 or int(text) >= limit:
            self.refuse(f"an extended header has a {key.decode()} that is out of range")
        return int(text)


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \0")
    if not text:
        return 0
    try:
        # int() alone would also take signs, underscores and prefixes.
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def _signed(header: bytes) -> int:
    """The checksum as the oldest writers computed it, by adding signed bytes."""
    rest = header[: _CHECKSUM.start] + header[_CHECKSUM.stop :]
    return sum(rest) - 256 * sum(byte >= 0x80 for byte in rest) + 256


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] != b"ustar\0" or not header[345]:
        return name
    # In star's variant of ustar times follow a shorter prefix.
    prefix = header[345:476] if header[508:512] == b"tar\0" else header[345:500]
    return prefix.partition(b"\0")[0] + b"/" + name


def _pax_time(text: bytes) -> int | None:
    match = _TIME.fullmatch(text)
    if not match:
        return None
    whole, part = int(match[2]), int((match[3] or b"").ljust(9, b"0")[:9])
    return (whole * 1_000_000_000 + part) * (-1 if match[1] else 1)


def shown(name: bytes) -> str:
    """A name for people: nothing in it can move a terminal's cursor (ARC-33)."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]
