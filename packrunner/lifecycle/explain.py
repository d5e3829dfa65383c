"""What detection found, in the user's words: a reason for every member, and the error when nothing fits. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import DetectErroredError, DetectNoneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.lifecycle.resolve import Problem

Status = Literal["passed", "failed", "errored", "unmet", "skipped", "untried"]
_TRY = "try:"
_FOREIGN_LINES = 20
_REASON_LENGTH = 300

# Terminal escape sequences, then every other control character: what a buildpack prints never steers a terminal.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class MemberOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one member of a group fared.

    `unmet` passed its own test but requires what nobody provides, or provides what nobody requires: `problems` has
    the names. `skipped` is an optional member, or one of another execution environment, that the group goes on
    without. `code` is bin/detect's exit code where it ran, `tries` what it suggests, `lines` the end of its output.
    `alternative` is which of its `alternatives` the trial that won has taken, counted from 1; 0 where none has.
    """

    id: str
    version: str
    short: str
    status: Status
    why: str = ""
    optional: bool = False
    extension: bool = False
    code: int | None = None
    tries: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    alternative: int = 0
    alternatives: int = 1


class GroupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one group fared; `why` is set where the reason is not one member's.

    `trial` is the place of the trial that won among the `combinations` of its members' alternatives.
    """

    status: Literal["chosen", "failed", "errored", "untried"]
    members: tuple[MemberOutcome, ...]
    why: str = ""
    trial: int = 0
    combinations: int = 0


class AppFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the application without asking anyone: how many files, and the names at its top."""

    count: int
    names: tuple[str, ...] = ()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What bin/detect printed, taken apart: the last line that is no suggestion is the reason."""

    reason: str
    tries: tuple[str, ...]
    lines: tuple[str, ...]
    terse: bool
    """Nothing was printed beyond reason and suggestions."""
    complete: bool
    """`lines` are all that was printed, not only the end."""


def said(chunks: Sequence[tuple[str, bytes]]) -> Said:
    """Read output as buildpacks use it: on stdout a reason last, and lines `try: ...` that suggest what to do."""
    out = _lines(b"".join(data for stream, data in chunks if stream == "stdout"))
    everything = _lines(b"".join(data for _, data in chunks))
    tries = tuple(line[len(_TRY) :].strip() for line in out if line.startswith(_TRY))
    plain = [line for line in out if not line.startswith(_TRY)]
    return Said(
        reason=plain[-1][:_REASON_LENGTH] if plain else "",
        tries=tries,
        lines=tuple(everything[-_FOREIGN_LINES:]),
        terse=len(everything) == len(tries) + min(len(plain), 1),
        complete=len(everything) <= _FOREIGN_LINES,
    )


def _lines(data: bytes) -> list[str]:
    text = _ESCAPES.sub("", data.decode(errors="replace").replace("\r\n", "\n"))
    return [line.strip() for line in text.split("\n") if line.strip()]


def failure(
    groups: Sequence[GroupOutcome], *, app: AppFiles | None = None, cut_off: str = ""
) -> DetectNoneError | DetectErroredError:
    """The error when no group fits: the closest one, what it needs, what to try (DET-15).

    `cut_off` says that not everything was tried, and why.
    """
    culprit = broken(groups)
    cause, tries = _closest(groups, app)
    if culprit is not None and not culprit.optional:
        return _errored(culprit, groups)
    if cut_off:
        return DetectErroredError(
            "the buildpacks fit together in too many ways to try them all",
            slug="detect-errored",
            cause=cut_off,
            tries=("name fewer buildpacks: --buildpack NAME",),
        )
    cause = " ".join(part for part in (_tried(groups, app), cause) if part)
    if culprit is not None:
        return DetectErroredError(
            f"no buildpack accepts this application, and {_name(culprit)} could not tell whether it applies",
            slug="detect-errored",
            cause=f"{_sentence(culprit.why)} {cause}",
            tries=tries,
            foreign=culprit.lines,
        )
    return DetectNoneError("no buildpack accepts this application", slug="detect-none", cause=cause, tries=tries)


def broken(groups: Sequence[GroupOutcome]) -> MemberOutcome | None:
    """The member whose error is reported: one that its group could not do without, if there is one."""
    errored = [m for group in groups for m in group.members if m.status == "errored"]
    return next((m for m in errored if not m.optional), errored[0] if errored else None)


def _name(member: MemberOutcome) -> str:
    return f"{member.short} {member.version}".strip()


def _errored(member: MemberOutcome, groups: Sequence[GroupOutcome]) -> DetectErroredError:
    others = "" if len(groups) == 1 else ", and no other group accepts this application"
    if member.code is None:
        brief = f"{_name(member)} cannot be used{others}"
        tries = ("leave it out, or use a builder that it is made for",)
    else:
        brief = f"{_name(member)} could not tell whether it applies{others}"
        tries = ("correct what its message names, or leave it out: --buildpack NAME",)
    return DetectErroredError(
        brief, slug="detect-errored", cause=member.why, tries=member.tries or tries, foreign=member.lines
    )


def _tried(groups: Sequence[GroupOutcome], app: AppFiles | None) -> str:
    files = ""
    if app is not None:
        files = _count(app.count, "file") + " looked at" if app.count else "there are no files in it"
    tried = _count(len(groups), "group") + " tried" if len(groups) != 1 else ""
    return ", ".join(part for part in (files, tried) if part) + ("." if files or tried else "")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The group that came closest: its number, counted from 1, what keeps it from fitting, and what would help."""

    number: int
    group: GroupOutcome
    obstacles: tuple[MemberOutcome, ...]
    tries: tuple[str, ...]


