"""Which packages an image consists of: a pure function of a recipe and the packages that exist.

Breadth first from what is asked for. A clause that leaves a choice (alternatives, or a name that several packages
provide) waits until all others are settled, so that what is chosen anyway already satisfies it. Of each name only
the newest version is considered. Nothing is traded off: where packages contradict each other, that is an error.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from packrunner.bases.packages import Relation, parse_clauses
from packrunner.errors import NetworkError

if TYPE_CHECKING:
    from packrunner.bases.packages import Clause, Package, Universe
    from packrunner.bases.recipes import Recipe

_RANK = {"required": 0, "important": 1, "standard": 2}


def resolve(recipe: Recipe, universe: Universe) -> tuple[Package, ...]:
    """The packages of `recipe`, ordered by name.

    Raises NetworkError, slug `base-unresolvable`, when something is missing or in conflict: the lists of one
    moment are consistent in Debian, so those of another moment will do.
    """
    selection = _Selection(recipe, universe)
    asked = [clause for text in recipe.packages for clause in parse_clauses(text)]
    essential: list[Clause] = [(Relation(name),) for name in universe.essential()] if recipe.essential else []
    selection.take(asked, "the recipe")
    selection.take(essential, "the set of essential packages")
    selection.settle()
    chosen = tuple(selection.chosen[name] for name in sorted(selection.chosen))
    _refuse_conflicts(chosen)
    return chosen


class _Selection:
    def __init__(self, recipe: Recipe, universe: Universe) -> None:
        self.chosen: dict[str, Package] = {}
        self._provided: dict[str, list[Relation]] = {}
        self._universe = universe
        self._exclude = recipe.exclude
        self._pending: deque[tuple[Clause, str]] = deque()
        self._choices: deque[tuple[Clause, str]] = deque()

    def take(self, clauses: list[Clause], wanted_by: str) -> None:
        for clause in clauses:
            if not any(relation.name in self._exclude for relation in clause):
                self._pending.append((clause, wanted_by))

    def settle(self) -> None:
        while self._pending or self._choices:
            leaves_choice = not self._pending
            clause, wanted_by = (self._choices if leaves_choice else self._pending).popleft()
            if self._satisfied(clause):
                continue
            candidates = self._candidates(clause)
            if not candidates:
                wanted = " | ".join(map(str, clause))
                raise _unresolvable(f"{wanted_by} needs {wanted}, which the package lists do not have")
            if not leaves_choice and (len(clause) > 1 or len(candidates) > 1):
                self._choices.append((clause, wanted_by))
                continue
            self._choose(candidates[0])

    def _choose(self, package: Package) -> None:
        self.chosen[package.name] = package
        for provided in package.provides:
            self._provided.setdefault(provided.name, []).append(provided)
        self.take(list(package.depends), package.name)

    def _satisfied(self, clause: Clause) -> bool:
        for relation in clause:
            package = self.chosen.get(relation.name)
            if package and relation.admits(package.version):
                return True
            if any(_provides(provided, relation) for provided in self._provided.get(relation.name, ())):
                return True
        return False

    def _candidates(self, clause: Clause) -> list[Package]:
        """Best first: in the clause's order, a package of the very name before those that provide it."""
        found: dict[str, Package] = {}
        for relation in clause:
            package = self._universe.newest(relation.name)
            if package and relation.admits(package.version):
                found.setdefault(package.name, package)
                continue
            providers = [
                provider
                for provider in self._universe.providers(relation.name)
                if any(_provides(provided, relation) for provided in provider.provides)
            ]
            for provider in sorted(providers, key=lambda one: (_RANK.get(one.priority, 3), one.name)):
                found.setdefault(provider.name, provider)
        return list(found.values())


def _provides(provided: Relation, wanted: Relation) -> bool:
    """An unversioned Provides satisfies only an unversioned dependency."""
    if provided.name != wanted.name:
        return False
    return not wanted.operator or (provided.operator == "=" and wanted.admits(provided.version))


def _refuse_conflicts(chosen: tuple[Package, ...]) -> None:
    names = {package.name: package for package in chosen}
    providers: dict[str, list[tuple[Package, Relation]]] = {}
    for package in chosen:
        for provided in package.provides:
            providers.setdefault(provided.name, []).append((package, provided))
    for package in chosen:
        for relation in package.conflicts:
            other = names.get(relation.name)
            if other and other is not package and relation.admits(other.version):
                raise _unresolvable(f"{package.name} conflicts with {other.name} {other.version}")
            for provider, provided in providers.get(relation.name, ()):
                if provider is not package and _provides(provided, relation):
                    raise _unresolvable(
                        f"{package.name} conflicts with {provider.name}, which provides {relation.name}"
                    )


def _unresolvable(cause: str) -> NetworkError:
    return NetworkError(
        "the packages of the base image do not fit together",
        slug="base-unresolvable",
        cause=cause,
        tries=("wait until the mirror has caught up with Debian, or use another one",),
    )
