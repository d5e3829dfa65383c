"""The detect phase: run bin/detect of a group's members at once, resolve their plans, take the first group that fits.

Everything here treats what a buildpack wrote as hostile: plan files are read beneath their directory only, after
every process in the sandbox is gone. DET-01 - DET-27.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packrunner.confined import Root
from packrunner.engines.base import Command
from packrunner.environment import buildpack_env, target_env
from packrunner.errors import DetectError, UnsafeArchiveError, UsageError
from packrunner.events import Noted, Output, StepDone, StepStarted, Warned
from packrunner.formats import api
from packrunner.formats.group import GroupMember, Order, System
from packrunner.formats.plan import DetectPlan, Plan, read_detect_plan
from packrunner.lifecycle import order as orders
from packrunner.lifecycle import targets
from packrunner.lifecycle.detect_run import FAIL, PASS, Held, Run, ending, status
from packrunner.lifecycle.explain import AppFiles, GroupOutcome, MemberOutcome, broken, failure
from packrunner.lifecycle.resolve import STEPS, Candidate, Resolution, resolve
from packrunner.workspace import APP_DIR, BUILDPACKS_DIR, PLANS_DIR, PLATFORM_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.engines.base import OutputSink, Sandbox
    from packrunner.events import Reporter
    from packrunner.lifecycle.order import ExpandedGroup, Key, Member

_log = logging.getLogger(__name__)

MAX_GROUPS = 5_000
"""Groups that one detection tries: more only come from composites multiplying each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectInputs:
    """All that detection depends on.

    `plans_dir` is the host directory shown at /cnb/plans; `owner` is given to the plan files where the build user is
    not ourselves. `target` describes the run image: os, arch, variant, distribution, its version. `operator` holds
    the files of /cnb/build-config/env, `app_files` what is known of the source, for messages.
    """

    order: Order
    buildpacks: Mapping[tuple[str, str], StagedBuildpack]
    plans_dir: str
    target: tuple[str, str, str, str, str]
    system: System = field(default_factory=System)
    image_env: Mapping[str, str] = field(default_factory=dict)
    platform_env: Mapping[str, str] = field(default_factory=dict)
    operator: Mapping[str, bytes] = field(default_factory=dict)
    home: str = "/home/cnb"
    exec_env: str = "production"
    owner: tuple[int, int] | None = None
    app_files: AppFiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectResult:
    """The chosen group, the plan for it, and how every tried group fared."""

    group: tuple[GroupMember, ...]
    plan: Plan
    outcomes: tuple[GroupOutcome, ...]


def detect(inputs: DetectInputs, *, sandbox: Sandbox, reporter: Reporter) -> DetectResult:
    """Find the group that builds the application.

    Raises DetectNoneError (`detect-none`) or DetectErroredError (`detect-errored`) when none does (DET-15), what
    `order.expand` raises for an order that cannot be right, and EngineError when the sandbox broke.
    """
    if "/" in inputs.exec_env or not inputs.exec_env:
        raise UsageError(f"{inputs.exec_env!r} cannot be an execution environment: a name without `/`", slug="exec-env")
    began = time.monotonic()
    descriptors = {key: staged.descriptor for key, staged in inputs.buildpacks.items()}
    groups = orders.expand(inputs.order, system=inputs.system, descriptors=descriptors, exec_env=inputs.exec_env)
    reporter.emit(StepStarted(phase="detect", subject=""))
    with Root.open(inputs.plans_dir) as plans:
        detection = _Detection(inputs, sandbox, plans)
        found = detection.first_fit(groups)
    detection.report(reporter, failed=found is None)
    if found is None:
        raise failure(detection.outcomes, app=inputs.app_files, cut_off=detection.cut_off)
    group = tuple(_group_member(inputs, candidate) for candidate in found.members)
    count = sum(not staged.descriptor.is_composite for staged in inputs.buildpacks.values())
    reporter.emit(
        StepDone(
            phase="detect",
            subject=f"{len(group)} of {count} buildpack{'' if count == 1 else 's'}",
            detail=", ".join(inputs.buildpacks[c.id, c.version].short for c in found.members),
            seconds=time.monotonic() - began,
        )
    )
    return DetectResult(group=group, plan=found.plan, outcomes=tuple(detection.outcomes))