def nearest(groups: Sequence[GroupOutcome], app: AppFiles | None = None) -> Nearest | None:
    """The group nearest to fitting; None when none has a member whose answer could change that."""
    names = app.names if app is not None else ()
    candidates = [(i, group, blocking) for i, group in enumerate(groups, 1) if (blocking := _blocking(group))]
    if not candidates:
        return None
    # min keeps the first of equals: the order's own preference.
    number, group, blocking = min(candidates, key=lambda found: _distance(found[1], found[2], names))
    tries = tuple(dict.fromkeys(text for member in blocking for text in _tries(member)))
    return Nearest(number=number, group=group, obstacles=tuple(blocking), tries=tries)


def group_name(group: GroupOutcome) -> str:
    """What people call a group: its first buildpack that it cannot do without."""
    required = [m for m in group.members if not m.optional and m.status != "skipped"]
    return next((m.short for m in (*required, *group.members)), "(empty)")


def _closest(groups: Sequence[GroupOutcome], app: AppFiles | None) -> tuple[str, tuple[str, ...]]:
    if app is not None and not app.count:
        return "", ("name the application's directory: --path DIR",)
    found = nearest(groups, app)
    if found is None:
        why = next((group.why for group in groups if group.why), "")
        return _sentence(why), ("name a buildpack: --buildpack NAME, or --buildpack ./DIR for one of your own",)
    member = found.obstacles[0]
    prefix = "Closest was " if len(groups) > 1 else ""
    subject = "it " if member.why.startswith(("needs ", "requires ", "provides ")) else ""
    tries = _tries(member) or ("name a buildpack of your own: --buildpack ./DIR",)
    return _sentence(f"{prefix}{member.short}: {subject}{member.why}"), tries


def _tries(member: MemberOutcome) -> tuple[str, ...]:
    """What would take an obstacle away: the buildpack's own advice, else what its plan lacks."""
    if member.tries:
        return member.tries
    found = []
    for problem in member.problems:
        if problem.kind == "unmet":
            found.append(f"add a buildpack that provides `{problem.name}` before {member.short}")
        elif problem.kind == "unused":
            found.append(f"add a buildpack that requires `{problem.name}` after {member.short}")
    if member.status == "errored":
        found.append(f"leave {member.short} out" if member.code is None else f"correct what {member.short} reports")
    return tuple(found)


def _blocking(group: GroupOutcome) -> list[MemberOutcome]:
    """What keeps the group from fitting: its required members, or where all are optional, all of them."""
    lost = [m for m in group.members if m.status in {"failed", "unmet"} or (m.status == "errored" and not m.optional)]
    return lost or [m for m in group.members if m.status in {"skipped", "errored"} and m.code is not None]


def _distance(group: GroupOutcome, blocking: list[MemberOutcome], names: tuple[str, ...]) -> tuple[bool, int, bool]:
    """How far a group is from fitting: a reason that names a file of the application is near, few obstacles are."""
    reasons = " ".join(m.why for m in blocking)
    words = set(re.split(r"[\s,;:()`'\"]+", reasons.replace(". ", " ").rstrip(".")))
    no_match = not words.intersection(names)
    return (no_match, len(blocking), not any(m.status == "passed" and not m.optional for m in group.members))


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "?", "!")) else text + "."
