"""Housekeeping: what of the local state nothing needs any more, and removing it.

A cache belongs to an application; when its source is gone, so is the reason for the cache. Blobs and unpacked layers
are needed by names in the store, by caches and by bases. `everything` also takes caches and bases that are in use,
but never an image that has a name of the user's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from packrunner import workspace
from packrunner.bases import pruning
from packrunner.bases.recipes import is_image_name
from packrunner.catalog import memory
from packrunner.catalog.builtin import sdk_dir
from packrunner.catalog.stage import Stage
from packrunner.confined import FileLock, Root
from packrunner.errors import StoreError
from packrunner.lifecycle import cache, extended
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore

STAGED_FOR = 7 * 24 * 3600.0
"""Seconds that a staged buildpack, or what is known of an image, is kept after its last use."""


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of thing and the bytes that went, or would go."""

    what: str
    size: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The places that hold local state."""

    data_dir: str
    cache_dir: str
    store: LocalStore
    snapshots: Snapshots


def clean(state: State, *, everything: bool, dry_run: bool) -> tuple[Freed, ...]:
    """Remove what nothing needs, or only say how much that is. What another packrunner uses stays."""
    going = [place for place in _workspaces(state.cache_dir) if everything or _is_orphan(place)]
    kept = [place for place in _workspaces(state.cache_dir) if place not in going]
    if everything and not dry_run:
        for stored in state.store.list():
            if is_image_name(stored.name):
                state.store.remove(stored.name)
    records = os.path.join(state.cache_dir, extended.DIRECTORY)
    extended.prune(records, unused_for=0 if everything else STAGED_FOR, dry_run=dry_run)
    memory.prune(
        os.path.join(state.cache_dir, memory.DIRECTORY), unused_for=0 if everything else STAGED_FOR, dry_run=dry_run
    )
    freed = [
        Freed(what="caches of applications", size=sum(_remove(place, dry_run=dry_run) for place in going)),
        *(_named_caches(state.cache_dir, dry_run=dry_run) if everything else ()),
        Freed(
            what="staged buildpacks",
            size=Stage(os.path.join(state.cache_dir, "stage"), sdk_dir=sdk_dir()).prune(
                unused_for=0 if everything else STAGED_FOR, dry_run=dry_run
            ),
        ),
        Freed(
            what="base images",
            size=pruning.prune_bases(state.data_dir, state.store, everything=everything, dry_run=dry_run),
        ),
        Freed(
            what="layers",
            size=state.store.prune(keep=lambda: (*_cached(kept), *extended.referenced_blobs(records)), dry_run=dry_run),
        ),
    ]
    needed = {layer.diff_id for stored in state.store.list() for layer in stored.image.layers}
    needed.update(extended.referenced_blobs(records))
    freed.append(Freed(what="unpacked layers", size=state.snapshots.prune(frozenset(needed), dry_run=dry_run)))
    return tuple(freed)


def _workspaces(cache_dir: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(os.path.join(cache_dir, "apps")) if entry.is_dir())
    except FileNotFoundError:
        return []


def _named_caches(cache_dir: str, *, dry_run: bool) -> Iterator[Freed]:
    named = os.path.join(cache_dir, cache.NAMED)
    if os.path.isdir(named):
        size = _size(named)
        if not dry_run:
            with Root.open(cache_dir) as root:
                root.remove(cache.NAMED)
        yield Freed(what="caches with a name", size=size)


def _is_orphan(place: str) -> bool:
    """Whether the application of a workspace is gone."""
    try:
        with open(os.path.join(place, workspace.SOURCE), "rb") as file:
            return not os.path.isdir(os.fsdecode(file.read()))
    except FileNotFoundError:
        return True


def _size(place: str) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(place) for name in names
    )


def _remove(place: str, *, dry_run: bool) -> int:
    size = _size(place)
    if not dry_run:
        # A build that is running holds the lock, and keeps its workspace.
        try:
            with FileLock(os.path.join(place, "lock"), timeout=0), Root.open(os.path.dirname(place)) as root:
                root.remove(os.path.basename(place))
        except StoreError as e:
            if e.slug != "locked":
                raise
            return 0
    return size


def _cached(places: list[str]) -> Iterator[Digest]:
    for place in places:
        with suppress(FileNotFoundError):
            for text in cache.referenced_blobs(cache.read(os.path.join(place, cache.FILE))):
                yield Digest.parse(text)
