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

from packrunner import confined
from packrunner.disk import disk_error
from packrunner.errors import PackrunnerError, UsageError
from packrunner.formats.labels import BuildpackRecord, LayerRecord, Sha
from packrunner.images.blobs import VerifiedReader, buffered
from packrunner.lifecycle.cache import CachedBuildpack, CachedLayer, CacheRecord
from packrunner.names import Digest

if TYPE_CHECKING:
    from packrunner.images.layout import Blobs

METADATA = "io.buildpacks.lifecycle.cache.metadata"
_COMMITTED, _STAGING, _BACKUP = "committed", "staging", "committed-backup"
_LIMIT = 16 << 20
_STEP = 1 << 20

log = logging.getLogger(__name__)


class CacheMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metadata; `exec_env` is packrunner's own, so that layers of another environment stay away (RES-19)."""

    sbom: Sha | None = None
    buildpacks: tuple[BuildpackRecord, ...] = ()
    exec_env: str = msgspec.field(default="", name="exec-env")


class CacheDirectory:
    """The directory at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def record(self) -> CacheRecord:
        """What is cached; an empty record where nothing can be read."""
        try:
            with confined.Root.open(self.path) as root:
                data = root.read(f"{_COMMITTED}/{METADATA}", limit=_LIMIT)
            found = msgspec.json.decode(data, type=CacheMetadata) if data else CacheMetadata()
        except (PackrunnerError, msgspec.DecodeError) as e:
            log.warning("the cache %s is not used: %s", self.path, e)
            return CacheRecord()
        return CacheRecord(
            exec_env=found.exec_env,
            sbom=found.sbom.sha if found.sbom else "",
            buildpacks=tuple(
                CachedBuildpack(
                    key=buildpack.key,
                    version=buildpack.version,
                    layers={name: self._layer(one) for name, one in buildpack.layers.items() if one.cache},
                )
                for buildpack in found.buildpacks
            ),
        )

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
        metadata = CacheMetadata(
            sbom=Sha(sha=record.sbom) if record.sbom else None,
            buildpacks=tuple(
                BuildpackRecord(key=b.key, version=b.version, layers={n: _record(one) for n, one in b.layers.items()})
                for b in record.buildpacks
            ),
            exec_env=record.exec_env,
        )
        with confined.Root.open(self.path) as root:
            for name in (_STAGING, _BACKUP):
                root.remove(name)
            root.makedirs(_STAGING)
            try:
                for text in _digests(record):
                    self._put(Digest.parse(text), layers)
                root.write(f"{_STAGING}/{METADATA}", msgspec.json.encode(metadata, order="deterministic"))
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

    def _layer(self, one: LayerRecord) -> CachedLayer:
        size = 0
        with suppress(OSError, UsageError):
            size = os.lstat(self._tar(Digest.parse(one.sha))).st_size
        return CachedLayer(diff_id=one.sha, size=size, tree="", metadata=one.data, build=one.build, launch=one.launch)


def _record(one: CachedLayer) -> LayerRecord:
    return LayerRecord(sha=one.diff_id, data=one.metadata, build=one.build, launch=one.launch, cache=True)


def _digests(record: CacheRecord) -> list[str]:
    """The layers to keep, each once."""
    found = [one.diff_id for buildpack in record.buildpacks for one in buildpack.layers.values()]
    return list(dict.fromkeys([*found, record.sbom] if record.sbom else found))
