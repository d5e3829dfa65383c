"""What of the last build comes back, and why the rest does not: decided from records alone (RES-08 - RES-19).

Two records know of a layer: the label of the previous image and the application's cache. A cached layer comes back
whole (metadata, SBOM and tree) or not at all; of a layer that is only launched, the metadata comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packrunner.formats.group import GroupMember
    from packrunner.formats.labels import BuildpackRecord, LayerRecord, LifecycleLabel
    from packrunner.lifecycle.cache import CachedLayer, CacheRecord

BUILD_ONLY = "used by other buildpacks during the build, and not cached"
NOT_CACHED = "no longer in the cache"
NOT_IN_IMAGE = "the previous image does not have it"
DISAGREE = "the image and the cache hold different versions of it"
CLEARED = "the cache was cleared"
OTHER_ENV = "the last build was for another execution environment"
NO_PART = "its buildpack takes no part any more"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that shall come back: its metadata, and with `cached` also its tree."""

    buildpack: str
    name: str
    metadata: dict[str, Any]
    cached: CachedLayer | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that stays away, and why."""

    buildpack: str
    name: str
    reason: str


def decide(
    group: tuple[GroupMember, ...],
    *,
    label: LifecycleLabel,
    cache: CacheRecord,
    clear: bool,
    exec_env: str,
    cached_launch: bool = True,
) -> tuple[Wanted | Dropped, ...]:
    """What happens to each known layer of the new group's buildpacks, by buildpack and then by name.

    `cached_launch`: launch layers that only the cache knows come back (RES-13).
    """
    refused = _refusal(label, cache, clear=clear, exec_env=exec_env)
    decided: list[Wanted | Dropped] = []
    for member in group:
        record = record_of(label, member.id)
        for decision in _of_buildpack(member.id, record, cache.layers_of(member.id), cached_launch=cached_launch):
            if refused and isinstance(decision, Wanted):
                decided.append(Dropped(buildpack=member.id, name=decision.name, reason=refused))
            else:
                decided.append(decision)
    return tuple(decided)


def left_behind(group: Iterable[str], *, label: LifecycleLabel, cache: CacheRecord) -> tuple[Dropped, ...]:
    """The known layers of buildpacks that are not in the group, by their ids."""
    known = {(b.key, name) for record in (label, cache) for b in record.buildpacks for name in b.layers}
    mine = frozenset(group)
    return tuple(Dropped(buildpack=key, name=name, reason=NO_PART) for key, name in sorted(known) if key not in mine)


def record_of(label: LifecycleLabel, buildpack: str) -> BuildpackRecord | None:
    """A buildpack's entry in the label, whatever its version was."""
    return next((b for b in label.buildpacks if b.key == buildpack), None)


def _refusal(label: LifecycleLabel, cache: CacheRecord, *, clear: bool, exec_env: str) -> str:
    if clear:
        return CLEARED
    # A record that does not say was made for production (RES-19).
    recorded = {(r.exec_env or "production") for r in (label, cache) if r.buildpacks}
    return OTHER_ENV if recorded - {exec_env} else ""


def _of_buildpack(
    buildpack: str, record: BuildpackRecord | None, cached: dict[str, CachedLayer], *, cached_launch: bool
) -> Iterator[Wanted | Dropped]:
    image = record.layers if record else {}
    for name in sorted(image.keys() | cached.keys()):
        known = cached.get(name)
        if known and known.launch and name not in image and not cached_launch:
            yield Dropped(buildpack=buildpack, name=name, reason=NOT_IN_IMAGE)
        else:
            yield _of_layer(buildpack, name, image.get(name), known)


def _of_layer(buildpack: str, name: str, image: LayerRecord | None, cached: CachedLayer | None) -> Wanted | Dropped:
    if image is None or not image.launch:
        # Known to the cache alone: a layer for builds, or of an image that was removed (RES-13).
        if cached is None:
            return Dropped(buildpack=buildpack, name=name, reason=NOT_CACHED)
        return Wanted(buildpack=buildpack, name=name, metadata=cached.metadata, cached=cached)
    if not image.cache:
        if image.build:
            return Dropped(buildpack=buildpack, name=name, reason=BUILD_ONLY)
        return Wanted(buildpack=buildpack, name=name, metadata=image.data)
    if cached is None:
        return Dropped(buildpack=buildpack, name=name, reason=NOT_CACHED)
    if cached.diff_id != image.sha:
        return Dropped(buildpack=buildpack, name=name, reason=DISAGREE)
    return Wanted(buildpack=buildpack, name=name, metadata=image.data, cached=cached)
