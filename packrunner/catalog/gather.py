"""Gathering what takes part in a build: each buildpack found and staged once, and whatever composites name."""

from __future__ import annotations

import os
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from packrunner.catalog import builtin, members
from packrunner.catalog.elsewhere import Elsewhere
from packrunner.catalog.locate import Located, check_version, locate, locate_extension, unknown
from packrunner.catalog.places import Place, classify
from packrunner.catalog.selection import CatalogSettings, Provenance, Selection
from packrunner.catalog.shelf import Shelf
from packrunner.catalog.stage import Stage, StagedBuildpack
from packrunner.catalog.vendored import wanted
from packrunner.errors import UsageError
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import Order, System
from packrunner.names import BuildpackId
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packrunner.catalog.carried import Carried
    from packrunner.catalog.check import Kind
    from packrunner.catalog.locate import Origin

_ORIGINS: Mapping[str, Origin] = {"image": "package", "file": "archive", "address": "address", "git": "git"}
_OF_BUILDER = ("urn:cnb:builder:", "from=builder:")


class Gathering:
    """Buildpacks of a builder's image (`carried`), of some directories (`shelf`), built in, or anywhere by path."""

    def __init__(self, settings: CatalogSettings, shelf: Shelf | None = None, carried: Carried | None = None) -> None:
        self.settings = settings
        self.carried = carried
        self.inputs: dict[str, None] = {}
        self._shelf = shelf or Shelf(())
        self._stage = Stage(
            settings.stage_dir,
            sdk_dir=settings.sdk_dir,
            programs_dir=settings.programs_dir,
            platform=settings.platform,
        )
        self._elsewhere = Elsewhere(self._stage, settings.stage_dir, settings.reach)
        self._found: dict[tuple[str, str], StagedBuildpack] = {}
        self._sources: dict[str, StagedBuildpack] = {}
        self._provenance: dict[tuple[Kind, str, str], Provenance] = {}

    def named(self, text: str) -> StagedBuildpack:
        """A buildpack by what --buildpack takes: one that the builder carries comes before a built-in one."""
        bare = text
        for prefix in _OF_BUILDER:
            bare = bare.removeprefix(prefix)
        if self.carried is not None:
            identity, _, version = bare.partition("@")
            found = self.carried.find(GroupRef(id=identity, version=version)) if _is_id(identity) else None
            if found is not None:
                return self._join(found)
            if bare != text or (_is_id(identity) and "/" in identity and not _is_ours(identity, bare)):
                if bare == text and self._is_package(bare):
                    return self._brought(Place(kind="image", text=bare, path=bare))
                raise self.carried.unknown(bare)
        place = classify(bare)
        if place.kind not in {"name", "directory"}:
            return self._brought(place)
        try:
            return self.add(locate(place.path, builtin_dir=self.settings.builtin_dir))
        except UsageError:
            if place.kind == "name" and self._is_package(bare):
                return self._brought(Place(kind="image", text=bare, path=bare))
            raise

    def _is_package(self, name: str) -> bool:
        """Whether a name that nothing else has is that of an image: it names a registry, or the store has it."""
        first, slash, _ = name.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        reach = self.settings.reach
        return reach is not None and (named or reach.holds(name))

    def _brought(self, place: Place, kind: Kind = "buildpack") -> StagedBuildpack:
        """Stage what is elsewhere; whatever comes along with it can be named by composites."""
        entry, *others = self._elsewhere.stage(place)
        if entry.kind != kind:
            raise UsageError(
                f"{place.text} is no {kind} but an {entry.kind}"
                if kind == "buildpack"
                else f"{place.text} is no {kind}",
                slug=f"unknown-{kind}",
                tries=(f"--{entry.kind} {place.text}",),
            )
        for one in (entry, *others):
            self._came_from(one, _ORIGINS[place.kind], place.text)
        for one in (entry, *others) if kind == "buildpack" else ():
            _refuse_twin(self._found, one)
            self._found[one.id, one.version] = one
        return entry

    def _join(self, carried: StagedBuildpack) -> StagedBuildpack:
        """Let a buildpack of the builder take part, unless one that was added has its id and version."""
        return self._found.setdefault((carried.id, carried.version), carried)

    def add(self, located: Located) -> StagedBuildpack:
        """Stage what was located; the same place is staged once."""
        staged = self._sources.get(located.source)
        if staged is None:
            staged = self._sources[located.source] = self._stage.add(located.source)
        check_version(located, staged.version)
        _refuse_twin(self._found, staged)
        self._found[staged.id, staged.version] = staged
        self._came_from(staged, located.kind, located.source)
        if located.source not in self.inputs:
            self.inputs[located.source] = None
            if staged.descriptor.is_composite:
                self._bring_along(located.source)
        return staged

    def _came_from(self, staged: StagedBuildpack, kind: Origin, place: str) -> None:
        self._provenance.setdefault((staged.kind, staged.id, staged.version), Provenance(kind=kind, place=place))

    def _bring_along(self, composite: str) -> None:
        """Stage what the package.toml in a composite's directory would package with it, for its order to name."""
        from packrunner.catalog import packing

        for place in packing.dependencies(composite):
            if place.kind == "directory":
                self.add(Located(asked=place.text, source=place.path))
            elif place.kind == "name":
                self.add(locate(place.path, builtin_dir=self.settings.builtin_dir))
            else:
                self._brought(place)

    def extensions(self, directories: tuple[str, ...]) -> dict[tuple[str, str], StagedBuildpack]:
        """Stage image extensions, once all buildpacks are here that composites name."""
        self._complete()
        staged: dict[tuple[str, str], StagedBuildpack] = {}
        for directory in directories:
            place = classify(directory)
            if place.kind in {"name", "directory"}:
                found = self._stage.add(locate_extension(place.path).source, "extension")
                self.inputs[found.source] = None
                self._came_from(found, "directory", found.source)
            else:
                found = self._brought(place, "extension")
            _refuse_twin(staged | self._found, found)
            staged[found.id, found.version] = found
        return staged

    def carried_extensions(
        self, order: Order, carried: Carried
    ) -> tuple[Order, dict[tuple[str, str], StagedBuildpack]]:
        """The extensions of the builder's own order, staged: they are read here, and small (BPD-12)."""
        staged: dict[tuple[str, str], StagedBuildpack] = {}
        groups: list[OrderGroup] = []
        for group in carried.order.order_extensions:
            pinned: list[GroupRef] = []
            for ref in group.group:
                found = carried.find(ref, "extension")
                if found is None:
                    raise no_extension(ref)
                one = self._stage.add(carried.place(found), "extension")
                staged[one.id, one.version] = one
                pinned.append(GroupRef(id=one.id, version=one.version, optional=True, exec_env=ref.exec_env))
            groups.append(OrderGroup(group=tuple(pinned)))
        return Order(order=order.order, order_extensions=tuple(groups)), staged

    def pin(self, refs: Iterable[GroupRef]) -> tuple[GroupRef, ...]:
        """The same references with their versions, each staged."""
        return tuple(
            GroupRef(id=ref.id, version=self.find(ref).version, optional=ref.optional, exec_env=ref.exec_env)
            for ref in refs
        )

    def find(self, ref: GroupRef) -> StagedBuildpack:
        """A buildpack that an order names: one that was asked for, else the builder's, else a built-in one (BPD-05)."""
        known = self._known(ref)
        if known is not None and ref.version:
            return known
        source = self._shelf.find(ref)
        if source is not None:
            return self.add(Located(asked=ref.id, source=source, version=ref.version))
        if known is None or not known.digest:
            carried = self.carried.find(ref) if self.carried else None
            if carried is not None:
                return self._join(carried)
        if known is not None:
            return known
        name = ref.id.removeprefix(builtin.NAMESPACE)
        asked = f"{ref.id}@{ref.version}" if ref.version else ref.id
        if name == ref.id or name not in builtin.short_names(self.settings.builtin_dir):
            if self.carried:
                raise self.carried.unknown(asked)
            raise self._shelf.lacks(asked) or unknown(ref.id, self.settings.builtin_dir)
        source = os.path.join(self.settings.builtin_dir, name)
        return self.add(Located(asked=asked, source=source, version=ref.version, kind="built-in"))

    def _known(self, ref: GroupRef) -> StagedBuildpack | None:
        if ref.version:
            return self._found.get((ref.id, ref.version))
        return next((b for (identity, _), b in self._found.items() if identity == ref.id), None)

    def _complete(self) -> None:
        """Stage whatever composites name, and what that names."""
        pending = list(self._found.values())
        seen = set(self._found)
        while pending:
            owner = pending.pop()
            for named in members.references([owner]):
                try:
                    found = self.find(named.ref)
                except UsageError as error:
                    error.at = error.at or named.at
                    raise
                if (found.id, found.version) not in seen:
                    seen.add((found.id, found.version))
                    pending.append(found)
        members.refuse_open([*self._found.values()])
        members.refuse_circles([*self._found.values()])

    def selection(
        self, order: Order, system: System, staged: Mapping[tuple[str, str], StagedBuildpack] = MappingProxyType({})
    ) -> Selection:
        """What was gathered, in its order."""
        if staged and not order.order_extensions:
            group = OrderGroup(group=tuple(ref_to(e) for e in staged.values()))
            order = Order(order=order.order, order_extensions=(group,))
        own = [b for b in self._found.values() if b.digest]
        if any(b.sdk for b in (*self._found.values(), *staged.values())):
            self.inputs[self.settings.sdk_dir] = None
        if any(wanted(b.descriptor).reloader for b in (*self._found.values(), *staged.values())):
            self.inputs[self.settings.programs_dir] = None
        return Selection(
            order=order,
            system=system,
            buildpacks=_distinct(self._found),
            root=self._stage.combine(own) if own or not self.carried else "",
            inputs=(*self.inputs, *self._elsewhere.inputs),
            images=self._elsewhere.images,
            moving=self._elsewhere.moving,
            extensions=_distinct(staged),
            extensions_root=self._stage.combine(staged.values()) if staged else "",
            beside=self.carried is not None,
            provenance=self._provenance,
        )


