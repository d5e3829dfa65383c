"""Blobs: files named by the digest of their bytes. Written beside, synced, renamed; verified whenever they are read."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from packrunner.disk import disk_error
from packrunner.errors import CorruptError, StoreError
from packrunner.images.image import Descriptor
from packrunner.images.manifest import LAYER_TAR
from packrunner.names import Digest

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Self

    from packrunner.images.files import Files

_EARLY = 8 << 20


class BlobWriter:
    """A blob in the making. A context manager; left without `commit`, it leaves nothing behind."""

    def __init__(
        self, files: Files, temporary: str, place: Callable[[str], str], lease: AbstractContextManager[None]
    ) -> None:
        self._files = files
        self._lease = lease
        self._path = temporary
        self._place = place
        self._hash = hashlib.sha256()
        self._fd = -1
        self._started = 0
        self.size = 0

    def __enter__(self) -> Self:
        self._lease.__enter__()
        try:
            self._fd = self._files.create(self._path)
        except BaseException as e:
            self._lease.__exit__(None, None, None)
            if isinstance(e, OSError):
                raise disk_error(e, self._path) from e
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                with suppress(OSError):
                    self._files.unlink(self._path)
        finally:
            self._lease.__exit__(None, None, None)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises StoreError (`disk-full`, `disk`)."""
        self._hash.update(data)
        self.size += len(data)
        try:
            done = self._files.write(self._fd, data)
            if done < len(data):
                view = memoryview(data)
                while done < len(view):
                    done += self._files.write(self._fd, view[done:])
            if self.size - self._started >= _EARLY:
                # Begins to write to the disk what the page cache holds, so that the sync at the end has little to wait
                # for: 5 ms instead of 120 for 250 MB. Nothing is dropped from the cache while it is being written.
                os.posix_fadvise(self._fd, self._started, self.size - self._started, os.POSIX_FADV_DONTNEED)
                self._started = self.size
        except OSError as e:
            raise disk_error(e, self._path) from e

    def commit(self, media_type: str = LAYER_TAR) -> Descriptor:
        """Keep the blob under its digest: whole on the disk first, then its name (STO-01 to STO-03).

        The name itself is synced by whoever makes something refer to it.
        """
        digest = Digest("sha256:" + self._hash.hexdigest())
        try:
            self._files.sync(self._fd)
            self._files.rename(self._path, self._place(digest.hex))
        except OSError as e:
            raise disk_error(e, self._path) from e
        os.close(self._fd)
        self._fd = -1
        return Descriptor(digest=digest, size=self.size, media_type=media_type)

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest("sha256:" + self._hash.hexdigest())


class VerifiedReader(io.RawIOBase):
    """A blob's bytes; at their end the digest is compared. `corrupt` is told, then CorruptError raised (STO-13)."""

    def __init__(self, path: str, digest: Digest, corrupt: Callable[[], None]) -> None:
        super().__init__()
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._hash = hashlib.sha256()
        self._digest = digest
        self._corrupt = corrupt
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview | mmap.mmap) -> int:  # type: ignore[override] # typeshed's Buffer is 3.12's
        """Read some bytes; 0 at the end, which is reached only by bytes that are right."""
        view = memoryview(buffer)
        got = os.readv(self._fd, [view])
        if got:
            self._hash.update(view[:got])
        elif not self._ended and view:
            self._ended = True
            if self._hash.hexdigest() != self._digest.hex:
                self._corrupt()
                raise corrupt_blob(self._digest)
        return got

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


def corrupt_blob(digest: Digest) -> CorruptError:
    """The error for a blob whose bytes are not what its name says."""
    return CorruptError(
        f"{digest.short} in the image store is damaged",
        slug="store-corrupt",
        cause=f"its bytes do not have the digest {digest}; it was set aside",
        tries=("packrunner build --rebuild", "packrunner doctor"),
    )


def missing_blob(digest: Digest, path: str) -> StoreError:
    """The error for a blob that an image needs and the store does not have (STO-14)."""
    return CorruptError(
        f"{digest.short} is missing from the image store",
        slug="store-missing",
        at=path,
        tries=("packrunner build --rebuild", "packrunner doctor"),
    )


def buffered(reader: VerifiedReader) -> BinaryIO:
    """The reader with a buffer of a megabyte."""
    return io.BufferedReader(reader, 1 << 20)