def _group_member(inputs: DetectInputs, candidate: Candidate) -> GroupMember:
    descriptor = inputs.buildpacks[candidate.id, candidate.version].descriptor
    return GroupMember(
        id=candidate.id, version=candidate.version, api=descriptor.api, homepage=descriptor.buildpack.homepage
    )


class _Detection:
    """One detect phase: what ran, what came of it."""

    def __init__(self, inputs: DetectInputs, sandbox: Sandbox, plans: Root) -> None:
        self._inputs = inputs
        self._sandbox = sandbox
        self._plans = plans
        self._target = targets.RunTarget(*inputs.target)
        self._runs: dict[Key, Run] = {}
        self._environments: dict[bool, dict[str, str]] = {}
        self._steps = 0
        self.outcomes: list[GroupOutcome] = []
        self.cut_off = ""

    def first_fit(self, groups: Iterable[ExpandedGroup]) -> Resolution | None:
        """Try group after group; None when none fits."""
        for number, group in enumerate(groups):
            if number == MAX_GROUPS:
                self.cut_off = f"the first {MAX_GROUPS} groups were tried"
                return None
            found = self._try(group)
            if found is not None and found.ok:
                return found
            if self.cut_off:
                return None
        return None

    def _try(self, group: ExpandedGroup) -> Resolution | None:
        self._run_missing(group.members)
        runs = [self._runs[m.key] for m in group.members]
        passing = [m for m, run in zip(group.members, runs, strict=True) if run.code == PASS and not run.error]
        if passing:
            self._read_plans(passing)
        passing = [m for m in passing if not self._runs[m.key].error]
        lost = any(
            not m.optional and (run.error or run.code != PASS) for m, run in zip(group.members, runs, strict=True)
        )
        found = None
        if not lost and any(not m.extension for m in passing):
            found = self._resolve(passing)
        self.outcomes.append(self._outcome(group, found))
        return found

    def _resolve(self, members: Sequence[Member]) -> Resolution:
        candidates = [
            Candidate(
                id=m.id,
                version=m.version,
                optional=m.optional,
                extension=m.extension,
                plan=self._runs[m.key].plan or DetectPlan(),
            )
            for m in members
        ]
        found = resolve(candidates, limit=max(STEPS - self._steps, 1))
        self._steps += found.steps
        if found.cut_off:
            self.cut_off = f"the buildpacks' plans have too many combinations: {found.trials} were tried"
        return found

    def _run_missing(self, members: Sequence[Member]) -> None:
        """Run what has not run yet, all at once; each id@version once in the whole phase (DET-13)."""
        waiting: list[Member] = []
        for member in members:
            if member.key in self._runs:
                continue
            declared = targets.declared(member.descriptor)
            if targets.matches(declared, self._target):
                waiting.append(member)
            else:
                why = f"made for {targets.describe(declared)}, and this is {self._target}"
                self._runs[member.key] = Run(code=None, error=why)
        if not waiting:
            return
        held = [Held() for _ in waiting]
        commands: list[tuple[Command, OutputSink]] = [
            (self._command(member), sink) for member, sink in zip(waiting, held, strict=True)
        ]
        exits = self._sandbox.run_all(commands)
        for member, sink, ended in zip(waiting, held, exits, strict=True):
            self._runs[member.key] = Run(code=ended.code, held=sink, error=ending(ended, sink))

    def _command(self, member: Member) -> Command:
        name = _plan_name(member)
        if self._plans.kind(name) == "dir":  # what an earlier build's buildpack made of its plan
            self._plans.remove(name)
        self._plans.write(name, b"", mode=0o644, owner=self._inputs.owner)
        place = f"{BUILDPACKS_DIR}/{member.id.replace('/', '_')}/{member.version}"
        plan = f"{PLANS_DIR}/{name}"
        return Command(
            argv=(f"{place}/bin/detect", PLATFORM_DIR, plan), env=self._env(member, place, plan), cwd=APP_DIR
        )

    def _env(self, member: Member, place: str, plan: str) -> dict[str, str]:
        features = api.buildpack_features(member.descriptor.api)
        env = dict(self._base_env(clear_env=member.descriptor.buildpack.clear_env))
        env["CNB_BUILDPACK_DIR"] = place
        if features.env_paths:
            env["CNB_PLATFORM_DIR"] = PLATFORM_DIR
            env["CNB_BUILD_PLAN_PATH"] = plan
        if features.targets:
            env.update(target_env(self._target))
        if features.exec_env:
            env["CNB_EXEC_ENV"] = self._inputs.exec_env
        return env

    def _base_env(self, *, clear_env: bool) -> dict[str, str]:
        env = self._environments.get(clear_env)
        if env is None:
            env = self._environments[clear_env] = buildpack_env(
                self._inputs.image_env,
                self._inputs.platform_env,
                clear_env=clear_env,
                home=self._inputs.home,
                operator=self._inputs.operator,
                trust=self._sandbox.trust_env,
            )
        return env

    def _read_plans(self, members: Sequence[Member]) -> None:
        """Read the plans of those who passed, once nothing inside can change them any more (SBX-14)."""
        fresh = [m for m in members if self._runs[m.key].plan is None]
        if not fresh:
            return
        self._sandbox.sweep()
        for member in fresh:
            run = self._runs[member.key]
            name = _plan_name(member)
            try:
                data = self._plans.read(name) or b""
                run.plan = read_detect_plan(data, where=f"the plan of {member.id}")
            except UnsafeArchiveError as e:
                run.error = f"its plan cannot be read: {e.cause}"
            except DetectError as e:
                key = (e.at or "").partition(", key ")[2]
                run.error = f"{e.brief} (key {key})" if key else e.brief

    def _outcome(self, group: ExpandedGroup, found: Resolution | None) -> GroupOutcome:
        problems: dict[Key, list[str]] = {}
        for problem in found.problems if found else ():
            problems.setdefault((problem.id, problem.version), []).append(str(problem))
        members = [self._member_outcome(m, problems.get(m.key, [])) for m in group.members]
        members += [
            MemberOutcome(id=s.id, version=s.version, short=self._short(s.id, s.version), status="skipped", why=s.why)
            for s in group.skipped
        ]
        if found is not None and found.ok:
            return GroupOutcome(status="chosen", members=tuple(members))
        errored = any(m.status == "errored" for m in members) or (found is not None and found.cut_off)
        why = "" if group.members else "none of its buildpacks is for this execution environment"
        return GroupOutcome(status="errored" if errored else "failed", members=tuple(members), why=why)

    def _member_outcome(self, member: Member, problems: list[str]) -> MemberOutcome:
        run = self._runs[member.key]
        return MemberOutcome(
            id=member.id,
            version=member.version,
            short=self._short(member.id, member.version),
            status=status(run, problems, optional=member.optional),
            why=run.why or "; ".join(problems),
            optional=member.optional,
            code=run.code,
            tries=run.said.tries if run.code == FAIL else (),
            lines=run.said.lines if run.error else (),
        )

    def _short(self, identity: str, version: str) -> str:
        return self._inputs.buildpacks[identity, version].short

    def report(self, reporter: Reporter, *, failed: bool) -> None:
        """Say what was held back (DET-27): everything when detection failed, else what erred."""
        culprit = broken(self.outcomes) if failed else None
        for key, run in self._runs.items():
            short = self._short(*key)
            _log.debug("%s@%s: exit %s %s", *key, run.code, run.why)
            if run.code is None:
                reporter.emit(Noted(text=f"{short} did not run: {run.error}"))
                continue
            if run.error and not failed:
                reporter.emit(Warned(text=f"{short}: {run.error}", hint="the build goes on without it"))
            # What the error message itself will hold is not said twice.
            told = run.said.complete if culprit and key == (culprit.id, culprit.version) else run.terse
            if (run.error or failed) and not told:
                self._replay(reporter, short, run.held)
            elif run.said.lines:
                reporter.emit(Noted(text=f"{short}: {' / '.join(run.said.lines)}"))

    def _replay(self, reporter: Reporter, short: str, held: Held) -> None:
        if held.cut:
            reporter.emit(Noted(text=f"{short} printed more than 1 MB; this is the end of it", always=True))
        for stream, data in held.chunks:
            reporter.emit(Output(source=short, stream=stream, data=data))


def _plan_name(member: Member) -> str:
    return f"{member.id.replace('/', '_')}@{member.version}-detect.toml"
