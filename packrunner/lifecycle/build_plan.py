"""The build plan as each bin/build sees it, and what is left of it afterwards (BLD-03 - BLD-05). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.errors import BuildError
from packrunner.formats.plan import BuildpackPlan, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.formats.group import GroupMember
    from packrunner.formats.layer import Unmet


def plan_for(plan: Plan, member: GroupMember, *, extension: bool = False) -> BuildpackPlan:
    """All requires of the names that this member provides and that are not met yet; `extension` is its kind."""
    me = (member.id, member.version, extension)
    entries = [e for e in plan.entries if any((p.id, p.version, p.extension) == me for p in e.providers)]
    return BuildpackPlan(entries=tuple(require for entry in entries for require in entry.requires))


def without_met(plan: Plan, given: BuildpackPlan, unmet: Iterable[Unmet], *, where: str) -> Plan:
    """The plan for later members: every name given counts as met unless build.toml says otherwise.

    Raises BuildError for an unmet name that is empty or was not given (BLD-05).
    """
    names = {require.name for require in given.entries}
    open_names = {u.name for u in unmet}
    for name in sorted(open_names):
        if name not in names:
            brief = f"{where}: `{name}` is listed as unmet, and is not in the buildpack's plan"
            raise BuildError(
                brief if name else f"{where}: an unmet entry has no name", slug="unmet", at=f"{where}, key unmet.name"
            )
    met = names - open_names
    return Plan(entries=tuple(e for e in plan.entries if not any(r.name in met for r in e.requires)))
