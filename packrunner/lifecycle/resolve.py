"""Build-plan trials: which members of a group go together, and who needs what of whom (DET-18 - DET-25). Pure.

Trials are taken in the order the specification gives: one alternative of each member, the last member's changing
fastest; the first that works is used. Alternatives that cannot work whatever comes after them are passed over
without trying their combinations, which never changes the outcome; and the search as a whole is bounded, because
a few buildpacks with a few alternatives each already have millions of combinations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.formats.plan import DetectPlan, Entry, Plan, Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.plan import Require

STEPS = 200_000
"""How many alternatives and members one search looks at before it gives up; about a second."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A member whose bin/detect passed, and the plan it wrote."""

    id: str
    version: str
    optional: bool = False
    extension: bool = False
    plan: DetectPlan = msgspec.field(default_factory=DetectPlan)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a trial lost a member: `unmet`, it requires what nobody before it provides, or `unused`, the reverse.

    `empty` names no member: all of them were optional, and lost.
    """

    kind: Literal["unmet", "unused", "empty"]
    id: str = ""
    version: str = ""
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "unmet":
            return f"requires `{self.name}`, which nothing before it provides"
        if self.kind == "unused":
            return f"provides `{self.name}`, which nothing after it requires"
        return "no buildpack is left of the group"


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of all trials.

    With `ok`, `members` and `plan` are the result and `problems` say why optional members were left out; `choices`
    has the alternative of each candidate, counted from 0, and `place` that trial's place among all combinations in
    the specification's order, counted from 1. Without, `problems` are those of the trial that had the fewest.
    `steps` is what the search cost, `cut_off` says that it ended at its limit, so that a combination may exist which
    was not tried.
    """

    ok: bool
    members: tuple[Candidate, ...] = ()
    plan: Plan = msgspec.field(default_factory=Plan)
    problems: tuple[Problem, ...] = ()
    choices: tuple[int, ...] = ()
    place: int = 0
    combinations: int = 0
    trials: int = 0
    steps: int = 0
    cut_off: bool = False


def resolve(candidates: Sequence[Candidate], *, limit: int = STEPS) -> Resolution:
    """Find the first combination of alternatives in which all requires are met and all provides used."""
    search = _Search([_options(candidate) for candidate in candidates])
    return search.run(limit)


class _Option(msgspec.Struct, frozen=True):
    """One alternative of one member; droppable only as the last one of an optional member (DET-22)."""

    member: Candidate
    droppable: bool
    provides: tuple[str, ...]
    requires: tuple[Require, ...]

    def problem(self, kind: Literal["unmet", "unused"], name: str) -> Problem:
        return Problem(kind=kind, id=self.member.id, version=self.member.version, name=name)


class _Trial(msgspec.Struct, frozen=True):
    """A finished trial; `fatal` is why it failed."""

    members: list[_Option]
    ledger: dict[str, _Line]
    dropped: list[Problem]
    fatal: list[Problem]


class _Line(msgspec.Struct):
    """What is known of one name, while members are taken in order."""

    providers: list[Candidate] = []
    waiting: list[int] = []
    requires: list[Require] = []
    early: list[int] = []


def _options(candidate: Candidate) -> list[_Option]:
    alternatives = candidate.plan.all
    last = len(alternatives) - 1
    return [
        _Option(
            candidate,
            candidate.optional and i == last,
            tuple(dict.fromkeys(p.name for p in pair.provides)),
            pair.requires,
        )
        for i, pair in enumerate(alternatives)
    ]


