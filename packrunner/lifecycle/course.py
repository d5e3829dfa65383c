"""How far a build has come, for the report of one that fails."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.formats.group import GroupMember
    from packrunner.lifecycle.explain import GroupOutcome
    from packrunner.lifecycle.job import KnownBefore

Phase = Literal["prepare", "analyze", "detect", "extend", "restore", "build", "export", "send"]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a buildpack of the group; `seconds` is None where it did not run."""

    id: str
    version: str
    status: Literal["built", "failed", "not run"] = "not run"
    seconds: float | None = None


class Course:
    """What the phases tell as they go. `known` is None until it is decided what comes back of the last build."""

    def __init__(self) -> None:
        self.phase: Phase = "prepare"
        self.outcomes: tuple[GroupOutcome, ...] = ()
        self.group: tuple[GroupMember, ...] = ()
        self.extensions: tuple[GroupMember, ...] = ()
        self.known: KnownBefore | None = None
        self._turns: dict[str, Turn] = {}

    @contextmanager
    def turn(self, member: GroupMember) -> Iterator[None]:
        """While a buildpack builds, and what it left is read."""
        began = time.monotonic()
        status: Literal["built", "failed"] = "failed"
        try:
            yield
            status = "built"
        finally:
            seconds = round(time.monotonic() - began, 6)
            self._turns[member.id] = Turn(id=member.id, version=member.version, status=status, seconds=seconds)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All buildpacks of the group, in its order."""
        return tuple(self._turns.get(one.id, Turn(id=one.id, version=one.version)) for one in self.group)
