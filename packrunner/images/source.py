"""The bytes of an archive as they are unpacked: decompressed by what they are, hashed, counted, and bounded."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, BinaryIO

from packrunner.errors import CorruptError, UnsafeArchiveError

if TYPE_CHECKING:
    from packrunner.names import Digest

STEP = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {_ZSTD: "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_RATIO_FROM = 256 << 20


def corrupt(brief: str, cause: str | None = None) -> CorruptError:
    """The error for an archive that is not well-formed."""
    return CorruptError(brief, slug="archive-corrupt", cause=cause)


class Source:
    """An archive's plain bytes. The magic decides about decompression, not a media type (ARC-31).

    `ratio` bounds decompression once it gets large (ARC-25). Raises CorruptError for streams that are cut (ARC-27).
    """

    def __init__(self, stream: BinaryIO, *, ratio: int) -> None:
        self._stream = stream
        self._ratio = ratio
        self._stored = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._taken = self._given = 0
        first = self._raw()
        for magic, name in _OTHERS.items():
            if first.startswith(magic):
                raise UnsafeArchiveError(f"archives compressed with {name} are not supported", slug="archive-format")
        self._gzip = zlib.decompressobj(31) if first.startswith(_GZIP) else None
        self._rest = first

    def read(self) -> bytes:
        """Some more plain bytes, about a megabyte at most; empty at the end."""
        data = self._inflate() if self._gzip else self._take()
        self._plain.update(data)
        self._given += len(data)
        if self._given > _RATIO_FROM and self._given > self._taken * self._ratio:
            raise UnsafeArchiveError(
                "the archive is a decompression bomb",
                slug="archive-too-large",
                cause=f"{self._taken} bytes became more than {self._given}",
            )
        return data

    def verify(self, digest: Digest | None, diff_id: Digest | None) -> None:
        """Read to the end and compare digests of the stored and of the plain bytes (ARC-28, ARC-29)."""
        while self.read():
            pass
        for wanted, found, what in ((digest, self._stored, "archive"), (diff_id, self._plain, "uncompressed archive")):
            if wanted and found.hexdigest() != wanted.hex:
                raise corrupt(f"the {what} is not {wanted.short}", f"expected {wanted.hex}, found {found.hexdigest()}")

    def _raw(self) -> bytes:
        data = self._stream.read(STEP)
        self._stored.update(data)
        self._taken += len(data)
        return data

    def _take(self) -> bytes:
        data, self._rest = self._rest or self._raw(), b""
        return data

    def _inflate(self) -> bytes:
        assert self._gzip
        while True:
            if self._gzip.eof:
                if not self._next_member():
                    return b""
                continue
            data = self._take()
            if not data:
                raise corrupt("the archive is cut short", "its gzip stream has no end")
            try:
                plain = self._gzip.decompress(data, STEP)
            except zlib.error as e:
                raise corrupt("the archive is damaged", str(e)) from e
            self._rest = self._gzip.unconsumed_tail or self._rest
            if plain:
                return plain

    def _next_member(self) -> bool:
        """Go on with the next gzip member; what follows the last one is hashed, nothing more."""
        assert self._gzip
        rest = self._gzip.unused_data + self._take()
        while 0 < len(rest) < len(_GZIP) and (more := self._raw()):
            rest += more
        if rest.startswith(_GZIP):
            self._gzip = zlib.decompressobj(31)
            self._rest = rest
            return True
        while self._raw():
            pass
        return False
