"""Package lists: tens of thousands of stanzas, of which a few hundred are ever looked at.

So a list is only cut at its blank lines and indexed by name; a stanza is parsed when it is asked for.
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.bases.apt_sources import Archive

_RELATION = re.compile(
    r"([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?\s*(?:\[[^]]*\])?"
)
_PATH = re.compile(r"pool/[A-Za-z0-9/_.+~:%-]+\.deb")
_FIELD = re.compile(rb"(?m)^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)")


class Relation(msgspec.Struct, frozen=True):
    """One alternative: a name, and a condition upon its version unless `operator` is empty."""

    name: str
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name

    def admits(self, version: str) -> bool:
        """Whether `version` meets the condition."""
        if not self.operator:
            return True
        order = compare_versions(version, self.version)
        return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[self.operator]


Clause = tuple[Relation, ...]
"""Alternatives, any of which will do."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One binary package of an archive; `path` is relative to the archive's root, `size` in bytes."""

    name: str
    version: str
    architecture: str = "all"
    essential: bool = False
    priority: str = "optional"
    depends: tuple[Clause, ...] = ()
    provides: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    archive: Archive = "main"
    path: str = ""
    size: int = 0
    sha256: str = ""


def parse_clauses(text: str) -> tuple[Clause, ...]:
    """A relationship field: clauses divided by commas, alternatives by bars.

    Raises CorruptError, slug `debian-index`.
    """
    clauses = (clause.split("|") for clause in text.split(",") if clause.strip())
    return tuple(tuple(_relation(alternative.strip()) for alternative in clause) for clause in clauses)


def _relation(text: str) -> Relation:
    match = _RELATION.fullmatch(text)
    if not match:
        raise _damaged(f"the relation {text[:100]!r} cannot be read")
    name, _qualifier, operator, version = match.groups()
    return Relation(name, operator or "", version or "")


def compare_versions(left: str, right: str) -> int:
    """Below, at or above zero as `left` is the older, same or newer one by Debian's order."""
    if left == right:
        return 0
    from debian.debian_support import NativeVersion

    a, b = NativeVersion(left), NativeVersion(right)
    return -1 if a < b else int(a > b)


def newest_first(packages: Iterable[Package]) -> list[Package]:
    """By Debian's order of versions; equal ones stay as they came."""

    def order(left: Package, right: Package) -> int:
        return compare_versions(right.version, left.version)

    return sorted(packages, key=cmp_to_key(order))


class Universe(msgspec.Struct):
    """All packages that can be had, from every list that was added; the newest of each name is the one meant."""

    _stanzas: dict[str, list[tuple[bytes, Archive]]] = msgspec.field(default_factory=dict)
    _packages: dict[str, list[Package]] = msgspec.field(default_factory=dict)
    _providers: dict[str, set[str]] = msgspec.field(default_factory=dict)
    _essential: set[str] = msgspec.field(default_factory=set)

    def add_list(self, text: bytes, archive: Archive) -> None:
        """Add the content of a Packages file."""
        for stanza in text.split(b"\n\n"):
            stripped = stanza.strip(b"\n")
            if not stripped:
                continue
            if not stripped.startswith(b"Package: "):
                raise _damaged("it holds a stanza that does not begin with a name")
            name = stripped[9:].partition(b"\n")[0].strip().decode("ascii", "replace")
            self._stanzas.setdefault(name, []).append((stripped, archive))
            _, has, provides = stripped.partition(b"\nProvides:")
            if has:
                for provided in provides.partition(b"\n")[0].decode("ascii", "replace").split(","):
                    self._providers.setdefault(provided.split("(")[0].strip(), set()).add(name)
            if b"\nEssential: yes" in stripped:
                self._essential.add(name)

    def add(self, *packages: Package) -> None:
        """Add packages that are values already."""
        for package in packages:
            self._packages.setdefault(package.name, []).append(package)
            for provided in package.provides:
                self._providers.setdefault(provided.name, set()).add(package.name)
            if package.essential:
                self._essential.add(package.name)

    def newest(self, name: str) -> Package | None:
        """The newest package of that very name."""
        for stanza, archive in self._stanzas.pop(name, ()):
            self._packages.setdefault(name, []).append(_parse(stanza, archive))
        known = self._packages.get(name)
        if not known:
            return None
        if len(known) > 1:
            self._packages[name] = known = newest_first(known)
        return known[0]

    def providers(self, name: str) -> list[Package]:
        """The newest packages that provide `name`, in order of their own names."""
        found = (self.newest(provider) for provider in sorted(self._providers.get(name, ())))
        return [package for package in found if package and any(p.name == name for p in package.provides)]

    def has(self, name: str) -> bool:
        """Whether there is a package of that very name, or one that provides it."""
        return name in self._stanzas or name in self._packages or name in self._providers

    def names(self, beginning: str) -> list[str]:
        """The names that begin so, in order."""
        return sorted(name for name in {*self._stanzas, *self._packages} if name.startswith(beginning))

    def essential(self) -> list[str]:
        """Names of the packages marked essential, in order."""
        return sorted(self._essential)


def _parse(stanza: bytes, archive: Archive) -> Package:
    fields = {name.decode(): value.decode("utf-8", "replace").strip() for name, value in _FIELD.findall(stanza)}

    def clauses(*names: str) -> tuple[Clause, ...]:
        return tuple(clause for name in names for clause in parse_clauses(fields.get(name, "")))

    name, size, sha256, path = (fields.get(key, "") for key in ("Package", "Size", "SHA256", "Filename"))
    sound = size.isdigit() and re.fullmatch("[0-9a-f]{64}", sha256) and _PATH.fullmatch(path) and ".." not in path
    if not sound or not fields.get("Version"):
        raise _damaged(f"the entry for {name!r} lacks what is needed to fetch it")
    return Package(
        name=name,
        version=fields["Version"],
        architecture=fields.get("Architecture", "all"),
        essential=fields.get("Essential") == "yes",
        priority=fields.get("Priority", "optional"),
        depends=clauses("Pre-Depends", "Depends"),
        provides=tuple(relation for clause in clauses("Provides") for relation in clause),
        conflicts=tuple(relation for clause in clauses("Conflicts", "Breaks") for relation in clause),
        archive=archive,
        path=path,
        size=int(size),
        sha256=sha256,
    )


def _damaged(cause: str) -> CorruptError:
    return CorruptError("a package list cannot be read", slug="debian-index", cause=cause)
