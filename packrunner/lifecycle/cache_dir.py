"""A cache directory in the reference's format, for the phases' `-cache-dir` (EXP-33, EXP-34, RES-18).

    <dir>/committed/io.buildpacks.lifecycle.cache.metadata     JSON: which layers, of which buildpacks
    <dir>/committed/sha256:<hex>.tar                           one uncompressed layer each
    <dir>/staging, <dir>/committed-backup                      during a save only

Builders of other lifecycles read and write the same directory, so nothing in it is trusted: every tar is verified.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from packrunner import confined, paths
from packrunner.disk import disk_error
from packrunner.errors import PackrunnerError, UsageError
from packrunner.images.blobs import VerifiedReader, buffered
from packrunner.lifecycle import cache_metadata
from packrunner.lifecycle.cache import CacheRecord
from packrunner.names import Digest

if TYPE_CHECKING:
    from packrunner.images.layout import Blobs

_COMMITTED, _STAGING, _BACKUP = "committed", "staging", "committed-backup"
_LIMIT = 16 << 20
_STEP = 1 << 20

log = logging.getLogger(__name__)


class CacheDirectory:
    """The directory at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def metadata_path(self) -> str:
        """The file that says what is cached."""
        return os.path.join(self.path, _COMMITTED, cache_metadata.NAME)

    @property
    def shown(self) -> str:
        """Its path for people."""
        return paths.readable(self.path)

    def record(self) -> CacheRecord:
        """What is cached; an empty record where nothing can be read."""
        try:
            with confined.Root.open(self.path) as root:
                data = root.read(f"{_COMMITTED}/{cache_metadata.NAME}", limit=_LIMIT)
            return cache_metadata.decode(data or b"", self._size)
        except (PackrunnerError, msgspec.DecodeError) as e:
            log.warning("the cache %s is not used: %s", self.path, e)
            return CacheRecord()

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether there is a tar for the layer."""
        try:
            found = os.lstat(self._tar(digest))
        except OSError:
            return False
        return size in (None, found.st_size)

    def open(self, digest: Digest) -> BinaryIO:
        """The layer's tar, verified at its end. Raises StoreError, CorruptError."""
        path = self._tar(digest)
        try:
            return buffered(VerifiedReader(path, digest, lambda: None))
        except OSError as e:
            raise disk_error(e, path) from e

    def save(self, record: CacheRecord, layers: Blobs) -> None:
        """Replace what is cached, whole or not at all. Raises StoreError; the old state is back then (EXP-34)."""
        with confined.Root.open(self.path) as root:
            for name in (_STAGING, _BACKUP):
                root.remove(name)
            root.makedirs(_STAGING)
            try:
                for text in cache_metadata.digests(record):
                    self._put(Digest.parse(text), layers)
                root.write(f"{_STAGING}/{cache_metadata.NAME}", cache_metadata.encode(record))
                if root.kind(_COMMITTED):
                    root.rename(_COMMITTED, _BACKUP)
                try:
                    root.rename(_STAGING, _COMMITTED)
                except BaseException:
                    if root.kind(_BACKUP):
                        root.rename(_BACKUP, _COMMITTED)
                    raise
            finally:
                for name in (_STAGING, _BACKUP):
                    root.remove(name)

    def _put(self, digest: Digest, layers: Blobs) -> None:
        """A layer into the staged directory: a second name of the tar that is there already, or a copy."""
        target = os.path.join(self.path, _STAGING, f"{digest}.tar")
        try:
            # Read to its end first: a damaged tar must not live on.
            with self.open(digest) as file:
                while file.read(_STEP):
                    pass
            os.link(self._tar(digest), target, follow_symlinks=False)
            return
        except (PackrunnerError, OSError) as e:
            log.debug("%s is written to the cache anew: %s", digest, e)
        try:
            with suppress(FileNotFoundError):
                os.unlink(target)
            with layers.open(digest) as file, open(target, "xb") as copy:
                while piece := file.read(_STEP):
                    copy.write(piece)
        except OSError as e:
            raise disk_error(e, target) from e

    def _tar(self, digest: Digest) -> str:
        return os.path.join(self.path, _COMMITTED, f"{digest}.tar")

    def _size(self, text: str) -> int:
        with suppress(OSError, UsageError):
            return os.lstat(self._tar(Digest.parse(text))).st_size
        return 0
