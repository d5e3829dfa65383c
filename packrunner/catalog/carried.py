"""The buildpacks and extensions that a builder's image carries, used where they lie (IMG-04, IMG-05, IMG-10, BPD-05).

/cnb/buildpacks/<id with _>/<version>/buildpack.toml      /cnb/extensions/<id with _>/<version>/extension.toml
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.catalog.check import PLACES, parse_descriptor, place_of
from packrunner.catalog.stage import StagedBuildpack
from packrunner.errors import UsageError
from packrunner.names import BuildpackId
from packrunner.workspace import BUILDPACKS_DIR

if TYPE_CHECKING:
    from packrunner.catalog.check import Kind
    from packrunner.catalog.memory import Memory
    from packrunner.formats.buildpack import BuildpackDescriptor, GroupRef
    from packrunner.formats.group import Order, System
    from packrunner.images.view import View


class Carried:
    """What the builder called `builder` carries, seen in its files; `order` and `system` as it has them.

    `names` are the ids of its buildpacks as far as it lists them, for messages.
    """

    def __init__(
        self, files: View, memory: Memory, *, builder: str, order: Order, system: System, names: tuple[str, ...] = ()
    ) -> None:
        self.builder = builder
        self.names = names
        self.order = order
        self.system = system
        self._files = files
        self._memory = memory
        self._known: dict[tuple[Kind, str, str], StagedBuildpack] = {}

    def find(self, ref: GroupRef, kind: Kind = "buildpack") -> StagedBuildpack | None:
        """The one that `ref` means; None where it is not there.

        Raises UsageError: `unknown-buildpack` for a reference without version to several (IMG-10),
        `buildpack-descriptor`, `toml`; BuildpackApiError (BPD-02).
        """
        versions = self.versions(BuildpackId.parse(ref.id), kind)
        if not ref.version and len(versions) > 1:
            raise UsageError(
                f"{ref.id} is named without a version, and {self.builder} has {len(versions)}",
                slug="unknown-buildpack",
                cause=f"there is {ref.id} {', '.join(versions)}",
                tries=(f"{ref.id}@{versions[-1]}",),
            )
        version = ref.version or "".join(versions)
        return self._describe(ref.id, version, kind) if version in versions else None

    def versions(self, identity: str, kind: Kind = "buildpack") -> list[str]:
        """The versions of a buildpack or extension, sorted."""
        place = f"{PLACES[kind]}/{identity.replace('/', '_')}"
        return self._memory.versions(
            place, lambda: [name for name in self._files.names(place) if self._has(f"{place}/{name}", kind)]
        )

    def all(self) -> tuple[tuple[str, str], ...]:
        """Every buildpack's id and version, as their descriptors say: for builders that do not list them."""
        found = []
        for directory in self._files.names(BUILDPACKS_DIR):
            for version in self.versions(directory):
                shown = f"{BUILDPACKS_DIR}/{directory}/{version}/buildpack.toml"
                data = self._files.read(shown) or b""
                descriptor = parse_descriptor(data, where=f"{self.builder}:{shown}", strict=False)
                found.append((descriptor.buildpack.id, version))
        return tuple(found)

    def unknown(self, asked: str) -> UsageError:
        """The error for a buildpack that it does not have, with the nearest ones that it has."""
        # 4 ms that only a typo should cost.
        from difflib import get_close_matches

        close = get_close_matches(asked.partition("@")[0], self.names, n=2)
        return UsageError(
            f"{self.builder} has no buildpack {asked}" + (f": did you mean {close[0]}" if close else ""),
            slug="unknown-buildpack",
            cause=f"it has {', '.join(self.names)}" if self.names else None,
            tries=tuple(f"--buildpack {match}" for match in close) or ("--buildpack ./DIR, for one of your own",),
        )

    def place(self, found: StagedBuildpack) -> str:
        """The host path of its directory. Raises UsageError where no single layer has all of it."""
        place = self._files.directory(found.path)
        if place is None:
            raise UsageError(
                f"{found.id}@{found.version} is spread over several layers of {self.builder}",
                slug="unknown-extension",
                at=found.source,
                tries=("--extension ./DIR, with a copy of it",),
            )
        return place

    def keep(self) -> None:
        """Remember what was read."""
        self._memory.keep()

    def _has(self, place: str, kind: Kind) -> bool:
        return self._files.kind(f"{place}/{kind}.toml") == "file"

    def _describe(self, identity: str, version: str, kind: Kind) -> StagedBuildpack:
        known = self._known.get((kind, identity, version))
        if known is None:
            place = place_of(kind, identity, version)
            known = self._known[kind, identity, version] = StagedBuildpack(
                id=identity,
                version=version,
                digest="",
                path=place,
                source=f"{self.builder}:{place}",
                descriptor=self._memory.descriptor(place, lambda: self._read(place, identity, version, kind)),
                short=identity.rpartition("/")[2],
                kind=kind,
            )
        return known

    def _read(self, place: str, identity: str, version: str, kind: Kind) -> BuildpackDescriptor:
        where = f"{self.builder}:{place}/{kind}.toml"
        data = self._files.read(f"{place}/{kind}.toml") or b""
        descriptor = parse_descriptor(data, where=where, kind=kind, strict=False)
        found = descriptor.buildpack
        if (found.id, found.version) != (identity, version):
            raise UsageError(
                f"{self.builder}:{place} holds {found.id}@{found.version}", slug="buildpack-descriptor", at=where
            )
        return descriptor
