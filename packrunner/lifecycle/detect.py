"""The detect phase: run bin/detect of a group's members at once, resolve their plans, take the first group that fits.

Everything here treats what a buildpack wrote as hostile: plan files are read beneath their directory only, after
every process in the sandbox is gone. DET-01 - DET-27.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.engines.base import Command
from packrunner.environment import buildpack_env, target_env
from packrunner.errors import DetectError, UnsafeArchiveError, UsageError
from packrunner.events import StepDone, StepStarted
from packrunner.formats import api
from packrunner.formats.group import GroupMember, Order, System
from packrunner.formats.plan import DetectPlan, Plan, read_detect_plan
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle import detect_report, outcomes, targets
from packrunner.lifecycle import order as orders
from packrunner.lifecycle.detect_run import PASS, Held, Run, ending
from packrunner.lifecycle.explain import AppFiles, GroupOutcome, failure
from packrunner.lifecycle.resolve import STEPS, Candidate, Resolution, resolve
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.engines.base import OutputSink, Sandbox
    from packrunner.events import Reporter
    from packrunner.lifecycle.course import Course
    from packrunner.lifecycle.order import ExpandedGroup, Key, Member

MAX_GROUPS = 5_000
"""Groups that one detection tries: more only come from composites multiplying each other."""


class DetectInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that detection depends on.

    `plans_dir` is the host directory shown at /cnb/plans; `owner` is given to the plan files where the build user is
    not ourselves. `target` describes the run image: os, arch, variant, distribution, its version. `operator` holds
    the files of /cnb/build-config/env, `extensions` those that the order names, `app_files` what is known of the
    source, for messages.
    """

    order: Order
    buildpacks: Mapping[Key, StagedBuildpack]
    plans_dir: str
    target: tuple[str, str, str, str, str]
    extensions: Mapping[Key, StagedBuildpack] = msgspec.field(default_factory=dict)
    system: System = msgspec.field(default_factory=System)
    image_env: Mapping[str, str] = msgspec.field(default_factory=dict)
    platform_env: Mapping[str, str] = msgspec.field(default_factory=dict)
    operator: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    home: str = "/home/cnb"
    exec_env: str = "production"
    platform_api: str = api.PLATFORM_API
    places: Places = PLACES
    owner: tuple[int, int] | None = None
    app_files: AppFiles | None = None


