"""What a build is made of, and why: `plan` says it before a build and report.json after it, from the same parts.

Only detection cannot be foreseen. So the groups are what may be tried, in this order, and of the layers known of the
last build it is said what comes back for every buildpack that may take part.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import package
from packrunner.formats.group import GroupMember
from packrunner.lifecycle.decisions import left_behind
from packrunner.lifecycle.detect import MAX_GROUPS, candidates
from packrunner.lifecycle.settings import Output, Setting, chosen, outputs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from packrunner.catalog.builder import Builder
    from packrunner.catalog.locate import Origin
    from packrunner.catalog.select import Selection
    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.images.image import Image
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.cache import CacheRecord
    from packrunner.lifecycle.order import ExpandedGroup
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.restore import LayerDecision


Key = tuple[str, str, str]
"""Kind, id and version of a buildpack or an extension."""


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """Something by its name, and what that means now."""

    name: str
    digest: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a group; `system`: it joins every group."""

    id: str
    version: str
    optional: bool = False
    extension: bool = False
    system: bool = False


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """One that the execution environment leaves out."""

    id: str
    version: str
    why: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group that detection may try, composites replaced by what they stand for."""

    number: int
    members: tuple[Candidate, ...]
    skipped: tuple[Left, ...] = ()


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a buildpack or extension comes from; `digest` is that of its content, None of what is in the builder.

    Of that, `layer` is the digest of the builder's layer that has it, as far as the builder's labels say.
    """

    kind: str
    id: str
    version: str
    origin: Origin = msgspec.field(name="from")
    place: str
    digest: str | None
    layer: str | None = None
    composite: bool = False


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a layer of the last build, as in restore; `origin` is where it comes from, "" where it does not.

    `kept` is in place, `unpacked` from its stored copy; of a layer that is only launched its `metadata` comes back.
    """

    buildpack: str
    layer: str
    action: str
    origin: str = msgspec.field(name="from")
    reason: str
    diff_id: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as at the last build: `what` kind of thing `where`, up to 100 `paths` in it of `total`."""

    what: str
    where: str = ""
    paths: tuple[str, ...] = ()
    total: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is different since the last build with the same arguments, which was at `since`; None: there was none."""

    since: float | None = None
    changes: tuple[Change, ...] = ()

    @property
    def unchanged(self) -> bool:
        """Whether a build has nothing to do."""
        return self.since is not None and not self.changes


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """A build in its parts."""

    name: str
    source: str
    engine: str
    exec_env: str
    platform: str
    settings: tuple[Setting, ...]
    variables: tuple[Setting, ...]
    builder: Pinned
    run_image: Pinned
    groups: tuple[Group, ...]
    more_groups: bool
    sources: tuple[Source, ...]
    previous: Pinned | None
    caches: tuple[Cached, ...]
    changes: Changes
    outputs: tuple[Output, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON's own types."""
        values: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        values["changes"]["unchanged"] = self.changes.unchanged
        return values


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a build was, or would be, put together from."""

    builder: Builder
    run_image: RunImage
    selection: Selection
    previous: tuple[str, Image | None]
    caches: tuple[Cached, ...]
    changes: Changes


def compose(request: BuildRequest, parts: Parts) -> Outline:
    """The outline of a build."""
    name, previous = parts.previous
    tried, more = groups(parts.selection, exec_env=request.shape.exec_env, platform_api=parts.builder.platform_api)
    settings, variables = chosen(request)
    return Outline(
        name=request.name,
        source=request.source,
        engine=request.engine,
        exec_env=request.shape.exec_env,
        platform="/".join(filter(None, parts.run_image.target[:3])),
        settings=settings,
        variables=variables,
        builder=Pinned(name=parts.builder.reference, digest=str(parts.builder.digest)),
        run_image=Pinned(name=parts.run_image.name, digest=str(parts.run_image.image.digest)),
        groups=tried,
        more_groups=more,
        sources=sources(parts.selection, layers(parts.builder)),
        previous=Pinned(name=name, digest=str(previous.digest)) if previous else None,
        caches=parts.caches,
        changes=parts.changes,
        outputs=outputs(request),
    )


def unfinished(request: BuildRequest) -> dict[str, Any]:
    """The outline of a build as JSON's own types where nothing is known but the request: null for the rest."""
    settings, variables = chosen(request)
    known = {
        "name": request.name,
        "source": request.source,
        "engine": request.engine,
        "exec_env": request.shape.exec_env,
        "settings": settings,
        "variables": variables,
        "outputs": outputs(request),
    }
    values: dict[str, Any] = msgspec.to_builtins(known, enc_hook=str)
    return dict.fromkeys(Outline.__struct_fields__) | values


