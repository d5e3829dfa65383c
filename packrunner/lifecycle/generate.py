"""The generate phase: bin/generate of each extension, what it wrote, and which run image that chooses (EXT-05 - 10).

The programs run in a sandbox in which the application is read-only. What they write is read beneath its directory only,
after every process in the sandbox is gone.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.engines.base import Command
from packrunner.environment import buildpack_env, target_env
from packrunner.errors import ExtensionFailedError, GenerateError, UnsafeArchiveError
from packrunner.events import StepDone, StepStarted, Warned
from packrunner.formats import toml
from packrunner.formats.analyzed import Analyzed, AnalyzedRunImage
from packrunner.formats.api import PLATFORM_API, buildpack_features, platform_features
from packrunner.lifecycle import generated, limits
from packrunner.lifecycle.build import Tail, how_it_ended
from packrunner.lifecycle.build_plan import plan_for, without_met
from packrunner.lifecycle.generated import CONFIG, Generated
from packrunner.names import BuildpackId
from packrunner.workspace import LAYERS_DIR, PLACES, Places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.engines.base import Sandbox
    from packrunner.events import Reporter
    from packrunner.formats.extension import Kind
    from packrunner.formats.group import GroupMember
    from packrunner.formats.plan import Plan
    from packrunner.formats.platform import RunTarget

DIRECTORY = "generated"
IGNORED = ".ignore"


class GenerateInputs(msgspec.Struct, frozen=True, kw_only=True):
    """`generated` is the host path of the directory that is shown at `generated_inside`; `plans` that of /cnb/plans.

    `extensions` are those of the group, `staged` all there are. `run_image` is the name of the run image as analyzed,
    `run_images` the names that the platform offers; the rest is as for build.
    """

    generated: str
    plans: str
    owner: tuple[int, int] | None
    extensions: tuple[GroupMember, ...]
    plan: Plan
    staged: Mapping[tuple[str, str], StagedBuildpack]
    image_env: Mapping[str, str]
    home: str
    target: RunTarget
    run_image: str
    run_images: frozenset[str] = frozenset()
    platform_env: Mapping[str, str] = msgspec.field(default_factory=dict)
    operator: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    exec_env: str = "production"
    platform_api: str = PLATFORM_API
    places: Places = PLACES
    generated_inside: str = f"{LAYERS_DIR}/{DIRECTORY}"


class GenerateResult(msgspec.Struct, frozen=True, kw_only=True):
    """All Dockerfiles in the group's order, and the plan without what extensions provide (EXT-10).

    `run_image` is the name of a run image to take instead of the analyzed one, "" for none; `extend_run` and
    `extend_build` say whether images are extended (EXT-09).
    """

    dockerfiles: tuple[Generated, ...]
    plan: Plan
    run_image: str
    extend_run: bool
    extend_build: bool

    def of(self, kind: Kind) -> tuple[Generated, ...]:
        """The Dockerfiles to apply to one of the images."""
        return tuple(d for d in self.dockerfiles if d.kind == kind and not d.ignored and d.extends)


def generate(inputs: GenerateInputs, *, sandbox: Sandbox, reporter: Reporter) -> GenerateResult:
    """Run every bin/generate.

    Raises ExtensionFailedError (91) when a program fails, GenerateError (92) when what it wrote cannot be used.
    """
    above, name = os.path.split(inputs.generated)
    with Root.open(above) as parent:
        parent.remove(name)
        parent.makedirs(name, owner=inputs.owner)
    with Root.open(inputs.generated) as output, Root.open(inputs.plans) as plans:
        generator = _Generator(inputs, output, plans, sandbox, reporter)
        found = [one for member in inputs.extensions for one in generator.run(member)]
        chosen = _chosen(found)
        _set_out(chosen, output, inputs)
    run_image = _run_image(chosen, inputs, reporter)
    return GenerateResult(
        dockerfiles=tuple(chosen),
        plan=generator.plan,
        run_image=run_image,
        extend_run=any(d.kind == "run" and d.extends and not d.ignored for d in chosen),
        extend_build=any(d.kind == "build" and d.extends for d in chosen),
    )


def analyzed_after(before: Analyzed, result: GenerateResult) -> Analyzed:
    """analyzed.toml after the phase: a chosen run image has its name and no target; whether it is extended (EXT-08)."""
    run = before.run_image
    if result.run_image:
        run = AnalyzedRunImage(reference=result.run_image, image=result.run_image)
    if run is not None:
        run = msgspec.structs.replace(run, extend=result.extend_run)
    return msgspec.structs.replace(before, run_image=run)


class _Generator:
    def __init__(self, inputs: GenerateInputs, output: Root, plans: Root, sandbox: Sandbox, reporter: Reporter) -> None:
        self.inputs = inputs
        self.output = output
        self.plans = plans
        self.sandbox = sandbox
        self.reporter = reporter
        self.plan = inputs.plan

    def run(self, member: GroupMember) -> list[Generated]:
        """One extension, from its plan to its Dockerfiles."""
        staged = self.inputs.staged[member.id, member.version]
        escaped = BuildpackId(member.id).escaped
        subject = f"{staged.short} {member.version}"
        self.reporter.emit(StepStarted(phase="generate", subject=subject))
        began = time.monotonic()
        given = plan_for(self.plan, member, extension=True)
        if os.path.exists(os.path.join(staged.path, "bin", "generate")):
            self.output.makedirs(escaped, owner=self.inputs.owner)
            self.plans.makedirs(f"generate/{escaped}", owner=self.inputs.owner)
            self.plans.write(f"generate/{escaped}/plan.toml", toml.encode(given), owner=self.inputs.owner)
            tail = Tail(staged.short, self.reporter)
            self.sandbox.send(self.inputs.generated_inside, self.inputs.places.plans)
            ended = self.sandbox.run(self._command(member, staged, escaped), tail)
            self.sandbox.sweep()
            self.sandbox.fetch(self.inputs.generated_inside)
            if ended.code or ended.error:
                raise ExtensionFailedError(
                    f"{subject} {how_it_ended(ended)}",
                    slug="extension-failed",
                    cause=ended.error or limits.named(ended, tail.end),
                    foreign=tail.lines(),
                )
        else:
            self._copy_static(staged, escaped)
        try:
            found = generated.read(self.output, member)
            for one in found:
                for _, text in one.file.not_recommended():
                    self.reporter.emit(Warned(text=text))
        except UnsafeArchiveError as e:
            raise GenerateError(e.brief, slug="generate-output", cause=e.cause, at=e.at) from e
        self.plan = without_met(self.plan, given, (), where=escaped)
        detail = ", ".join(f"{one.kind}.Dockerfile" for one in found) or "no Dockerfile"
        self.reporter.emit(StepDone(phase="generate", subject=subject, detail=detail, seconds=time.monotonic() - began))
        return found

    def _copy_static(self, staged: StagedBuildpack, escaped: str) -> None:
        """`generate/` of an extension without bin/generate is its output (EXT-05); no process is there to interfere."""
        source = os.path.join(staged.path, "generate")
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(self.output.path, escaped), symlinks=True)
        else:
            self.output.makedirs(escaped)

    def _command(self, member: GroupMember, staged: StagedBuildpack, escaped: str) -> Command:
        features = buildpack_features(member.api)
        places = self.inputs.places
        directory = f"{places.extensions}/{escaped}/{member.version}"
        output = f"{self.inputs.generated_inside}/{escaped}"
        plan = f"{places.plans}/generate/{escaped}/plan.toml"
        env = buildpack_env(
            self.inputs.image_env,
            self.inputs.platform_env,
            clear_env=staged.descriptor.buildpack.clear_env,
            home=self.inputs.home,
            operator=self.inputs.operator,
            trust=self.sandbox.trust_env,
        )
        env.update(CNB_EXTENSION_DIR=directory, CNB_OUTPUT_DIR=output)
        env.update(CNB_PLATFORM_DIR=places.platform, CNB_BP_PLAN_PATH=plan)
        if features.targets:
            env.update(target_env(self.inputs.target))
        if features.exec_env:
            env["CNB_EXEC_ENV"] = self.inputs.exec_env
        return Command(argv=(f"{directory}/bin/generate", output, places.platform, plan), env=env, cwd=places.app)


def _chosen(found: Sequence[Generated]) -> list[Generated]:
    """The same Dockerfiles; run.Dockerfiles before the last one that switches the image are ignored (EXT-08)."""
    last = max((i for i, one in enumerate(found) if one.switches_to), default=-1)
    return [_ignore(one) if one.kind == "run" and i < last else one for i, one in enumerate(found)]


def _ignore(one: Generated) -> Generated:
    return Generated(extension=one.extension, kind=one.kind, file=one.file, args=one.args, ignored=True)


def _run_image(chosen: Sequence[Generated], inputs: GenerateInputs, reporter: Reporter) -> str:
    """The run image that extensions choose; the one that was analyzed already is no choice."""
    name = next((one.switches_to for one in chosen if one.switches_to and not one.ignored), "")
    if not name or (name == inputs.run_image and platform_features(inputs.platform_api).run_image_kept):
        return ""
    if inputs.run_images and name not in inputs.run_images:
        reporter.emit(
            Warned(
                text=f"an extension chooses the run image {name}, which is none of the builder's",
                hint=f"the builder has {', '.join(sorted(inputs.run_images))}",
            )
        )
    return name


def _set_out(chosen: Sequence[Generated], output: Root, inputs: GenerateInputs) -> None:
    """Leave the files where the Platform API has them (EXT-06)."""
    one_directory = platform_features(inputs.platform_api).generated_flat
    for one in chosen:
        escaped = BuildpackId(one.extension.id).escaped
        place, name = f"{escaped}/{one.kind}.Dockerfile", IGNORED if one.ignored else ""
        if one_directory:
            if one.ignored:
                output.rename(place, place + IGNORED)
            continue
        directory = f"{one.kind}/{escaped}"
        output.makedirs(directory, owner=inputs.owner)
        output.write(f"{directory}/Dockerfile{name}", one.file.text.encode(), owner=inputs.owner)
        config = output.read(f"{escaped}/{CONFIG}")
        if config is not None:
            output.write(f"{directory}/{CONFIG}", config, owner=inputs.owner)
    if not one_directory:
        for member in inputs.extensions:
            output.remove(BuildpackId(member.id).escaped)
