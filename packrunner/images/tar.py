"""Tar headers for reproducible layers: POSIX ustar, with an extended (pax) header only where a field is too small.

Every entry has the time 315532801 and no user or group name (EXP-07). The same facts always give the same bytes.
"""

from __future__ import annotations

from zlib import adler32

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two empty blocks end an archive."""

PADDING = tuple(bytes(-size % BLOCK) for size in range(BLOCK))
"""What follows a content, by its size modulo 512."""

FILE, LINK, DIRECTORY, EXTENDED = b"0", b"2", b"5", b"x"
MTIME = b"%011o\0" % 315532801

NAME = 100
"""Bytes of a name without a prefix."""
_PREFIX = 155
_MAX_ID, _MAX_SIZE = 0o7777777, 0o77777777777
_EXTENDED_NAME = b"pax"


def owner_field(mode: int, uid: int, gid: int) -> bytes:
    """The header's bytes from the mode to the group."""
    return b"%07o\0%07o\0%07o\0" % (mode, min(uid, _MAX_ID), min(gid, _MAX_ID))


def tail(kind: bytes, link: bytes = b"", prefix: bytes = b"") -> bytes:
    """The header's bytes after the checksum."""
    names = bytes(64)
    devices = b"0000000\0" * 2
    return kind + link.ljust(NAME, b"\0") + b"ustar\x0000" + names + devices + prefix.ljust(_PREFIX + 12, b"\0")


def byte_sum(data: bytes) -> int:
    """The sum of bytes of fewer than 256 that are not 0, which Adler-32 computes at the speed of C."""
    return (adler32(data) & 0xFFFF) - 1


def split(path: bytes) -> tuple[bytes, bytes] | None:
    """A path as ustar's prefix and name; None where it does not fit. The longest prefix wins."""
    if len(path) <= NAME:
        return b"", path
    cut = path.rfind(b"/", 0, min(_PREFIX + 1, len(path) - 1))
    if cut <= 0 or len(path) - cut - 1 > NAME:
        return None
    return path[:cut], path[cut + 1 :]


def header(
    kind: bytes,
    path: bytes,
    *,
    mode: int,
    uid: int,
    gid: int,
    size: int = 0,
    link: bytes = b"",
    mtime: int | None = None,
) -> bytes:
    """The header of one entry, its extended header before it where it needs one; layers have the one fixed time."""
    time = MTIME if mtime is None else b"%011o\0" % min(max(mtime, 0), _MAX_SIZE)
    extended: list[tuple[bytes, bytes]] = []
    parts = split(path) if path.isascii() else None
    if parts is None:
        extended.append((b"path", path))
        parts = b"", _fallback(path)
    if len(link) > NAME or not link.isascii():
        extended.append((b"linkpath", link))
        link = _fallback(link)
    extended += [(key, b"%d" % value) for key, value in ((b"uid", uid), (b"gid", gid)) if value > _MAX_ID]
    if size > _MAX_SIZE:
        extended.append((b"size", b"%d" % size))
    plain = _block(
        parts, owner_field(mode, uid, gid), 0 if size > _MAX_SIZE else size, tail(kind, link, parts[0]), time
    )
    if not extended:
        return plain
    records = b"".join(sorted(_record(key, value) for key, value in extended))
    before = _block((b"", _EXTENDED_NAME), owner_field(0o644, 0, 0), len(records), tail(EXTENDED))
    return b"".join((before, records, PADDING[len(records) % BLOCK], plain))


def _block(parts: tuple[bytes, bytes], owner: bytes, size: int, rest: bytes, time: bytes = MTIME) -> bytes:
    before = b"%b%b%011o\0%b" % (parts[1].ljust(NAME, b"\0"), owner, size, time)
    # The checksum counts its own field as eight spaces.
    return b"%b%06o\0 %b" % (before, sum(before) + sum(rest) + 8 * 0x20, rest)


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value`, the length counting its own digits."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _fallback(path: bytes) -> bytes:
    """What readers without pax see: as much of the name as fits, in ASCII."""
    return bytes(byte if byte < 0x80 else 0x5F for byte in path[:NAME])  # "_"
