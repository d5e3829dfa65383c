"""Reading .deb files: an `ar` archive of two tars, `control` and `data`, each compressed or not.

Sizes are bounded, and what is cut or has something after its end is refused (ARC-25, ARC-27, ARC-28).
"""

from __future__ import annotations

import lzma
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

from packrunner.bases.members import members
from packrunner.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_CHUNK = 1 << 20
_MAX_BYTES = 4 << 30


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


def _bad(package: str, why: str) -> CorruptError:
    return CorruptError(f"the package {package} cannot be unpacked", slug="deb", cause=why)
