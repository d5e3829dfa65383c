"""Cached layers carried between machines: out of a cache elsewhere before a build, and into it afterwards.

This machine's own cache comes first. What it lacks, or has in another version than the previous image, is fetched into
the store, from where it is restored like anything else. A cache that cannot be read or written costs only time.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from packrunner.console.units import number, shorten_middle, size
from packrunner.errors import PackrunnerError
from packrunner.events import StepDone, StepStarted, Warned
from packrunner.lifecycle import cache_metadata
from packrunner.lifecycle.cache import CachedBuildpack, CacheRecord
from packrunner.lifecycle.decisions import record_of
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.events import Reporter
    from packrunner.formats.group import GroupMember
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.images.layout import Blobs
    from packrunner.images.store import LocalStore

_STEP = 1 << 20


class OutsideCache(Protocol):
    """A cache that other machines use too."""

    @property
    def shown(self) -> str:
        """Its name for people."""

    def record(self) -> CacheRecord:
        """What is cached; an empty record where nothing can be read."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether a layer is there."""

    def open(self, digest: Digest) -> BinaryIO:
        """A layer's tar, verified at its end. Raises PackrunnerError."""

    def save(self, record: CacheRecord, layers: Blobs) -> None:
        """Replace what is cached, whole or not at all. Raises PackrunnerError."""


class Carrier:
    """Carries layers between a cache elsewhere and the store of this machine, for one build."""

    def __init__(self, outside: OutsideCache, store: LocalStore, reporter: Reporter) -> None:
        self._outside, self._store, self._reporter = outside, store, reporter
        self._took = self._bytes = 0
        self._subject = shorten_middle(outside.shown, 19)
        self._sound = True
        """Whether all that was fetched could be used; else what is there is written anew."""
        self.carried: set[str] = set()
        """The layers, by diff id, that come from elsewhere."""

    @property
    def shown(self) -> str:
        """The name of the cache elsewhere for people."""
        return self._outside.shown

    def fetch(self, group: tuple[GroupMember, ...], label: LifecycleLabel, inside: CacheRecord) -> CacheRecord:
        """The record of this machine with what the cache elsewhere adds for the group, its layers now in the store."""
        began = time.monotonic()
        there = self._outside.record()
        if not _fits(inside, there):
            return inside
        buildpacks = tuple(self._buildpack(member, label, inside, there, self._layer) for member in group)
        sbom = inside.sbom or (there.sbom if self._took and self._layer(there.sbom) is not None else "")
        if self._took:
            detail = f"{number(self._took, 'layer')} restored, {size(self._bytes)}"
            self._done(detail, began)
        return CacheRecord(
            exec_env=inside.exec_env if inside.buildpacks else there.exec_env,
            buildpacks=tuple(one for one in buildpacks if one.layers),
            sbom=sbom,
        )

    def foresee(self, group: tuple[GroupMember, ...], label: LifecycleLabel, inside: CacheRecord) -> CacheRecord:
        """The layers of the record that `fetch` would give; nothing is fetched."""
        there = self._outside.record()
        if not _fits(inside, there):
            return inside
        buildpacks = tuple(self._buildpack(member, label, inside, there, self._look) for member in group)
        exec_env = inside.exec_env if inside.buildpacks else there.exec_env
        return CacheRecord(exec_env=exec_env, buildpacks=tuple(one for one in buildpacks if one.layers))

    def has(self, digest: Digest) -> bool:
        """Whether a layer is in the store, or elsewhere."""
        return self._store.has(digest) or self._outside.has(digest)

    def keep(self, record: CacheRecord) -> None:
        """Save what is cached, where it differs from what is there.

        The image is safe: a failure only warns (EXP-34).
        """
        began = time.monotonic()
        try:
            wanted = [Digest.parse(text) for text in cache_metadata.digests(record)]
            if self._sound and _same(self._outside.record(), record) and all(map(self._outside.has, wanted)):
                return
            self._reporter.emit(StepStarted(phase="cache", subject=self._subject))
            self._outside.save(record, self._store)
        except PackrunnerError as e:
            where = self._outside.shown
            text = f"the cache {where} could not be saved, other machines start without it: {e.brief}"
            self._reporter.emit(Warned(text=text))
            return
        self._done(f"{number(len(wanted), 'layer')} kept", began)

    def _buildpack(
        self,
        member: GroupMember,
        label: LifecycleLabel,
        inside: CacheRecord,
        there: CacheRecord,
        bring: Callable[[str], int | None],
    ) -> CachedBuildpack:
        """The layers of one buildpack: of each the version that the previous image has too, else this machine's."""
        mine, theirs = inside.layers_of(member.id), there.layers_of(member.id)
        known = record_of(label, member.id)
        image = known.layers if known else {}
        layers = {}
        for name in sorted(mine.keys() | theirs.keys()):
            here, other = mine.get(name), theirs.get(name)
            wanted = image[name].sha if name in image else ""
            if other and (here is None or (here.diff_id != wanted and other.diff_id == wanted)):
                found = bring(other.diff_id)
                here = here if found is None else msgspec.structs.replace(other, size=found)
            if here:
                layers[name] = here
        return CachedBuildpack(key=member.id, version=member.version, layers=layers)

    def _look(self, text: str) -> int | None:
        """The size of a layer that can be had, 0 of one that is only elsewhere."""
        try:
            digest = Digest.parse(text)
            if self._store.has(digest):
                return os.stat(self._store.blob_path(digest)).st_size
            if not self._outside.has(digest):
                return None
        except PackrunnerError:
            return None
        self.carried.add(text)
        return 0

    def _layer(self, text: str) -> int | None:
        """Bring a layer into the store; its size, or None where it cannot be had."""
        if not text:
            return None
        try:
            digest = Digest.parse(text)
            if self._store.has(digest):
                return os.stat(self._store.blob_path(digest)).st_size
            if not self._took:
                self._reporter.emit(StepStarted(phase="cache", subject=self._subject))
            with self._outside.open(digest) as source, self._store.new_blob() as blob:
                while piece := source.read(_STEP):
                    blob.write(piece)
                found = blob.commit().size
        except PackrunnerError as e:
            self._sound = False
            self._reporter.emit(
                Warned(text=f"a layer of the cache {self._outside.shown} is not used: {e.cause or e.brief}")
            )
            return None
        self.carried.add(text)
        self._took += 1
        self._bytes += found
        return found

    def _done(self, detail: str, began: float) -> None:
        spent = time.monotonic() - began
        self._reporter.emit(StepDone(phase="cache", subject=self._subject, detail=detail, seconds=spent))


def _fits(inside: CacheRecord, there: CacheRecord) -> bool:
    """Whether what is there adds anything to what is here: layers of two execution environments do not mix."""
    return bool(there.buildpacks) and (not inside.buildpacks or inside.exec_env == there.exec_env)


def _same(one: CacheRecord, other: CacheRecord) -> bool:
    return cache_metadata.encode(one) == cache_metadata.encode(other)
