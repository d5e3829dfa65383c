"""How detection went, for people and for programs: one word per buildpack in a fixed column, so that grep works."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from packrunner import paths
from packrunner.console import layout, problem, units
from packrunner.console.redact import cleaned, visible
from packrunner.lifecycle.explain import group_name, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.console.terminal import Terminal
    from packrunner.formats.sync import SyncRules
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.explain import GroupOutcome, MemberOutcome, Nearest
    from packrunner.lifecycle.request import BuildRequest

WORDS = {
    "passed": "pass",
    "failed": "no",
    "errored": "error",
    "unmet": "unmet",
    "skipped": "skip",
    "untried": "not tried",
}
VERDICTS = {"chosen": "chosen", "failed": "no", "errored": "error", "untried": "not tried"}
NAME, WHY, OUTPUT_LINES = 11, 33, 5
"""Columns of a member's name and reason; how much of an error's output is shown."""


class _Face(NamedTuple):
    """Where and how text is shown."""

    terminal: Terminal
    redact: Callable[[str], str]

    def clean(self, text: str) -> str:
        return visible(self.redact(text))


def summary(answer: Answer, terminal: Terminal, redact: Callable[[str], str]) -> list[str]:
    """Which group, in what order, with which plan."""
    face = _Face(terminal, redact)
    outcomes = answer.findings.outcomes
    chosen = outcomes[-1]
    total = len(outcomes) + len(answer.untried)
    kept = [m for m in chosen.members if m.status == "passed"]
    rows = [("group", [f"{len(outcomes)} of {total}: {group_name(chosen)}"])]
    rows.append(("order", [", ".join(f"{m.short} {m.version}".strip() for m in kept)]))
    rows.append(("plan", _plan_rows(answer) or ["nothing is required or provided"]))
    rows.append(("rules", _rule_rows(answer)))
    lines = []
    for label, texts in rows:
        for i, text in enumerate(texts):
            wrapped = textwrap.wrap(face.clean(text), max(20, terminal.width - 7), break_long_words=False) or [""]
            lines += [f"{label if i == j == 0 else '':<7}{part}".rstrip() for j, part in enumerate(wrapped)]
    return lines


def tree(request: BuildRequest, answer: Answer, terminal: Terminal, redact: Callable[[str], str]) -> list[str]:
    """Every group and member, and what came of it; at the end the plan, or what would help the nearest group."""
    face = _Face(terminal, redact)
    groups = [*answer.findings.outcomes, *answer.untried]
    head = f"{os.path.basename(request.source) or '/'} from {paths.readable(request.source)} with {request.builder}"
    counts = f"{units.number(len(groups), 'group')}, {units.number(answer.buildpacks, 'buildpack')}"
    lines = [f"{face.clean(head)}: {counts}, {units.duration(answer.seconds)}", ""]
    for number, group in enumerate(groups, 1):
        lines += _group(number, group, len(str(len(groups))), face)
    return lines + list(_ending(answer, face))


def _group(number: int, group: GroupOutcome, width: int, face: _Face) -> Iterator[str]:
    name = face.clean(group_name(group))
    head = f"group {number:<{width}}  {name:<9} {VERDICTS[group.status]}"
    if group.status == "untried":
        others = [face.clean(m.short) for m in group.members]
        yield from layout.wrap(f"{head}   {', '.join(others)}", face.terminal)
        return
    if group.status == "chosen" and group.combinations > 1:
        head += f"   (trial {group.trial} of {group.combinations})"
    yield head
    if group.why:
        yield from _row("", "", group.why, face)
    for member in group.members:
        yield from _member(member, face)


def _member(member: MemberOutcome, face: _Face) -> Iterator[str]:
    yield from _row(WORDS[member.status], f"{member.short} {member.version}".strip(), _reason(member), face)
    if member.status == "errored":
        # A single line is the reason already.
        for line in member.lines[-OUTPUT_LINES:] if len(member.lines) > 1 else ():
            yield f"{'':{NAME}}| {face.clean(line)}"


def _reason(member: MemberOutcome) -> str:
    if member.status == "passed":
        many = member.alternatives > 1 and member.alternative
        return f"with its plan {member.alternative} of {member.alternatives}" if many else ""
    if member.status == "skipped" and member.optional:
        return f"optional; {member.why}"
    if member.status == "failed" and not member.why.endswith(f"(exit {member.code})"):
        return f"{member.why} (exit {member.code})"
    return member.why


def _row(word: str, name: str, why: str, face: _Face) -> list[str]:
    head = f"  {word:<{NAME - 3}} {face.clean(name)}"
    wrapped = textwrap.wrap(
        face.clean(why), max(20, face.terminal.width - WHY), break_long_words=False, break_on_hyphens=False
    )
    if not wrapped:
        return [head.rstrip()]
    first = f"{head:<{WHY - 1}} {wrapped[0]}"
    return [first, *(" " * WHY + part for part in wrapped[1:])]


def _ending(answer: Answer, face: _Face) -> Iterator[str]:
    if answer.findings.resolution is not None:
        for label, texts in (("plan", _plan_rows(answer)), ("rules", _rule_rows(answer))):
            for i, text in enumerate(texts):
                yield from ([""] if i == 0 and label == "plan" else [])
                row = f"{label if i == 0 else '':<{NAME}}{face.clean(text)}"
                yield from layout.wrap(row, face.terminal, indent=NAME)
        return
    if answer.findings.cut_off:
        yield from ("", *layout.wrap(f"not everything was tried: {answer.findings.cut_off}", face.terminal))
    found = nearest(answer.findings.outcomes, answer.app)
    if found is not None:
        yield ""
        yield from _nearest(found, face)


def _nearest(found: Nearest, face: _Face) -> Iterator[str]:
    count = units.number(len(found.obstacles), "obstacle")
    yield f"nearest: group {found.number}, {face.clean(group_name(found.group))} ({count})"
    for member in found.obstacles:
        yield from _row(WORDS[member.status], f"{member.short} {member.version}".strip(), _reason(member), face)
    for i, text in enumerate(found.tries):
        yield from layout.wrap(f"  {'and:' if i else 'try:':<6} {face.clean(text)}", face.terminal, indent=9)


def _plan_rows(answer: Answer) -> list[str]:
    found = answer.findings.resolution
    if found is None:
        return []
    names = {(m.id, m.version): m.short for m in answer.findings.outcomes[-1].members}
    needs = _requirers(answer)
    rows = []
    for entry in found.plan.entries:
        name = entry.requires[0].name
        providers = ", ".join(names[p.id, p.version] for p in entry.providers)
        rows.append(f"`{name}` from {providers}, for {', '.join(needs[name])}")
    return rows


def _rules(answer: Answer) -> SyncRules:
    from packrunner.dev.rules import of_detection

    return of_detection(answer)


def _rule_rows(answer: Answer) -> list[str]:
    """How many sync rules who states."""
    counts: dict[str, int] = {}
    for rule in _rules(answer).rules:
        if not rule.buildpack:
            continue
        name = rule.buildpack.rpartition("/")[2]
        counts[name] = counts.get(name, 0) + 1
    if not counts:
        return []
    return [f"{', '.join(f'{number} from {name}' for name, number in counts.items())}: packrunner sync-rules"]


def _requirers(answer: Answer) -> dict[str, list[str]]:
    """By name, who requires it in the trial that won."""
    found: dict[str, list[str]] = {}
    for member in answer.findings.outcomes[-1].members:
        plan = answer.findings.runs[member.id, member.version].plan if member.status == "passed" else None
        for require in plan.all[member.alternative - 1].requires if plan else ():
            users = found.setdefault(require.name, [])
            if member.short not in users:
                users.append(member.short)
    return found


def document(request: BuildRequest, answer: Answer, redact: Callable[[str], str]) -> dict[str, Any]:
    """All of it as JSON's own types, schema packrunner.detect/1."""
    error = answer.error
    found = answer.findings.resolution
    target = dict(zip(("os", "arch", "variant", "distro", "distro_version"), answer.target, strict=True))
    values: dict[str, Any] = {
        "source": request.source,
        "builder": request.builder,
        "target": target,
        "files": answer.app.count,
        "seconds": round(answer.seconds, 6),
        "chosen": len(answer.findings.outcomes) if found else None,
        "group": msgspec.to_builtins(answer.findings.group),
        "plan": msgspec.to_builtins(found.plan) if found else None,
        "exec_env": request.shape.exec_env,
        "rules": [msgspec.to_builtins(rule) for rule in _rules(answer).rules],
        "groups": [group_json(i, g) for i, g in enumerate((*answer.findings.outcomes, *answer.untried), 1)],
        "cut_off": answer.findings.cut_off or None,
        "nearest": None if found else _nearest_json(nearest(answer.findings.outcomes, answer.app)),
        "error": problem.to_json(error) if error else None,
    }
    shown: dict[str, Any] = cleaned(values, redact)
    return shown


def group_json(number: int, group: GroupOutcome) -> dict[str, Any]:
    """How a group fared, as JSON's own types."""
    return {
        "number": number,
        "name": group_name(group),
        "status": VERDICTS[group.status],
        "why": group.why or None,
        "trial": group.trial or None,
        "combinations": group.combinations,
        "members": [_member_json(m) for m in group.members],
    }


def _member_json(member: MemberOutcome) -> dict[str, Any]:
    return {
        "id": member.id,
        "version": member.version,
        "short": member.short,
        "status": WORDS[member.status],
        "why": member.why or None,
        "optional": member.optional,
        "extension": member.extension,
        "exit_code": member.code,
        "unmet": [p.name for p in member.problems if p.kind == "unmet"],
        "unused": [p.name for p in member.problems if p.kind == "unused"],
        "alternative": member.alternative or None,
        "alternatives": member.alternatives,
        "try": list(member.tries),
        "output": list(member.lines),
    }


def _nearest_json(found: Nearest | None) -> dict[str, Any] | None:
    if found is None:
        return None
    obstacles = [{"id": m.id, "version": m.version, "why": m.why} for m in found.obstacles]
    return {"group": found.number, "name": group_name(found.group), "obstacles": obstacles, "try": list(found.tries)}
