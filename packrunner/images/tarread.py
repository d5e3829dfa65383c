"""A strict, fast reader of tar archives: ustar, pax and GNU long names. What tools read in two ways is refused.

No length is believed before it was bounded, and every entry is what GNU tar and Go's reader take it for (ARC-20 to 24).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import adler32

from packrunner.errors import UnsafeArchiveError
from packrunner.images.source import Source, corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
FILE, HARD_LINK, LINK, DIRECTORY = b"0", b"1", b"2", b"5"
DEVICES = frozenset((b"3", b"4", b"6"))
_FILES = frozenset((b"0", b"\0", b"7"))
_HEADER_ONLY = frozenset((HARD_LINK, LINK, DIRECTORY, *DEVICES))
_LONG = {b"L": "path", b"K": "linkpath"}
_META_LIMIT = 1 << 20
_TOO_LATE = 1 << 33
_EMPTY = bytes(BLOCK)


@dataclass(slots=True)
class Member:
    """One entry. `kind` is one of the constants above or of DEVICES; `mtime` is in nanoseconds, clamped (ARC-36)."""

    kind: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    odd_time: bool = False


class TarReader:
    """The members of an archive, in order. Read or skip a member's content before the next one is asked for."""

    def __init__(self, source: Source, *, entries: int, name: int, whole: bool) -> None:
        self._source = source
        self._entries = entries
        self._name_limit = name
        # Without a digest to tell, only the end mark shows that an archive was not cut between entries.
        self._whole = whole
        self._data = b""
        self._at = 0
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        count = 0
        while (block := self._header()) is not None:
            count += 1
            if count > self._entries:
                raise UnsafeArchiveError(f"the archive has more than {self._entries} entries", slug="archive-too-large")
            member = self._member(block)
            self._left = member.size
            self._padding = -member.size % BLOCK
            yield member
            self._skip(self._left + self._padding)
            self._left = self._padding = 0

    def content(self) -> Iterator[bytes]:
        """The content of the member at hand, in pieces."""
        while self._left:
            if self._at == len(self._data):
                self._fill()
            piece = self._data[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            yield piece

    def _fill(self) -> None:
        data = self._source.read()
        if not data:
            raise corrupt("the archive is cut short", "it ends within an entry")
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        """The next bytes; only for sizes that were checked."""
        if len(self._data) - self._at >= size:
            self._at += size
            return self._data[self._at - size : self._at]
        parts = []
        while size:
            if self._at == len(self._data):
                self._fill()
            part = self._data[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size:
            if self._at == len(self._data):
                self._fill()
            step = min(size, len(self._data) - self._at)
            self._at += step
            size -= step

    def _ended(self) -> bool:
        if self._at < len(self._data):
            return False
        self._data = self._source.read()
        self._at = 0
        return not self._data

    def _header(self) -> bytes | None:
        """The next header; None at the end of the archive."""
        if self._ended():
            if self._whole:
                return None
            raise corrupt("the archive is cut short", "it has no end mark")
        block = self._take(BLOCK)
        if block != _EMPTY:
            return block
        if not self._ended() and self._take(BLOCK) != _EMPTY:
            raise corrupt("the archive is damaged", "an empty block between entries")
        return None

    def _member(self, block: bytes) -> Member:
        """An entry with all that is written before it about it."""
        about: dict[str, bytes] = {}
        origin = b""
        while (kind := block[156:157]) in b"xgLK":
            _check_sum(block)
            size = _number(block[124:136], "size")
            if size > _META_LIMIT:
                raise UnsafeArchiveError(f"an entry's name or attributes claim {size} bytes", slug="archive-too-large")
            data = self._take(size)
            self._skip(-size % BLOCK)
            if kind != b"g":
                _merge(about, origin, kind, data)
                origin += kind
            following = self._header()
            if following is None:
                raise corrupt("the archive is damaged", "its last entry has attributes only")
            block = following
        _check_sum(block)
        return self._plain(block, about)

    def _plain(self, block: bytes, about: dict[str, bytes]) -> Member:
        name = about.get("path") or _plain_name(block)
        link = about.get("linkpath") or block[157:257].split(b"\0", 1)[0]
        if b"\0" in name or b"\0" in link:
            raise corrupt("the archive is damaged", "a name contains NUL")
        if len(name) > self._name_limit or len(link) > self._name_limit:
            raise UnsafeArchiveError(
                f"a name of {max(len(name), len(link))} bytes is too long",
                slug="archive-too-large",
                cause=f"the limit is {self._name_limit}: {name[:60]!r}...",
            )
        kind = block[156:157]
        size = _pax_number(about, "size", block[124:136])
        if kind in _FILES:
            kind = DIRECTORY if name.endswith(b"/") and kind == b"\0" else FILE
        elif kind not in _HEADER_ONLY:
            raise UnsafeArchiveError(f"{name[:200]!r} is of the unknown kind {kind!r}", slug="unsafe-archive")
        if kind != FILE and size:
            raise UnsafeArchiveError(
                f"{name[:200]!r} can be read in two ways", slug="unsafe-archive", cause="a content where none belongs"
            )
        mtime, odd = _time(about.get("mtime"), block[136:148])
        return Member(
            kind,
            name,
            link,
            _number(block[100:108], "mode") & 0o7777,
            _pax_number(about, "uid", block[108:116]),
            _pax_number(about, "gid", block[116:124]),
            size,
            mtime,
            odd,
        )


def _plain_name(block: bytes) -> bytes:
    name = block[:100].split(b"\0", 1)[0]
    # GNU's magic has other things where POSIX has the prefix.
    if block[257:263] == b"ustar\0" and block[345]:
        return block[345:500].split(b"\0", 1)[0] + b"/" + name
    return name


def _check_sum(block: bytes) -> None:
    # Adler-32 begins with 1 and adds bytes modulo 65521; the checksum's own field counts as spaces.
    found = adler32(block[156:], adler32(b"        ", adler32(block[:148]))) & 0xFFFF
    said = _number(block[148:156], "checksum")
    if found != (said + 1) % 65521 or said > BLOCK * 0xFF:
        raise corrupt("the archive is damaged", "a header has a wrong checksum")


def _number(field: bytes, what: str) -> int:
    """Octal digits, or GNU's base 256; never negative (ARC-23, ARC-37)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] != 0x80 or value >> 62:
            raise corrupt("the archive is damaged", f"{what} is negative or too large")
        return value
    text = field.split(b"\0", 1)[0].strip(b" ")
    if text.strip(b"01234567"):
        raise corrupt("the archive is damaged", f"{what} is no number: {text!r}")
    return int(text or b"0", 8)


def _pax_number(about: dict[str, bytes], key: str, field: bytes) -> int:
    text = about.get(key)
    if text is None:
        return _number(field, key)
    if not text.isdigit() or len(text) > 18:
        raise corrupt("the archive is damaged", f"{key} is no number: {text[:40]!r}")
    return int(text)


def _time(text: bytes | None, field: bytes) -> tuple[int, bool]:
    """Nanoseconds since 1970 between 0 and 2^33 seconds, and whether it had to be clamped."""
    if text is None:
        if field[0] & 0x80:
            return (0, True) if field[0] & 0x40 else (_TOO_LATE * 10**9, True)
        seconds = _number(field, "mtime")
        return min(seconds, _TOO_LATE) * 10**9, seconds > _TOO_LATE
    whole, _, part = text.partition(b".")
    if not whole.isdigit() or (part and not part.isdigit()):
        return 0, True
    if len(whole) > 10 or int(whole) > _TOO_LATE:
        return _TOO_LATE * 10**9, True
    return int(whole) * 10**9 + int(part[:9].ljust(9, b"0")), False


def _merge(about: dict[str, bytes], origin: bytes, kind: bytes, data: bytes) -> None:
    """Take over attributes; several headers that could contradict each other are refused (ARC-21)."""
    if kind in origin or (origin and b"x" in origin + kind):
        raise corrupt("the archive is damaged", "two headers for the attributes of one entry")
    if kind != b"x":
        about[_LONG[kind]] = data.split(b"\0", 1)[0]
        return
    for key, value in _records(data):
        if key.startswith("GNU.sparse"):
            raise UnsafeArchiveError("the archive has a sparse file, which is not supported", slug="unsafe-archive")
        if key in about:
            raise corrupt("the archive is damaged", f"{key} is said twice of one entry")
        if value:
            about[key] = value


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The records of an extended header: `length key=value` and a line feed."""
    at = 0
    while at < len(data):
        digits = data[at : at + 8].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or length < 5 or record[-1:] != b"\n" or not equals or not key:
            raise corrupt("the archive is damaged", "an extended header is malformed")
        yield key.decode("utf-8", "replace"), value
        at += length
