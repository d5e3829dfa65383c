"""The entries of a package's tar.

Only what Debian's tools write is read, and read strictly: one meaning for every byte, no sparse files, no devices, no
names that climb. A package that has anything else is refused whole (ARC-01, -02, -06, -18, -20 to -24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.bases.deb import Content

Kind = Literal["file", "dir", "link", "hardlink"]

_BLOCK = 512
_MAX_NAME = 4096
_MAX_PAX = 1 << 16
_MAX_ENTRIES = 200_000
_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"5": "dir", b"2": "link", b"1": "hardlink"}
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=\n]+)=")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tar: `name` has no leading `./`, and is b"" for the root; `mtime` in seconds, `size` in bytes."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes


def members(content: Content) -> Iterator[Member]:
    """The entries of a tar. A file's content is read from `content`, wholly or not at all, before the next entry."""
    long_name = long_target = b""
    pax: dict[bytes, bytes] = {}
    for _ in range(_MAX_ENTRIES):
        header = content.read(_BLOCK)
        if not header.strip(b"\0"):
            content.finish()
            return
        size = _checked(header, content)
        kind = header[156:157]
        if kind in b"LKx":
            value = _extension(content, size)
            if (kind == b"L" and long_name) or (kind == b"K" and long_target) or (kind == b"x" and pax):
                content.refuse("two extended headers for one entry")
            if kind == b"L":
                long_name = value.rstrip(b"\0")
            elif kind == b"K":
                long_target = value.rstrip(b"\0")
            else:
                pax = _pax(value, content)
            continue
        member = _entry(header, size, (long_name, long_target), pax, content)
        long_name, long_target, pax = b"", b"", {}
        before = content.consumed
        yield member
        read = content.consumed - before
        if read not in {0, member.size}:
            content.refuse("an entry was read in part")
        for _ in content.copy(member.size - read):
            pass
        content.read(-member.size % _BLOCK)
    content.refuse(f"it has more than {_MAX_ENTRIES} entries")


def _checked(header: bytes, content: Content) -> int:
    """Verify a header's checksum; returns its size field."""
    if sum(header) - sum(header[148:156]) + 256 != _octal(header[148:156], content):
        content.refuse("a tar header is damaged")
    if header[257:262] != b"ustar":
        content.refuse("a tar header is of an unknown kind")
    return _octal(header[124:136], content)


def _octal(field: bytes, content: Content) -> int:
    text = field.strip(b" \0")
    if not text:
        return 0
    if not re.fullmatch(rb"[0-7]{1,11}", text):
        content.refuse("a number in a tar header cannot be read")
    return int(text, 8)


def _extension(content: Content, size: int) -> bytes:
    if size > _MAX_PAX:
        content.refuse("an extended header is too long")
    value = content.read(size)
    content.read(-size % _BLOCK)
    return value


def _pax(data: bytes, content: Content) -> dict[bytes, bytes]:
    """Records of length, key and value, of which only paths are expected; sizes and owners stay in the header."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        match = _PAX_RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if not match or end > len(data) or end <= match.end() or data[end - 1 : end] != b"\n":
            content.refuse("an extended header is damaged")
        if match[2] not in {b"path", b"linkpath", b"mtime", b"atime", b"ctime"}:
            content.refuse(f"an extended header sets {match[2][:40]!r}")
        records[match[2]] = data[match.end() : end - 1]
        at = end
    return records


def _entry(header: bytes, size: int, long: tuple[bytes, bytes], pax: dict[bytes, bytes], content: Content) -> Member:
    kind = _KINDS.get(header[156:157])
    if kind is None:
        content.refuse(f"it has an entry of type {header[156:157]!r}: only files, directories and links belong in it")
    name = header[:100].rstrip(b"\0")
    if header[257:263] == b"ustar\0" and header[345:500].strip(b"\0"):
        name = header[345:500].rstrip(b"\0") + b"/" + name
    target = header[157:257].rstrip(b"\0")
    name = _plain(pax.get(b"path") or long[0] or name, content)
    target = pax.get(b"linkpath") or long[1] or target
    if kind == "hardlink":
        target = _plain(target, content)
    if (kind in {"link", "hardlink"} and (not target or b"\0" in target)) or (kind != "dir" and not name):
        content.refuse(f"its entry {name!r} of kind {kind} makes no sense")
    if kind != "file" and size:
        content.refuse(f"its entry {name!r} of kind {kind} has a content")
    return Member(
        name=name,
        kind=kind,
        mode=_octal(header[100:108], content) & 0o7777,
        uid=_octal(header[108:116], content),
        gid=_octal(header[116:124], content),
        size=size,
        mtime=_octal(header[136:148], content),
        target=target,
    )


def _plain(name: bytes, content: Content) -> bytes:
    """`./usr/bin/` as `usr/bin`. Anything that could lead elsewhere is refused, not repaired."""
    parts = name.split(b"/")
    if parts and parts[0] == b".":
        parts = parts[1:]
    if parts and parts[-1] == b"":
        parts = parts[:-1]
    if len(name) > _MAX_NAME or b"\0" in name or any(part in {b"", b".", b".."} for part in parts):
        raise UnsafeArchiveError(
            f"the package {content.package} has an entry named {name[:200]!r}",
            slug="unsafe-archive",
            cause="it does not name a place inside the tree",
        )
    return b"/".join(parts)
