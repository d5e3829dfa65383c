"""Build: bin/build of each member of the group, one after another, and what each leaves (BLD-01 - BLD-28).

While a program runs nothing in the layers directory is touched; when it has ended, the sandbox is swept clean of
processes, and only then is anything read (SBX-14).
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined
from packrunner.engines.base import Command
from packrunner.environment import BuildEnv, target_env
from packrunner.errors import BuildpackFailedError
from packrunner.events import LayerReported, Output, StepDone, StepStarted, Warned
from packrunner.formats import toml
from packrunner.formats.api import PLATFORM_API, buildpack_features, platform_features
from packrunner.lifecycle import bom, launch, limits, notes
from packrunner.lifecycle.build_plan import plan_for, without_met
from packrunner.lifecycle.course import Course
from packrunner.lifecycle.outputs import BuildpackOutput, read_outputs
from packrunner.names import BuildpackId
from packrunner.workspace import PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.engines.base import Exit, Sandbox, Stream
    from packrunner.events import Reporter
    from packrunner.formats.api import PlatformFeatures
    from packrunner.formats.group import GroupMember
    from packrunner.formats.launch import LaunchMetadata
    from packrunner.formats.plan import Plan
    from packrunner.formats.platform import RunTarget
    from packrunner.lifecycle.sbom import Sbom

_TAIL_BYTES = 64 << 10
_TAIL_LINES = 20
_REUSED = "reused"


class BuildInputs(msgspec.Struct, frozen=True, kw_only=True):
    """`layers` and `plans` are host paths of what is shown at /layers and /cnb/plans.

    `owner` is who files belong to when root writes them, else None. `image_env` is the build image's environment,
    `extended_env` what of it extensions added, for all buildpacks to see, `home` its user's. `platform_env` are the
    user's variables, `operator` the files of /cnb/build-config/env.
    """

    layers: str
    plans: str
    owner: tuple[int, int] | None
    group: tuple[GroupMember, ...]
    plan: Plan
    buildpacks: Mapping[tuple[str, str], StagedBuildpack]
    image_env: Mapping[str, str]
    home: str
    target: RunTarget
    platform_env: Mapping[str, str] = msgspec.field(default_factory=dict)
    operator: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    exec_env: str = "production"
    platform_api: str = PLATFORM_API
    places: Places = PLACES
    extensions: tuple[GroupMember, ...] = ()
    extended_env: Mapping[str, str] = msgspec.field(default_factory=dict)


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the group left: per buildpack, merged for the launcher, and what each said about its layers."""

    outputs: tuple[BuildpackOutput, ...]
    launch: LaunchMetadata
    sboms: tuple[Sbom, ...] = ()
    """All that is in `<layers>/sbom`."""
    said: Mapping[tuple[str, str], str] = msgspec.field(default_factory=dict)
    """What buildpacks said about their layers, by buildpack id and layer name."""
    ended: tuple[tuple[str, int], ...] = ()
    """When each program had ended, by buildpack id, in nanoseconds; in their order. Empty where times of files on this
    host do not tell when a program wrote them."""

    def meddler(self, buildpack: str, changed_ns: int) -> str | None:
        """Who ran when a layer of `buildpack` was changed after its program had ended (SBX-43)."""
        ids = [one for one, _ in self.ended]
        if buildpack not in ids:
            return None
        at = ids.index(buildpack)
        later = [one for one, ended in self.ended[at:] if ended < changed_ns]
        return ids[min(at + len(later), len(ids) - 1)] if later and at + 1 < len(ids) else None