class _Search:
    def __init__(self, options: list[list[_Option]]) -> None:
        self._options = options
        self._last_required = {
            r.name: i for i, member in enumerate(options) for option in member for r in option.requires
        }
        self._trials = 0
        self._steps = 0
        self._best: list[Problem] | None = None

    def run(self, limit: int) -> Resolution:
        if not self._options:
            return self._failed(cut_off=False)
        choice = [-1] * len(self._options)
        # Names that the chosen alternatives of the members before this one provide, dropped or not.
        provided: list[frozenset[str]] = [frozenset()] * (len(self._options) + 1)
        i = 0
        while i >= 0:
            choice[i] += 1
            if choice[i] == len(self._options[i]):
                choice[i] = -1
                i -= 1
                continue
            option = self._options[i][choice[i]]
            here = provided[i].union(option.provides)
            self._steps += 1 + len(here)
            if self._steps > limit:
                return self._failed(cut_off=True)
            if self._hopeless(i, option, here):
                continue
            if i + 1 < len(choice):
                i += 1
                provided[i] = here
                continue
            trial = self._try([self._options[j][c] for j, c in enumerate(choice)])
            if not trial.fatal:
                return self._succeeded(trial, choice)
        return self._failed(cut_off=False)

    def _hopeless(self, i: int, option: _Option, provided: frozenset[str]) -> bool:
        """Whether a member that cannot be dropped fails whatever alternatives the others take."""
        if option.droppable:
            return False
        unmet = [option.problem("unmet", r.name) for r in option.requires if r.name not in provided]
        unused = [option.problem("unused", n) for n in option.provides if self._last_required.get(n, -1) < i]
        if unmet or unused:
            self._note([*unmet, *unused])
            return True
        return False

    def _try(self, members: list[_Option]) -> _Trial:
        """Take members out until nobody lacks or offers anything in vain (DET-20, DET-21)."""
        self._trials += 1
        dropped: list[Problem] = []
        while True:
            self._steps += sum(1 + len(m.provides) + len(m.requires) for m in members)
            ledger = _ledger(members)
            problems = _problems(members, ledger)
            fatal = [problem for at, problem in problems if not members[at].droppable]
            if not problems and all(m.member.extension for m in members):
                fatal = [Problem(kind="empty")]
            if fatal:
                # A provider that was dropped is often the cause of what its users lack: name both.
                self._note([*fatal, *dropped])
                return _Trial(members, ledger, dropped, fatal)
            if not problems:
                return _Trial(members, ledger, dropped, [])
            gone = {at for at, _ in problems}
            dropped.extend(problem for _, problem in problems)
            members = [m for at, m in enumerate(members) if at not in gone]

    def _note(self, problems: list[Problem]) -> None:
        if self._best is None or len(problems) < len(self._best):
            self._best = problems

    def _succeeded(self, trial: _Trial, choice: list[int]) -> Resolution:
        place = 0
        for alternative, options in zip(choice, self._options, strict=True):
            place = place * len(options) + alternative
        return Resolution(
            ok=True,
            members=tuple(m.member for m in trial.members),
            plan=_plan(trial.ledger),
            problems=tuple(trial.dropped),
            choices=tuple(choice),
            place=place + 1,
            combinations=self._combinations,
            trials=self._trials,
            steps=self._steps,
        )

    def _failed(self, *, cut_off: bool) -> Resolution:
        return Resolution(
            ok=False,
            problems=tuple(self._best or [Problem(kind="empty")]),
            combinations=self._combinations,
            trials=self._trials,
            steps=self._steps,
            cut_off=cut_off,
        )

    @property
    def _combinations(self) -> int:
        return math.prod(len(options) for options in self._options)


def _ledger(members: list[_Option]) -> dict[str, _Line]:
    """Provides and requires by name, in member order, a member's provides first (DET-19).

    A provide waits until a require of its name comes at or after it; what still waits at the end is unused, also
    when an earlier provider was enough (DET-23).
    """
    lines: dict[str, _Line] = {}
    for at, option in enumerate(members):
        for name in option.provides:
            line = lines.setdefault(name, _Line())
            line.waiting.append(at)
        for require in option.requires:
            line = lines.setdefault(require.name, _Line())
            line.providers.extend(members[w].member for w in line.waiting)
            line.waiting.clear()
            if line.providers:
                line.requires.append(require)
            else:
                line.early.append(at)
    return lines


def _problems(members: list[_Option], ledger: dict[str, _Line]) -> list[tuple[int, Problem]]:
    """By member, unmet before unused, so that messages do not depend on anything but the plans."""
    found = [(at, 0, name) for name, line in ledger.items() for at in dict.fromkeys(line.early)]
    found += [(at, 1, name) for name, line in ledger.items() for at in line.waiting]
    found.sort()
    return [(at, members[at].problem("unused" if kind else "unmet", name)) for at, kind, name in found]


def _plan(ledger: dict[str, _Line]) -> Plan:
    """Entries in the order in which the group first mentions their names: fixed, unlike the reference's (DET-25)."""
    return Plan(
        entries=tuple(
            Entry(
                providers=tuple(Provider(id=p.id, version=p.version, extension=p.extension) for p in line.providers),
                requires=tuple(line.requires),
            )
            for line in ledger.values()
        )
    )
