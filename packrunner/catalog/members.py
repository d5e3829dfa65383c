"""What composites name, among what is to be put together: each there, one version of it chosen, none part of itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats.positions import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.formats.buildpack import GroupRef


class Named(msgspec.Struct, frozen=True):
    """A reference in the order of a composite."""

    owner: StagedBuildpack
    ref: GroupRef
    key: str

    @property
    def text(self) -> str:
        """`id@version`, or the id alone."""
        return f"{self.ref.id}@{self.ref.version}" if self.ref.version else self.ref.id

    @property
    def at(self) -> str:
        """File, line and key."""
        return at(self.owner, self.key)


def at(one: StagedBuildpack, key: str) -> str:
    """Where a key stands in the descriptor of what was staged; without its line in a builder that is not unpacked."""
    where = f"{one.shown or one.source}/{one.kind}.toml"
    if not one.digest:
        return f"{where}, key {key}"
    try:
        with open(os.path.join(one.path, f"{one.kind}.toml"), encoding="utf-8") as file:
            return place(file.read(), key, where)
    except OSError as error:
        raise disk_error(error, where) from error


def references(modules: Iterable[StagedBuildpack]) -> Iterator[Named]:
    """Everything that composites among them name."""
    for one in modules:
        for i, group in enumerate(one.descriptor.order):
            for j, ref in enumerate(group.group):
                yield Named(one, ref, f"order[{i}].group[{j}].id")


def versions(modules: Iterable[StagedBuildpack]) -> dict[str, list[str]]:
    """The versions of each buildpack, sorted."""
    found: dict[str, set[str]] = {}
    for one in modules:
        if one.kind == "buildpack":
            found.setdefault(one.id, set()).add(one.version)
    return {identity: sorted(known) for identity, known in found.items()}


def refuse_open(modules: Sequence[StagedBuildpack], *, slug: str = "unknown-buildpack") -> None:
    """Raise UsageError, with `slug`, for a reference without a version to a buildpack of several (IMG-10)."""
    have = versions(modules)
    for named in references(modules):
        known = have.get(named.ref.id, [])
        if not named.ref.version and len(known) > 1:
            owner = named.owner
            raise UsageError(
                f"{owner.id}@{owner.version} names {named.ref.id} without a version, and there are {len(known)}",
                slug=slug,
                cause=f"there is {named.ref.id} {', '.join(known)}",
                at=named.at,
                tries=(f'version = "{known[-1]}"',),
            )


def refuse_circles(modules: Sequence[StagedBuildpack]) -> None:
    """Raise UsageError, slug `buildpack-cycle`, for a composite that is part of itself (BPD-10)."""
    inside: dict[str, list[Named]] = {}
    have = versions(modules)
    for named in references(modules):
        inside.setdefault(f"{named.owner.id}@{named.owner.version}", []).append(named)
    done: set[str] = set()
    for start in inside:
        path: dict[str, Named] = {}
        # What is to be looked at, with the reference that leads there; "" ends what is below one.
        pending: list[tuple[str, Named | None]] = [(start, None)]
        while pending:
            name, by = pending.pop()
            if not name:
                done.add(path.popitem()[0])
                continue
            if name in path:
                assert by is not None
                raise _circle([*path], name, by)
            if name in done or name not in inside:
                continue
            path[name] = by or inside[name][0]
            pending.append(("", None))
            pending += [(_meant(one, have), one) for one in reversed(inside[name])]


def _meant(named: Named, have: dict[str, list[str]]) -> str:
    known = have.get(named.ref.id, [])
    return named.text if named.ref.version or len(known) != 1 else f"{named.ref.id}@{known[0]}"


def _circle(path: list[str], again: str, by: Named) -> UsageError:
    return UsageError(
        f"the composite {again.partition('@')[0]} is part of itself",
        slug="buildpack-cycle",
        cause=" -> ".join([*path[path.index(again) :], again]),
        at=by.at,
        tries=("take one of these out of the order of the one before it",),
    )
