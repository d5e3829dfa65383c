"""From what ran and what was resolved to how each group fared. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from packrunner.lifecycle.detect_run import FAIL, status
from packrunner.lifecycle.explain import GroupOutcome, MemberOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.lifecycle.detect_run import Run
    from packrunner.lifecycle.explain import Status
    from packrunner.lifecycle.order import ExpandedGroup, Key, Member, Skipped
    from packrunner.lifecycle.resolve import Problem, Resolution


def tried(
    group: ExpandedGroup,
    passing: Sequence[Member],
    found: Resolution | None,
    runs: Mapping[Key, Run],
    names: Mapping[Key, str],
) -> GroupOutcome:
    """How a group fared; `found` is what became of the plans of those who passed, None where none was looked at."""
    problems: dict[Key, list[Problem]] = {}
    for problem in found.problems if found else ():
        problems.setdefault((problem.id, problem.version), []).append(problem)
    choices = dict(zip((m.key for m in passing), found.choices, strict=True)) if found and found.ok else {}
    members = [
        _member(m, runs[m.key], names[m.key], problems=problems.get(m.key, []), choice=choices.get(m.key))
        for m in group.members
    ]
    members += [_skipped(s, names, "skipped") for s in group.skipped]
    combinations = found.combinations if found else 0
    if found is not None and found.ok:
        return GroupOutcome(status="chosen", members=tuple(members), trial=found.place, combinations=combinations)
    errored = any(m.status == "errored" for m in members) or (found is not None and found.cut_off)
    how: Literal["errored", "failed"] = "errored" if errored else "failed"
    why = "" if group.members else "none of its buildpacks is for this execution environment"
    return GroupOutcome(status=how, members=tuple(members), why=why, combinations=combinations)


def untried(group: ExpandedGroup, names: Mapping[Key, str]) -> GroupOutcome:
    """A group that comes after the chosen one."""
    members = [
        MemberOutcome(
            id=m.id,
            version=m.version,
            short=names[m.key],
            status="untried",
            optional=m.optional,
            extension=m.extension,
        )
        for m in group.members
    ]
    members += [_skipped(s, names, "untried") for s in group.skipped]
    return GroupOutcome(status="untried", members=tuple(members))


def _skipped(skipped: Skipped, names: Mapping[Key, str], how: Status) -> MemberOutcome:
    name = names[skipped.id, skipped.version]
    return MemberOutcome(id=skipped.id, version=skipped.version, short=name, status=how, why=skipped.why)


def _member(member: Member, run: Run, name: str, *, problems: Sequence[Problem], choice: int | None) -> MemberOutcome:
    return MemberOutcome(
        id=member.id,
        version=member.version,
        short=name,
        status=status(run, problems, optional=member.optional),
        why=run.why or "; ".join(map(str, problems)),
        optional=member.optional,
        extension=member.extension,
        code=run.code,
        tries=run.said.tries if run.code == FAIL else (),
        lines=run.said.lines if run.error else (),
        problems=tuple(problems),
        alternative=0 if choice is None else choice + 1,
        alternatives=len(run.plan.all) if run.plan else 1,
    )