def no_extension(ref: GroupRef) -> UsageError:
    """The error for an extension that is nowhere."""
    return UsageError(
        f"there is no image extension {ref.id}{f'@{ref.version}' if ref.version else ''}",
        slug="unknown-extension",
        tries=("--extension DIR, for the directory that holds extension.toml", "--buildpacks DIR, for one of several"),
    )


def _refuse_twin(known: Mapping[tuple[str, str], StagedBuildpack], staged: StagedBuildpack) -> None:
    twin = known.get((staged.id, staged.version))
    if twin is not None and twin.digest and (twin.kind, twin.digest) != (staged.kind, staged.digest):
        what = f"different {staged.kind}s" if twin.kind == staged.kind else "things, a buildpack and an extension,"
        raise UsageError(
            f"two {what} call themselves {staged.id}@{staged.version}",
            slug="buildpack-descriptor",
            cause=f"{readable(twin.source)} and {readable(staged.source)}",
            at=members.at(staged, f"{staged.kind}.id"),
            tries=("give one of them another version",),
        )


def ref_to(buildpack: StagedBuildpack) -> GroupRef:
    """A reference to exactly this one."""
    return GroupRef(id=buildpack.id, version=buildpack.version)


def _is_ours(identity: str, text: str) -> bool:
    """Whether it is the name of a built-in buildpack, or a directory that holds one."""
    return identity.startswith(builtin.NAMESPACE) or os.path.isdir(text)


def _is_id(text: str) -> bool:
    try:
        BuildpackId.parse(text)
    except UsageError:
        return False
    return not text.startswith(".")


def _distinct(found: Mapping[tuple[str, str], StagedBuildpack]) -> dict[tuple[str, str], StagedBuildpack]:
    """Short names are for telling buildpacks apart: where two are the same, both are called by their ids."""
    count = Counter(short for _, short in {(b.id, b.short) for b in found.values()})
    return {key: msgspec.structs.replace(b, short=b.id) if count[b.short] > 1 else b for key, b in found.items()}