def build(inputs: BuildInputs, *, sandbox: Sandbox, reporter: Reporter, course: Course | None = None) -> BuildResult:
    """Run every bin/build; write `<layers>/sbom` and `<layers>/config` afterwards. `course` is told who had a turn.

    Raises BuildpackFailedError (51) when a program fails, BuildError (52) when what it wrote breaks the specification.
    """
    with confined.Root.open(inputs.layers) as layers, confined.Root.open(inputs.plans) as plans:
        layers.remove("sbom")
        builder = _Builder(inputs, layers, plans, sandbox, reporter)
        outputs = builder.run_all(course or Course())
        # All of it: programs may have written to others' layers, and what is written next is not theirs to replace.
        sandbox.fetch(inputs.places.layers)
        files = [(output.member, output.launch) for output in outputs]
        features = platform_features(inputs.platform_api)
        warning = launch.merge(files).warning
        if warning:
            reporter.emit(Warned(text=warning))
        entries = bom.collect(outputs, reporter)
        metadata = launch.metadata(
            inputs.group,
            files,
            extensions=inputs.extensions,
            platform_api=inputs.platform_api,
            bom=entries.launch,
        )
        sboms = _sboms(outputs, entries, features)
        _write_results(layers, sboms, metadata, inputs.owner)
    return BuildResult(outputs=outputs, launch=metadata, sboms=sboms, said=builder.said, ended=tuple(builder.ended))


def _sboms(outputs: tuple[BuildpackOutput, ...], entries: bom.Entries, features: PlatformFeatures) -> tuple[Sbom, ...]:
    if not features.sboms:
        return ()
    legacy = entries.files() if features.bom_files else ()
    return (*(one for output in outputs for one in output.sboms), *legacy)


def _write_results(
    layers: confined.Root,
    sboms: Iterable[Sbom],
    metadata: LaunchMetadata,
    owner: tuple[int, int] | None,
) -> None:
    """Replace what buildpacks may have put where the lifecycle's own files go (SBX-04)."""
    for name in ("sbom", "config"):
        layers.remove(name)
    for sbom in sboms:
        path = f"sbom/{sbom.scope}/{sbom.path}"
        layers.makedirs(os.path.dirname(path), owner=owner)
        layers.write(path, sbom.data, owner=owner)
    layers.makedirs("config", owner=owner)
    layers.write("config/metadata.toml", toml.encode(metadata), owner=owner)


