"""What an application's cache knows: cache.json, written after each image that was saved.

It names layers, never their contents. A cached layer's tree stays in the workspace, where a stat fingerprint proves
it; its tar is a blob of the image store, from which the tree is unpacked again when the proof fails. A build that
fails or is killed changes trees at most, never this record, so the state of the last success stays usable.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import confined, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "cache.json"
NAMED = "caches"
"""Where in the cache directory the caches are that --cache calls by a name, each in the form of cache_dir.py."""
_FORMAT = 1
_TICK = 0.025
"""Seconds: more than the step of a file system's clock."""

log = logging.getLogger(__name__)


class CachedLayer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cache=true layer with contents: its tar is the blob `diff_id` of `size` bytes, `tree` proves the tree."""

    diff_id: str
    size: int
    tree: str
    metadata: dict[str, Any] = {}
    build: bool = False
    launch: bool = False


class CachedBuildpack(msgspec.Struct, frozen=True):
    """The cached layers of one buildpack, by name."""

    key: str
    version: str
    layers: dict[str, CachedLayer]


class CacheRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """cache.json (EXP-33); `sbom` is the diff id of the layer that holds the cached layers' SBOMs."""

    format: int = _FORMAT
    exec_env: str = ""
    buildpacks: tuple[CachedBuildpack, ...] = ()
    sbom: str = ""

    def layers_of(self, buildpack: str) -> dict[str, CachedLayer]:
        """The layers of a buildpack, whatever its version was."""
        return next((b.layers for b in self.buildpacks if b.key == buildpack), {})


def read(path: str) -> CacheRecord:
    """Read cache.json; an empty record when there is none, or none that this version understands."""
    try:
        with open(path, "rb") as file:
            record = msgspec.json.decode(file.read(), type=CacheRecord)
    except FileNotFoundError:
        return CacheRecord()
    except (OSError, msgspec.DecodeError) as e:
        log.warning("%s is not used: %s", path, e)
        return CacheRecord()
    return record if record.format == _FORMAT else CacheRecord()


def write(path: str, record: CacheRecord) -> None:
    """Replace cache.json. Call it after the image has been saved, never before; raises StoreError."""
    confined.write_atomic(path, msgspec.json.encode(record, order="deterministic"))


def referenced_blobs(record: CacheRecord) -> Iterator[str]:
    """The digests of all blobs that the record needs: what a prune of the store has to keep."""
    if record.sbom:
        yield record.sbom
    for buildpack in record.buildpacks:
        for layer in buildpack.layers.values():
            yield layer.diff_id


def prove(tree: str) -> str:
    """A proof of a tree's state: equal proofs, equal content. Raises OSError for one that cannot be walked.

    A file as new as the clock could change again without showing, so then the clock is given a tick and read again.
    """
    began = time.time_ns()
    table = fingerprint.scan(tree)
    if not fingerprint.settled(table, began):
        time.sleep(_TICK)
        table = fingerprint.scan(tree)
    return fingerprint.digest(table)