class DetectResult(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen group, the extensions in front of it, the plan for both, and how every tried group fared."""

    group: tuple[GroupMember, ...]
    plan: Plan
    outcomes: tuple[GroupOutcome, ...]
    extensions: tuple[GroupMember, ...] = ()


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What detection found, whether a group fits or not.

    `resolution` is that of the chosen group and None without one, `group` and `extensions` its members as group.toml
    has them.
    `cut_off` says that not everything was tried, and why; `runs` are the programs that ran, `untried` the groups that
    would have come next, which are expanded as they are asked for.
    """

    resolution: Resolution | None
    group: tuple[GroupMember, ...]
    outcomes: tuple[GroupOutcome, ...]
    runs: Mapping[Key, Run]
    cut_off: str
    untried: Iterator[GroupOutcome]
    extensions: tuple[GroupMember, ...] = ()


def detect(inputs: DetectInputs, *, sandbox: Sandbox, reporter: Reporter, course: Course | None = None) -> DetectResult:
    """Find the group that builds the application; `course` is told how the groups fared, whatever comes of it.

    Raises DetectNoneError (`detect-none`) or DetectErroredError (`detect-errored`) when none does (DET-15), what
    `order.expand` raises for an order that cannot be right, and EngineError when the sandbox broke.
    """
    began = time.monotonic()
    groups = _groups(inputs)
    reporter.emit(StepStarted(phase="detect", subject=""))
    findings = _examine(inputs, groups, sandbox)
    if course:
        course.outcomes, course.group, course.extensions = findings.outcomes, findings.group, findings.extensions
    short = names(inputs)
    detect_report.report(findings.runs, short, reporter, failed=None if findings.resolution else findings.outcomes)
    if findings.resolution is None:
        raise failure(findings.outcomes, app=inputs.app_files, cut_off=findings.cut_off)
    count = sum(not staged.descriptor.is_composite for staged in inputs.buildpacks.values())
    reporter.emit(
        StepDone(
            phase="detect",
            subject=f"{len(findings.group)} of {count} buildpack{'' if count == 1 else 's'}",
            detail=", ".join(short[m.id, m.version] for m in (*findings.extensions, *findings.group)),
            seconds=time.monotonic() - began,
        )
    )
    return DetectResult(
        group=findings.group,
        plan=findings.resolution.plan,
        outcomes=findings.outcomes,
        extensions=findings.extensions,
    )


def examine(inputs: DetectInputs, *, sandbox: Sandbox) -> Findings:
    """The same search for those who ask how it went: no group that fits is an answer too, and nothing is reported."""
    return _examine(inputs, _groups(inputs), sandbox)


def _groups(inputs: DetectInputs) -> Iterator[ExpandedGroup]:
    if "/" in inputs.exec_env or not inputs.exec_env:
        raise UsageError(f"{inputs.exec_env!r} cannot be an execution environment: a name without `/`", slug="exec-env")
    return candidates(
        inputs.order,
        system=inputs.system,
        buildpacks=inputs.buildpacks,
        extensions=inputs.extensions,
        exec_env=inputs.exec_env,
        platform_api=inputs.platform_api,
    )


def candidates(
    order: Order,
    *,
    system: System,
    buildpacks: Mapping[Key, StagedBuildpack],
    extensions: Mapping[Key, StagedBuildpack],
    exec_env: str,
    platform_api: str,
) -> Iterator[ExpandedGroup]:
    """The groups that detection tries, one after the other, as this level of the platform has them."""
    features = api.platform_features(platform_api)
    return orders.expand(
        order,
        system=system if features.system else None,
        descriptors={key: staged.descriptor for key, staged in buildpacks.items()},
        extensions={key: staged.descriptor for key, staged in extensions.items()},
        exec_env=exec_env if features.exec_env else None,
    )


def _examine(inputs: DetectInputs, groups: Iterator[ExpandedGroup], sandbox: Sandbox) -> Findings:
    with Root.open(inputs.plans_dir) as plans:
        detection = _Detection(inputs, sandbox, plans)
        found = detection.first_fit(groups)
    return Findings(
        resolution=found,
        group=_group_members(inputs.buildpacks, found, extensions=False),
        extensions=_group_members(inputs.extensions, found, extensions=True),
        outcomes=tuple(detection.outcomes),
        runs=detection.runs,
        cut_off=detection.cut_off,
        untried=(outcomes.untried(group, names(inputs)) for group in groups),
    )


def names(inputs: DetectInputs) -> dict[Key, str]:
    """How people call the buildpacks and extensions."""
    return {key: staged.short for key, staged in (*inputs.buildpacks.items(), *inputs.extensions.items())}


def _group_members(
    known: Mapping[Key, StagedBuildpack], found: Resolution | None, *, extensions: bool
) -> tuple[GroupMember, ...]:
    """The members of one kind (DET-24); of extensions, those whose provides somebody requires (EXT-04)."""
    chosen = [c for c in found.members if c.extension == extensions] if found else []
    descriptors = [known[c.id, c.version].descriptor for c in chosen]
    return tuple(
        GroupMember(id=c.id, version=c.version, api=d.api, homepage=d.buildpack.homepage)
        for c, d in zip(chosen, descriptors, strict=True)
    )


class _Detection:
    """One detect phase: what ran, what came of it."""

    def __init__(self, inputs: DetectInputs, sandbox: Sandbox, plans: Root) -> None:
        self._inputs = inputs
        self._sandbox = sandbox
        self._plans = plans
        self._target = RunTarget(*inputs.target)
        self._features = api.platform_features(inputs.platform_api)
        self.runs: dict[Key, Run] = {}
        self._environments: dict[bool, dict[str, str]] = {}
        self._names = names(inputs)
        self._steps = 0
        self.outcomes: list[GroupOutcome] = []
        self.cut_off = ""

    def first_fit(self, groups: Iterator[ExpandedGroup]) -> Resolution | None:
        """Try group after group, and leave the others; None when none fits."""
        for group in groups:
            if len(self.outcomes) == MAX_GROUPS:
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
        runs = [self.runs[m.key] for m in group.members]
        passing = [m for m, run in zip(group.members, runs, strict=True) if run.code == PASS and not run.error]
        if passing:
            self._read_plans(passing)
        passing = [m for m in passing if not self.runs[m.key].error]
        lost = any(
            not m.optional and (run.error or run.code != PASS) for m, run in zip(group.members, runs, strict=True)
        )
        found = None
        if not lost and any(not m.extension for m in passing):
            found = self._resolve(passing)
        self.outcomes.append(outcomes.tried(group, passing, found, self.runs, self._names))
        return found

    def _resolve(self, members: Sequence[Member]) -> Resolution:
        candidates = [
            Candidate(
                id=m.id,
                version=m.version,
                optional=m.optional,
                extension=m.extension,
                plan=self.runs[m.key].plan or DetectPlan(),
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
            if member.key in self.runs:
                continue
            declared = targets.declared(member.descriptor)
            if self._features.targets and not targets.matches(declared, self._target):
                why = f"made for {targets.describe(declared)}, and this is {self._target}"
                self.runs[member.key] = Run(code=None, error=why)
            elif member.extension and not self._program(member):
                self.runs[member.key] = self._static(member)
            else:
                waiting.append(member)
        if not waiting:
            return
        held = [Held() for _ in waiting]
        commands: list[tuple[Command, OutputSink]] = [
            (self._command(member), sink) for member, sink in zip(waiting, held, strict=True)
        ]
        self._sandbox.send(self._inputs.places.plans)
        exits = self._sandbox.run_all(commands)
        for member, sink, ended in zip(waiting, held, exits, strict=True):
            self.runs[member.key] = Run(code=ended.code, held=sink, error=ending(ended, sink))

    def _program(self, member: Member) -> bool:
        """Whether an extension has a bin/detect; it may have none (EXT-01)."""
        return os.path.exists(os.path.join(self._inputs.extensions[member.key].path, "bin", "detect"))

    def _static(self, member: Member) -> Run:
        """An extension without bin/detect passes, with the plan that lies in it (EXT-01)."""
        run = Run(code=PASS)
        with Root.open(self._inputs.extensions[member.key].path) as tree:
            _take_plan(run, member, tree, "detect/plan.toml")
        return run

    def _command(self, member: Member) -> Command:
        name = _plan_name(member)
        if self._plans.kind(name) == "dir":  # what an earlier build's buildpack made of its plan
            self._plans.remove(name)
        self._plans.write(name, b"", mode=0o644, owner=self._inputs.owner)
        places = self._inputs.places
        directory = places.extensions if member.extension else places.buildpacks
        place = f"{directory}/{member.id.replace('/', '_')}/{member.version}"
        plan = f"{places.plans}/{name}"
        return Command(
            argv=(f"{place}/bin/detect", self._inputs.places.platform, plan),
            env=self._env(member, place, plan),
            cwd=self._inputs.places.app,
        )

    def _env(self, member: Member, place: str, plan: str) -> dict[str, str]:
        features = api.buildpack_features(member.descriptor.api)
        env = dict(self._base_env(clear_env=member.descriptor.buildpack.clear_env))
        env["CNB_EXTENSION_DIR" if member.extension else "CNB_BUILDPACK_DIR"] = place
        if features.env_paths:
            env["CNB_PLATFORM_DIR"] = self._inputs.places.platform
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
        fresh = [m for m in members if self.runs[m.key].plan is None]
        if not fresh:
            return
        self._sandbox.sweep()
        self._sandbox.fetch(self._inputs.places.plans)
        for member in fresh:
            _take_plan(self.runs[member.key], member, self._plans, _plan_name(member))


def _take_plan(run: Run, member: Member, tree: Root, path: str) -> None:
    """Read one plan, if there is any; what is wrong with it becomes the run's error."""
    where = f"the plan of {member.id}"
    try:
        run.plan = read_detect_plan(tree.read(path) or b"", where=where)
    except UnsafeArchiveError as e:
        run.error = f"its plan cannot be read: {e.cause}"
    except DetectError as e:
        at = (e.at or "").removeprefix(where).removeprefix(":").removeprefix(", ")
        run.error = f"{e.brief} (line {at})" if at[:1].isdigit() else f"{e.brief} ({at})" if at else e.brief
    else:
        if member.extension and any(pair.requires for pair in run.plan.all):
            run.error = "its plan requires something, and extensions can only provide"


def _plan_name(member: Member) -> str:
    return f"{member.id.replace('/', '_')}@{member.version}-detect.toml"