class _Builder:
    def __init__(
        self,
        inputs: BuildInputs,
        layers: confined.Root,
        plans: confined.Root,
        sandbox: Sandbox,
        reporter: Reporter,
    ) -> None:
        self.inputs = inputs
        self.layers = layers
        self.plans = plans
        self.sandbox = sandbox
        self.reporter = reporter
        self.plan = inputs.plan
        start = BuildEnv.start(inputs.image_env, home=inputs.home, trust=sandbox.trust_env)
        self.env = BuildEnv({**start.variables, **inputs.extended_env})
        self.said: dict[tuple[str, str], str] = {}
        self.ended: list[tuple[str, int]] = []

    def run_all(self, course: Course) -> tuple[BuildpackOutput, ...]:
        """One after another."""
        outputs = []
        for member in self.inputs.group:
            with course.turn(member):
                outputs.append(self.run(member))
        return tuple(outputs)

    def run(self, member: GroupMember) -> BuildpackOutput:
        """One bin/build, from its plan to its outputs."""
        staged = self.inputs.buildpacks[member.id, member.version]
        subject = f"{staged.short} {member.version}"
        escaped = BuildpackId(member.id).escaped
        self.reporter.emit(StepStarted(phase="build", subject=subject))
        began = time.monotonic()
        given = plan_for(self.plan, member)
        self.layers.makedirs(f"{escaped}/{notes.DIRECTORY}", owner=self.inputs.owner)
        self.plans.makedirs(f"build/{escaped}", owner=self.inputs.owner)
        self.plans.write(f"build/{escaped}/plan.toml", toml.encode(given), owner=self.inputs.owner)
        tail = Tail(staged.short, self.reporter)
        places = self.inputs.places
        self.sandbox.send(places.layers, places.plans)
        ended = self.sandbox.run(self._command(member, staged, escaped), tail)
        self.sandbox.sweep()
        self.sandbox.fetch(f"{places.layers}/{escaped}")
        if self.sandbox.shared:
            self.ended.append((member.id, time.time_ns()))
        if ended.code or ended.error:
            raise self._failed(subject, escaped, ended, tail)
        told = notes.take_notes(self.layers, escaped)
        output = read_outputs(
            self.layers,
            member,
            layers_dir=self.inputs.places.layers,
            sbom_formats=staged.descriptor.buildpack.sbom_formats,
            exec_env=self.inputs.exec_env,
        )
        self.plan = without_met(self.plan, given, output.build.unmet, where=f"{escaped}/build.toml")
        self.env = self.env.after(output.env)
        for remark in output.remarks:
            self.reporter.emit(Warned(text=remark))
        self._report(subject, output, told, time.monotonic() - began)
        return output

    def _command(self, member: GroupMember, staged: StagedBuildpack, escaped: str) -> Command:
        features = buildpack_features(member.api)
        places = self.inputs.places
        directory = f"{places.buildpacks}/{escaped}/{member.version}"
        layers, plan = f"{places.layers}/{escaped}", f"{places.plans}/build/{escaped}/plan.toml"
        env = self.env.for_buildpack(
            self.inputs.platform_env, clear_env=staged.descriptor.buildpack.clear_env, operator=self.inputs.operator
        )
        env["CNB_BUILDPACK_DIR"] = directory
        if features.env_paths:
            env.update(CNB_LAYERS_DIR=layers, CNB_PLATFORM_DIR=places.platform, CNB_BP_PLAN_PATH=plan)
        if features.targets:
            env.update(target_env(self.inputs.target))
        if features.exec_env:
            env["CNB_EXEC_ENV"] = self.inputs.exec_env
        return Command(argv=(f"{directory}/bin/build", layers, places.platform, plan), env=env, cwd=places.app)

    def _failed(self, subject: str, escaped: str, ended: Exit, tail: Tail) -> BuildpackFailedError:
        said = notes.take_failure(self.layers, escaped)
        return BuildpackFailedError(
            f"{subject} {said.brief or how_it_ended(ended)}",
            slug="buildpack-failed",
            cause=ended.error or limits.named(ended, tail.end),
            at=said.at or None,
            tries=said.tries,
            foreign=tail.lines(),
        )

    def _report(self, subject: str, output: BuildpackOutput, told: notes.Notes, seconds: float) -> None:
        """The step's line, and below it the layers, unless all of them are reused and fit into the line."""
        names = [layer.name for layer in output.layers if layer.name in told.layers]
        self.said.update({(output.member.id, name): told.layers[name] for name in names})
        reused = bool(names) and all(told.layers[name].startswith(_REUSED) for name in names)
        line = "; ".join(filter(None, (_joined(names, told.layers) if reused else "", told.step)))
        self.reporter.emit(StepDone(phase="build", subject=subject, detail=line, seconds=seconds))
        if reused:
            return
        place = os.path.join(self.inputs.layers, BuildpackId(output.member.id).escaped)
        for layer in output.layers:
            detail = told.layers.get(layer.name)
            if detail is not None:
                measured = layer.present and not detail.startswith(_REUSED)
                size = _tree_bytes(os.path.join(place, layer.name)) if measured else None
                self.reporter.emit(LayerReported(name=layer.name, detail=detail, size=size))


class Tail:
    """Passes output on, and keeps its end for the error message."""

    def __init__(self, source: str, reporter: Reporter) -> None:
        self.source = source
        self.reporter = reporter
        self.end = b""

    def __call__(self, stream: Stream, data: bytes) -> None:
        self.reporter.emit(Output(source=self.source, stream=stream, data=data))
        self.end = (self.end + data)[-_TAIL_BYTES:]

    def lines(self) -> tuple[str, ...]:
        """The last lines, without empty ones at the end."""
        text = self.end.decode(errors="replace").rstrip()
        return tuple(text.splitlines()[-_TAIL_LINES:])


def how_it_ended(ended: Exit) -> str:
    """The end of a program as the rest of a sentence about it."""
    if ended.error:
        return "could not be started"
    if ended.timed_out:
        return "took too long"
    if ended.signal:
        return f"was ended by {signal.Signals(ended.signal).name}"
    return f"ended with exit code {ended.code}"


def _joined(names: list[str], details: Mapping[str, str]) -> str:
    """Layers as one text, those with the same detail together: `runtime, dependencies reused (uv.lock unchanged)`."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(details[name], []).append(name)
    return ", ".join(f"{', '.join(group)} {detail}" for detail, group in grouped.items())


def _tree_bytes(tree: str) -> int:
    """Bytes of the regular files and links below a directory, without following any link."""
    total = 0
    for _, _, names, fd in os.fwalk(tree):
        total += sum(os.stat(name, dir_fd=fd, follow_symlinks=False).st_size for name in names)
    return total
