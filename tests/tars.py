"""Tar archives from raw headers, and trees as plain values, for tests of what reads and writes them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

END = bytes(1024)


def header(
    name: bytes,
    *,
    kind: bytes = b"0",
    size: int | bytes = 0,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 1_000_000_000,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: int | None = None,
) -> bytes:
    """One header block; fields given as bytes are taken as they are."""

    def number(value: int | bytes, width: int) -> bytes:
        return value.ljust(width, b"\0") if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)

    before = name.ljust(100, b"\0") + number(mode, 8) + number(uid, 8) + number(gid, 8) + number(size, 12)
    before += number(mtime, 12)
    after = kind + link.ljust(100, b"\0") + magic + bytes(64) + b"0000000\0" * 2 + prefix.ljust(167, b"\0")
    total = sum(before) + sum(after) + 8 * 32 if checksum is None else checksum
    block = before + b"%06o\0 " % total + after
    assert len(block) == 512, len(block)
    return block


def body(data: bytes) -> bytes:
    """Content with its padding."""
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"", **more: int) -> bytes:
    """A regular file."""
    return header(name, size=len(data), **more) + body(data)  # type: ignore[arg-type] # numbers only


def folder(name: bytes, **more: int) -> bytes:
    """A directory."""
    return header(name, kind=b"5", **{"mode": 0o755, **more})  # type: ignore[arg-type]


def link(name: bytes, to: bytes) -> bytes:
    """A symbolic link."""
    return header(name, kind=b"2", link=to, mode=0o777)


def hard(name: bytes, to: bytes) -> bytes:
    """A hard link."""
    return header(name, kind=b"1", link=to)


def long(kind: bytes, data: bytes) -> bytes:
    """A GNU long name (L), long link (K), or extended header (x, g) of raw data."""
    return header(b"././@LongLink", kind=kind, size=len(data)) + body(data)


def pax(records: Mapping[str, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    data = b""
    for key, value in records.items():
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        data += b"%d" % length + rest
    return long(kind, data)


def tree(root: str | os.PathLike[str]) -> dict[str, tuple[str, int, object]]:
    """Everything below `root`: path to kind, permission bits and content (bytes, or where a link leads)."""
    found: dict[str, tuple[str, int, object]] = {}
    for directory, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(directory, name)
            st = os.lstat(path)
            rel = os.path.relpath(path, root)
            bits = stat.S_IMODE(st.st_mode)
            if stat.S_ISLNK(st.st_mode):
                found[rel] = ("link", 0, os.readlink(path))
            elif stat.S_ISDIR(st.st_mode):
                found[rel] = ("dir", bits, None)
            elif stat.S_ISREG(st.st_mode):
                with open(path, "rb") as stream:
                    found[rel] = ("file", bits, stream.read())
            else:
                found[rel] = ("other", bits, st.st_rdev)
    return found


def sentinel(path: str | os.PathLike[str]) -> tuple[object, ...]:
    """All about a file that must not change."""
    st = os.lstat(path)
    with open(path, "rb") as stream:
        return stream.read(), st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink, st.st_ctime_ns