def groups(selection: Selection, *, exec_env: str, platform_api: str) -> tuple[tuple[Group, ...], bool]:
    """The groups that detection tries until one fits, and whether there are more than it would try."""
    found = list(islice(_expanded(selection, exec_env, platform_api), MAX_GROUPS + 1))
    return tuple(_group(number, one) for number, one in enumerate(found[:MAX_GROUPS], 1)), len(found) > MAX_GROUPS


def members(selection: Selection, *, exec_env: str, platform_api: str) -> tuple[GroupMember, ...]:
    """The buildpacks that may take part, each id once."""
    found = {
        one.id: GroupMember(id=one.id, version=one.version, api=one.descriptor.api)
        for group in islice(_expanded(selection, exec_env, platform_api), MAX_GROUPS)
        for one in reversed(group.members)
        if not one.extension
    }
    return tuple(found.values())


def _expanded(selection: Selection, exec_env: str, platform_api: str) -> Iterable[ExpandedGroup]:
    return candidates(
        selection.order,
        system=selection.system,
        buildpacks=selection.buildpacks,
        extensions=selection.extensions,
        exec_env=exec_env,
        platform_api=platform_api,
    )


def _group(number: int, group: ExpandedGroup) -> Group:
    return Group(
        number=number,
        members=tuple(
            Candidate(id=m.id, version=m.version, optional=m.optional, extension=m.extension, system=m.system)
            for m in group.members
        ),
        skipped=tuple(Left(id=s.id, version=s.version, why=s.why) for s in group.skipped),
    )


def sources(selection: Selection, layers: Mapping[Key, str] = MappingProxyType({})) -> tuple[Source, ...]:
    """Where everything that may take part comes from, extensions first, then by id and version.

    `layers` are those of the builder that have its own.
    """
    both = [*selection.extensions.values(), *selection.buildpacks.values()]
    both.sort(key=lambda one: (one.kind != "extension", one.id, one.version))
    return tuple(_source(selection, one, layers) for one in both)


def layers(builder: Builder) -> dict[Key, str]:
    """Which of a builder's layers has which buildpack or extension, by its labels; none that it lacks."""
    if builder.image is None:
        return {}
    present = {str(layer.diff_id) for layer in builder.image.layers}
    found: dict[Key, str] = {}
    for kind, key in package.LAYER_LABELS.items():
        # A label that nobody else needs is no reason to end a build.
        with suppress(UsageError):
            label = package.read_layers(builder.labels, key, where=builder.reference) or {}
            found |= {
                (kind, id_, version): one.layer_diff_id for id_, all_ in label.items() for version, one in all_.items()
            }
    return {key: digest for key, digest in found.items() if digest in present}


def _source(selection: Selection, one: StagedBuildpack, layers: Mapping[Key, str]) -> Source:
    key = (one.kind, one.id, one.version)
    found = selection.provenance.get(key)
    return Source(
        kind=one.kind,
        id=one.id,
        version=one.version,
        origin=found.kind if found else "builder",
        place=found.place if found else one.source,
        digest=one.digest or None,
        layer=None if one.digest else layers.get(key),
        composite=one.descriptor.is_composite,
    )


def caches(
    decisions: Iterable[LayerDecision],
    group: Iterable[str],
    *,
    label: LifecycleLabel,
    cache: CacheRecord,
    previous: str,
    carried: Collection[str] = (),
    elsewhere: str = "",
) -> tuple[Cached, ...]:
    """What becomes of every layer that is known of the last build, by buildpack and name.

    `group` are the ids of those who take part, `previous` the name of the previous image; `carried` the layers that
    come from a cache called `elsewhere`.
    """

    def origin(one: LayerDecision) -> str:
        if one.action == "unpacked":
            return elsewhere if one.diff_id in carried else "the store"
        return {"kept": "the workspace", "metadata": previous}.get(one.action, "")

    found = [
        Cached(
            buildpack=one.buildpack,
            layer=one.name,
            action=one.action,
            origin=origin(one),
            reason=one.reason,
            diff_id=one.diff_id,
        )
        for one in decisions
    ]
    found += [
        Cached(buildpack=one.buildpack, layer=one.name, action="dropped", origin="", reason=one.reason, diff_id="")
        for one in left_behind(group, label=label, cache=cache)
    ]
    return tuple(sorted(found, key=lambda one: (one.buildpack, one.layer)))
