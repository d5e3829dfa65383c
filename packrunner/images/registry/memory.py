"""What is remembered of layers between pushes, in files that may go at any time.

<diff id>.gzip, .zstd   what a layer was compressed to: digest and size. So it is never compressed again for a
                        registry that has it.
<digest>.from           repositories that have a blob: where another of the same registry can mount it from
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import BinaryIO

import msgspec

from packrunner.disk import write_atomic
from packrunner.errors import StoreError
from packrunner.images.compress import MEDIA_TYPES, Kind
from packrunner.images.image import Descriptor
from packrunner.names import Digest

_LIMIT = 1 << 16
_SOURCES = 8


class _Compressed(msgspec.Struct, frozen=True):
    digest: str
    size: int


class Memory:
    """The files in `directory`, which is made when the first of them is; "" remembers nothing."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    @property
    def directory(self) -> str:
        """Where the files are."""
        return self._directory or tempfile.gettempdir()

    def compressed(self, diff_id: Digest, kind: Kind) -> Descriptor | None:
        """What the layer was compressed to."""
        data = self._read(f"{diff_id.hex}.{kind}")
        with suppress(msgspec.DecodeError, ValueError):
            found = msgspec.json.decode(data, type=_Compressed)
            if found.size > 0:
                return Descriptor(digest=_digest(found.digest), size=found.size, media_type=MEDIA_TYPES[kind])
        return None

    def remember(self, diff_id: Digest, kind: Kind, blob: Descriptor) -> None:
        """Keep what the layer was compressed to."""
        self._write(f"{diff_id.hex}.{kind}", msgspec.json.encode(_Compressed(str(blob.digest), blob.size)))

    def sources(self, digest: Digest) -> tuple[str, ...]:
        """Repositories, with their registries, that had the blob."""
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(self._read(f"{digest.hex}.from"), type=tuple[str, ...])
        return ()

    def add_source(self, digest: Digest, place: str) -> None:
        """A repository has the blob."""
        known = self.sources(digest)
        if not known or known[0] != place:
            kept = [place, *(one for one in known if one != place)][:_SOURCES]
            self._write(f"{digest.hex}.from", msgspec.json.encode(kept))

    def spool(self) -> BinaryIO:
        """A file without a name, for what a layer is compressed to."""
        with suppress(StoreError):
            self._prepare()
        return tempfile.TemporaryFile(dir=self._directory or None, prefix=".packrunner-")

    def _read(self, name: str) -> bytes:
        if not self._directory:
            return b""
        try:
            with open(os.path.join(self._directory, name), "rb") as file:
                return file.read(_LIMIT)
        except OSError:
            return b""

    def _write(self, name: str, data: bytes) -> None:
        # Whoever may not write here, or has no space, compresses again.
        with suppress(StoreError):
            if self._prepare():
                write_atomic(os.path.join(self._directory, name), data)

    def _prepare(self) -> bool:
        if not self._directory:
            return False
        with suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        return True


def _digest(text: str) -> Digest:
    from packrunner.errors import UsageError

    try:
        return Digest.parse(text)
    except UsageError as error:
        raise ValueError(text) from error
