"""Build plans: what bin/detect writes, what resolution makes of it, what bin/build reads (DET-16 - DET-25)."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.errors import DetectError
from packrunner.formats import toml
from packrunner.formats.positions import place


class Provide(msgspec.Struct, frozen=True):
    """`[[provides]]`."""

    name: str


class Require(msgspec.Struct, frozen=True):
    """`[[requires]]`: a name and free metadata."""

    name: str
    metadata: dict[str, Any] = {}


class Alternative(msgspec.Struct, frozen=True):
    """One pair of provides and requires."""

    provides: tuple[Provide, ...] = ()
    requires: tuple[Require, ...] = ()


class DetectPlan(msgspec.Struct, frozen=True):
    """The plan file of bin/detect: the top-level pair is the first alternative, each `[[or]]` a further one."""

    provides: tuple[Provide, ...] = ()
    requires: tuple[Require, ...] = ()
    alternatives: tuple[Alternative, ...] = msgspec.field(default=(), name="or")

    @property
    def all(self) -> tuple[Alternative, ...]:
        """Every alternative, in the order in which trials take them (DET-18)."""
        return (Alternative(provides=self.provides, requires=self.requires), *self.alternatives)


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[[entries.providers]]`."""

    id: str
    version: str
    extension: bool = False


class Entry(msgspec.Struct, frozen=True):
    """One name of plan.toml, with everyone who provides and requires it."""

    providers: tuple[Provider, ...] = ()
    requires: tuple[Require, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """plan.toml."""

    entries: tuple[Entry, ...] = ()


class BuildpackPlan(msgspec.Struct, frozen=True):
    """What one bin/build is given: the requires of the names it provides (BLD-03)."""

    entries: tuple[Require, ...] = ()


def read_detect_plan(data: bytes, *, where: str) -> DetectPlan:
    """Read what bin/detect wrote; raises DetectError (DET-16), also for a top-level version (DET-17)."""
    table = toml.decode(data, dict, where=where, error=DetectError)
    others = table.get("or", [])
    pairs = [("", table), *((f"or[{i}].", pair) for i, pair in enumerate(others if isinstance(others, list) else ()))]
    for above, pair in pairs:
        requires = pair.get("requires", []) if isinstance(pair, dict) else []
        for j, require in enumerate(requires if isinstance(requires, list) else ()):
            if isinstance(require, dict) and "version" in require:
                raise DetectError(
                    f"{where}: `version` beside a required name is not read any more; put it into its metadata",
                    slug="plan-version",
                    at=place(data.decode(), f"{above}requires[{j}].version", where),
                )
    return toml.convert(table, DetectPlan, where=where, error=DetectError, text=data.decode())
