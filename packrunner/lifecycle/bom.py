"""The bill of materials of old buildpacks: `[[bom]]` in launch.toml and build.toml (BLD-28). Pure, but for warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.events import Warned
from packrunner.lifecycle.sbom import Sbom

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.events import Reporter
    from packrunner.formats.group import GroupMember
    from packrunner.formats.layer import BomEntry
    from packrunner.lifecycle.outputs import BuildpackOutput
    from packrunner.lifecycle.sbom import Scope

FILE = "sbom.legacy.json"


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of a whole group, each with the buildpack that it comes from."""

    launch: tuple[dict[str, Any], ...]
    build: tuple[dict[str, Any], ...]

    def files(self) -> tuple[Sbom, ...]:
        """A file for each kind that has entries; without any there is none, and so no layer for it."""
        scopes: tuple[tuple[Scope, tuple[dict[str, Any], ...]], ...] = (("launch", self.launch), ("build", self.build))
        return tuple(
            Sbom(scope=scope, path=FILE, data=msgspec.json.encode(entries, order="deterministic") + b"\n")
            for scope, entries in scopes
            if entries
        )


def collect(outputs: Iterable[BuildpackOutput], reporter: Reporter) -> Entries:
    """All entries in build order; each buildpack that writes some is told of."""
    launch: list[dict[str, Any]] = []
    build: list[dict[str, Any]] = []
    for output in outputs:
        for where, found, into in (("launch", output.launch.bom, launch), ("build", output.build.bom, build)):
            if found:
                into.extend(_described(output.member, found))
                text = f"{output.member.id} lists a bill of materials in {where}.toml, which is deprecated"
                reporter.emit(Warned(text=text, hint="its authors could write SBOM files instead"))
    return Entries(launch=tuple(launch), build=tuple(build))


def _described(member: GroupMember, entries: Iterable[BomEntry]) -> list[dict[str, Any]]:
    origin = {"id": member.id, "version": member.version}
    return [{"name": entry.name, "metadata": entry.metadata, "buildpack": origin} for entry in entries]
