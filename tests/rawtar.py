"""Tar archives byte by byte, as wrong as a test wants them; and what a tree looks like, for comparison."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

MTIME = 1_700_000_000
END = bytes(1024)
OUT = b"@OUT@"
"""In link targets: replaced by the path of the directory that must stay as it is."""


def field(value: int | bytes, width: int) -> bytes:
    """A number as octal text; bytes as they are."""
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """A number as GNU tar writes those that are too large or negative for octal text."""
    if value < 0:
        return value.to_bytes(width, "big", signed=True)
    return b"\x80" + value.to_bytes(width - 1, "big")


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = MTIME,
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: int | bytes | None = None,
    end: bytes = b"",
) -> bytes:
    before = name.ljust(100, b"\0") + field(mode, 8) + field(uid, 8) + field(gid, 8)
    before += field(size, 12) + field(mtime, 12)
    after = kind + target.ljust(100, b"\0") + magic + bytes(64) + bytes(16) + prefix
    after = after.ljust(512 - 156 - len(end), b"\0") + end
    total = sum(before) + sum(after) + 8 * 32 if checksum is None else checksum
    return before + (total if isinstance(total, bytes) else b"%06o\0 " % total) + after


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def entry(name: str | bytes, content: bytes = b"", kind: bytes = b"0", **fields: Any) -> bytes:
    """A header and its content; a name that is too long is cut."""
    raw = name.encode() if isinstance(name, str) else name
    return header(raw[:100], kind, **{"size": len(content), **fields}) + padded(content)


def directory(name: str | bytes, mode: int = 0o755, **fields: Any) -> bytes:
    return entry(name, kind=b"5", mode=mode, **fields)


def link(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    raw = target.encode() if isinstance(target, str) else target
    return entry(name, kind=b"2", target=raw, mode=0o777, **fields)


def hard_link(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    raw = target.encode() if isinstance(target, str) else target
    return entry(name, kind=b"1", target=raw, **fields)


def record(key: bytes, value: bytes) -> bytes:
    """`length key=value`; the length counts itself."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d%b" % (length, rest)


def pax(kind: bytes = b"x", /, **records: bytes | str) -> bytes:
    """An extended header; `__` in a key stands for a dot."""
    data = b"".join(
        record(key.replace("__", ".").encode(), value.encode() if isinstance(value, str) else value)
        for key, value in records.items()
    )
    return entry(b"pax", data, kind)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return entry(b"././@LongLink", name + b"\0", kind)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + END


def table(root: str | os.PathLike[str], *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Every entry of a tree, the root too: type and mode, owner, links, time, and what it holds."""
    found: dict[str, tuple[Any, ...]] = {}
    pending = [""]
    while pending:
        path = pending.pop()
        full = os.path.join(root, path) if path else os.fspath(root)
        st = os.lstat(full)
        holds: Any = None
        if stat.S_ISLNK(st.st_mode):
            holds = os.readlink(full)
        elif stat.S_ISREG(st.st_mode):
            with open(full, "rb") as file:
                holds = hashlib.sha256(file.read()).hexdigest()
        elif stat.S_ISDIR(st.st_mode):
            pending += [os.path.join(path, name) for name in os.listdir(full)]
        links = st.st_nlink if stat.S_ISREG(st.st_mode) else 0
        found[path] = (oct(st.st_mode), st.st_uid, st.st_gid, links, st.st_mtime_ns if times else 0, holds)
    return found


def contents(root: str | os.PathLike[str]) -> dict[str, str]:
    """What a tree holds, short: "dir", "-> target", "whiteout", or a file's text."""
    found: dict[str, str] = {}
    for path in table(root):
        full = os.path.join(root, path)
        st = os.lstat(full)
        if not path:
            continue
        if stat.S_ISLNK(st.st_mode):
            found[path] = "-> " + os.readlink(full)
        elif stat.S_ISDIR(st.st_mode):
            found[path] = "dir"
        elif stat.S_ISREG(st.st_mode):
            with open(full, encoding="latin-1") as file:
                found[path] = file.read()
        else:
            found[path] = "whiteout" if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0 else "special"
    return found
