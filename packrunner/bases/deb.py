"""Reading .deb files: an `ar` archive of two tars, `control` and `data`, each compressed or not.

Only what Debian's tools write is read, and read strictly: one meaning for every byte, bounded sizes, no sparse files,
no devices, no names that climb. A package that has anything else is refused whole (ARC-01, -02, -18, -20 to -24, -27).
"""

from __future__ import annotations

import lzma
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol

from packrunner.errors import CorruptError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

Kind = Literal["file", "dir", "link", "hardlink"]

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_NAME = 4096
_MAX_PAX = 1 << 16
_MAX_ENTRIES = 200_000
_MAX_BYTES = 4 << 30
_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"5": "dir", b"2": "link", b"1": "hardlink"}
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=\n]+)=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of a tar: `name` has no leading `./`, and is b"" for the root; `mtime` in seconds, `size` in bytes."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool:
        """The end of the compressed data was seen."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """The next bytes."""


class Content:
    """The decompressed bytes of one member of the `ar`, in order. Errors name the package."""

    def __init__(self, file: BinaryIO, size: int, decompressor: _Decompressor | None, package: str) -> None:
        self.package = package
        self._file = file
        self._left = size
        self._decompressor = decompressor
        self._buffer = b""
        self._at = 0
        self._total = 0
        self.consumed = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises CorruptError where the data ends before."""
        self.consumed += size
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        self._buffer, self._at = b"", 0
        while missing > 0:
            chunk = self._next()
            if not chunk:
                self.refuse("it ends too early")
            if len(chunk) > missing:
                self._buffer, self._at = chunk, missing
                chunk = chunk[:missing]
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def copy(self, size: int) -> Iterator[bytes]:
        """`size` bytes in pieces."""
        while size > 0:
            piece = self.read(min(size, _CHUNK))
            size -= len(piece)
            yield piece

    def finish(self) -> None:
        """Read to the end: only zeros may follow, and the compressed data must be complete."""
        rest = self._buffer[self._at :]
        while rest or (rest := self._next()):
            if rest.strip(b"\0"):
                self.refuse("data follows the end of the tar")
            rest = b""
        if self._decompressor and not self._decompressor.eof:
            self.refuse("it ends too early")

    def refuse(self, why: str) -> NoReturn:
        """Raise the CorruptError."""
        raise _bad(self.package, why)

    def _next(self) -> bytes:
        while True:
            if self._decompressor and self._decompressor.eof:
                return b""
            needs = getattr(self._decompressor, "needs_input", True)
            raw = self._file.read(min(self._left, 1 << 16)) if needs else b""
            self._left -= len(raw)
            if needs and not raw and self._left:
                self.refuse("it ends too early")
            chunk = self._decompressed(raw)
            self._total += len(chunk)
            if self._total > _MAX_BYTES:
                self.refuse(f"it unpacks to more than {_MAX_BYTES} bytes")
            if chunk or (needs and not raw):
                return chunk

    def _decompressed(self, raw: bytes) -> bytes:
        if self._decompressor is None:
            return raw
        try:
            return self._decompressor.decompress(raw, _CHUNK)
        except (lzma.LZMAError, zlib.error, EOFError) as error:
            raise _bad(self.package, f"it cannot be decompressed: {error}") from error


class _Gunzip:
    """zlib with the interface of lzma's decompressor."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_DECOMPRESSORS: dict[bytes, Callable[[], _Decompressor | None]] = {
    b"xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    b"gz": _Gunzip,
    b"": lambda: None,
}


@contextmanager
def open_deb(path: str, package: str) -> Iterator[Deb]:
    """Open the .deb at `path`; `package` names it in messages. Raises CorruptError, slug `deb`."""
    with open(path, "rb") as file:
        yield Deb(file, package)


class Deb:
    """The members of an open .deb, which come in a fixed order: control, then data."""

    def __init__(self, file: BinaryIO, package: str) -> None:
        self._file = file
        self._package = package
        if file.read(8) != b"!<arch>\n":
            raise _bad(package, "it is no ar archive")
        name, size = self._header()
        if name != b"debian-binary" or self._file.read(size + size % 2)[:2] != b"2.":
            raise _bad(package, "it is not of format 2")

    def control(self) -> dict[str, bytes]:
        """The files of the control tar by name, such as `control` and `md5sums`."""
        content, end = self._member(b"control.tar")
        files: dict[str, bytes] = {}
        for member in members(content):
            if member.kind == "file":
                if member.size > 16 << 20:
                    content.refuse("its control data is too large")
                files[member.name.decode("utf-8", "replace")] = content.read(member.size)
        self._file.seek(end)
        return files

    def data(self) -> Content:
        """The data tar; for `members`."""
        return self._member(b"data.tar")[0]

    def _member(self, wanted: bytes) -> tuple[Content, int]:
        name, size = self._header()
        stem, _, suffix = name.rpartition(b".")
        if name == wanted:
            stem, suffix = wanted, b""
        if stem != wanted:
            raise _bad(self._package, f"it has {name!r} in the place of {wanted!r}")
        if suffix not in _DECOMPRESSORS:
            kind = suffix.decode("ascii", "replace")
            raise _bad(self._package, f"it is compressed with {kind}, which Debian does not use")
        end = self._file.tell() + size + size % 2
        return Content(self._file, size, _DECOMPRESSORS[suffix](), self._package), end

    def _header(self) -> tuple[bytes, int]:
        header = self._file.read(60)
        size = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not size.isdigit():
            raise _bad(self._package, "it has a damaged ar header")
        return header[:16].rstrip(b" /"), int(size)


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


def _bad(package: str, why: str) -> CorruptError:
    return CorruptError(f"the package {package} cannot be unpacked", slug="deb", cause=why)
