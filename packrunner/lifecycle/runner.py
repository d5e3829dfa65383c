"""A build, straight down: analyze, detect, extend, restore, build, export. Every phase is a module; this connects them.

One sandbox serves detect and build, unless image extensions choose other images in between. What it wrote is read
between the programs only after all its processes are gone, and packed only after the sandbox itself is.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import fingerprint, workspace
from packrunner._version import __version__
from packrunner.catalog.compiled import CompiledModules
from packrunner.engines.base import Mount, Network, SandboxSpec
from packrunner.errors import StoreError
from packrunner.events import Changed, Noted, StepDone, StepStarted, Warned
from packrunner.formats.api import PLATFORM_API
from packrunner.lifecycle import application, cache, export
from packrunner.lifecycle.analyze import analyze
from packrunner.lifecycle.build import BuildInputs, build
from packrunner.lifecycle.created import created_at
from packrunner.lifecycle.detect import DetectInputs, detect
from packrunner.lifecycle.explain import AppFiles
from packrunner.lifecycle.restore import RestoreInputs, restore
from packrunner.workspace import LAYERS_DIR, PLACES, PLANS_DIR, PLATFORM_DIR, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from packrunner.catalog.select import Selection
    from packrunner.engines.base import Engine, Extender, Sandbox, User
    from packrunner.events import Reporter
    from packrunner.formats.group import GroupMember
    from packrunner.formats.labels import LifecycleLabel
    from packrunner.formats.plan import Plan
    from packrunner.images.image import Image, Layer
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import AnalyzeResult, RunImage
    from packrunner.lifecycle.application import Application, Rules
    from packrunner.lifecycle.carry import Carrier, OutsideCache
    from packrunner.lifecycle.course import Course
    from packrunner.lifecycle.detect import DetectResult
    from packrunner.lifecycle.explain import GroupOutcome
    from packrunner.lifecycle.export import ExportResult
    from packrunner.lifecycle.extending import RunImages
    from packrunner.lifecycle.restore import LayerDecision
    from packrunner.lifecycle.sbom import Sbom
    from packrunner.workspace import Workspace


class BuildImage(msgspec.Struct, frozen=True, kw_only=True):
    """Where buildpacks run: a stack of directories, the environment and user that go with it.

    `image` and `tree` are for engines that do not show directories, as in SandboxSpec; `reference` stands for its
    content; `operator` holds the files of its /cnb/build-config/env, `extended` are the variables that image extensions
    gave it.
    """

    rootfs: tuple[str, ...]
    image: Image | None = None
    tree: str = ""
    env: Mapping[str, str]
    user: User
    reference: str = ""
    operator: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    extended: Mapping[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to build and from what; `table` is the source's fingerprint and `before` that of the last build, or b"".

    `env` are the user's variables for buildpacks, `bindings` what they find at /platform/bindings, `place` the
    directory of the workspace, `records` that of what is known of extended images; `run_images` are those that
    extensions can choose from. `previous` is the image whose metadata and layers are reused, by its name, `names` are
    further ones for the result; `volumes` are what else buildpacks see. `outside` is a cache of other machines too.
    """

    name: str
    names: tuple[str, ...] = ()
    previous: tuple[str, Image | None]
    source: str
    table: bytes
    before: bytes = b""
    rules: Rules
    env: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    place: str
    selection: Selection
    build_image: BuildImage
    run_image: RunImage
    run_images: RunImages
    records: str
    platform_api: str = PLATFORM_API
    network: Network = "host"
    volumes: tuple[Mount, ...] = ()
    places: Places = PLACES
    process_type: str = ""
    exec_env: str = "production"
    outside: OutsideCache | None = None
    elsewhere: Callable[[Layer], BinaryIO] | None = None
    """Gives the bytes of a layer of `previous` that are not in the store."""
    clear_cache: bool = False
    source_date_epoch: str | None = None
    project: Mapping[str, Any] = field(default_factory=dict)


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What builds are done with; `launcher` is the host path of the program that goes into every image.

    `overlays` says whether the application can be shown copy-on-write, `owner` who must own what sandboxes write
    when that is not the caller.
    """

    engine: Engine
    extender: Extender
    store: LocalStore
    snapshots: Snapshots
    reporter: Reporter
    launcher: str
    overlays: bool
    owner: tuple[int, int] | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the build goes on with: images, and the plan without what extensions provide (EXT-10).

    `chosen` is the name of a run image that an extension chose. `repeatable` is false where the same inputs could make
    other images next time.
    """

    build_image: BuildImage
    run: RunImage
    plan: Plan
    chosen: str = ""
    repeatable: bool = True


class KnownBefore(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of the last build, here and in its image, and what came of it.

    `carried` are the layers, by diff id, that came from a cache elsewhere.
    """

    label: LifecycleLabel
    cache: cache.CacheRecord
    decisions: tuple[LayerDecision, ...]
    carried: frozenset[str] = frozenset()


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build: the image as stored, and what became of each layer.

    `known` is what the last build left, and what became of it; `outcomes` are those of the groups that were tried, the
    last of which fitted; `chosen` is the run image that an extension chose, "" for
    none; `repeatable` is false where the same inputs could make another image next time.
    """

    image: Image
    group: tuple[GroupMember, ...]
    exported: ExportResult
    sboms: tuple[Sbom, ...]
    first: bool
    known: KnownBefore
    outcomes: tuple[GroupOutcome, ...]
    extensions: tuple[GroupMember, ...] = ()
    chosen: str = ""
    repeatable: bool = True


def run(job: Job, tools: Tools, course: Course) -> BuildReport:
    """Build the image and store it under the job's name; `course` is told how far that has come.

    What fails raises its phase's error; state stays as it was.
    """
    store, reporter, carrier = tools.store, tools.reporter, _carrier(job, tools)
    waiting = Noted(text="another build of this application is running; this one starts when that ends", always=True)
    with (
        store.lease(),
        workspace.opened(
            job.place,
            job.source,
            owner=tools.owner,
            env=job.env,
            bindings=job.bindings,
            waiting=lambda: reporter.emit(waiting),
        ) as ws,
    ):
        _report_changes(job, reporter)
        course.phase = "analyze"
        previous_name, previous = job.previous
        analyzed = analyze(previous, name=previous_name, run=job.run_image)
        app = application.prepare(
            ws,
            job.source,
            job.table,
            rules=job.rules,
            user=job.build_image.user,
            overlays=tools.overlays,
            target=job.places.app,
        )
        known = here = cache.read(os.path.join(ws.path, cache.FILE))
        with ExitStack() as opened:
            sandbox = opened.enter_context(_sandbox(job.build_image, job, ws, app, tools.engine))
            course.phase = "detect"
            found = detect(_detect_inputs(job, ws), sandbox=sandbox, reporter=reporter, course=course)
            ready = Ready(build_image=job.build_image, run=analyzed.run, plan=found.plan)
            if found.extensions:
                opened.close()
                course.phase = "extend"
                from packrunner.lifecycle import extending

                ready = extending.extend(job, ws, app, found, tools)
                analyzed = msgspec.structs.replace(analyzed, run=ready.run)
                sandbox = opened.enter_context(_sandbox(ready.build_image, job, ws, app, tools.engine))
            course.phase = "restore"
            if carrier and not job.clear_cache:
                known = carrier.fetch(found.group, analyzed.label, known)
            restored = restore(_restore_inputs(job, ws, found, analyzed, known), store=store, reporter=reporter)
            course.known = before = KnownBefore(
                label=analyzed.label,
                cache=here,
                decisions=restored.decisions,
                carried=frozenset(carrier.carried if carrier else ()),
            )
            course.phase = "build"
            built = build(_build_inputs(job, ws, found, ready), sandbox=sandbox, reporter=reporter, course=course)
        course.phase = "export"
        began = time.monotonic()
        reporter.emit(StepStarted(phase="export", subject="layers"))
        exported = export.export(
            export.ExportInputs(
                layers=ws.layers,
                user=(job.build_image.user.uid, job.build_image.user.gid),
                app=app.after_build(),
                analyzed=analyzed,
                restored=restored,
                built=built,
                cache=known,
                launcher=tools.launcher,
                launcher_version=__version__,
                process_type=job.process_type,
                places=job.places,
                exec_env=job.exec_env,
                platform_api=job.platform_api,
                created=created_at(job.source_date_epoch, reporter),
                project=job.project,
            ),
            store=store,
            reporter=reporter,
        )
        exported = _whole(exported, job, store)
        store.write(exported.image, [job.name, *job.names])
        _keep_cache(os.path.join(ws.path, cache.FILE), exported, reporter)
        reporter.emit(_export_step(exported, time.monotonic() - began))
        if carrier:
            carrier.keep(exported.cache)
    return BuildReport(
        image=exported.image,
        group=found.group,
        exported=exported,
        sboms=built.sboms,
        first=analyzed.previous is None,
        known=before,
        outcomes=found.outcomes,
        extensions=found.extensions,
        chosen=ready.chosen,
        repeatable=ready.repeatable,
    )


def _restore_inputs(
    job: Job, ws: Workspace, found: DetectResult, analyzed: AnalyzeResult, known: cache.CacheRecord
) -> RestoreInputs:
    return RestoreInputs(
        layers=ws.layers,
        owner=ws.owner,
        group=found.group,
        label=analyzed.label,
        cache=known,
        clear=job.clear_cache,
        exec_env=job.exec_env,
        platform_api=job.platform_api,
    )


def _build_inputs(job: Job, ws: Workspace, found: DetectResult, ready: Ready) -> BuildInputs:
    return BuildInputs(
        layers=ws.layers,
        plans=ws.plans,
        owner=ws.owner,
        group=found.group,
        plan=ready.plan,
        buildpacks=job.selection.buildpacks,
        image_env=ready.build_image.env,
        home=ready.build_image.user.home,
        target=ready.run.target,
        platform_env=job.env,
        operator=job.build_image.operator,
        platform_api=job.platform_api,
        extensions=found.extensions,
        extended_env=ready.build_image.extended,
        exec_env=job.exec_env,
        places=job.places,
    )


def _whole(exported: ExportResult, job: Job, store: LocalStore) -> ExportResult:
    """What was exported, its layers all in the store."""
    if job.elsewhere is None:
        return exported
    from packrunner.lifecycle.complete import complete

    return msgspec.structs.replace(exported, image=complete(exported.image, store, job.elsewhere))


def _carrier(job: Job, tools: Tools) -> Carrier | None:
    """What carries layers between this machine and the cache of others."""
    if job.outside is None:
        return None
    from packrunner.lifecycle.carry import Carrier

    return Carrier(job.outside, tools.store, tools.reporter)


def _keep_cache(path: str, exported: ExportResult, reporter: Reporter) -> None:
    """Save what is cached; the image is safe already, so a disk that refuses costs only time (EXP-34)."""
    try:
        cache.write(path, exported.cache)
    except StoreError as e:
        reporter.emit(Warned(text=f"the cache could not be saved, the next build starts without it: {e.brief}"))


def _report_changes(job: Job, reporter: Reporter) -> None:
    if not job.before or job.before == job.table:
        return
    touched = fingerprint.touched(job.before, job.table)
    reporter.emit(Changed(paths=tuple(touched[:100]), total=len(touched)))


def shared_mounts(job: Job, ws: Workspace) -> tuple[Mount, ...]:
    """What every sandbox of the build sees, the extensions among it where there are any."""
    return (
        Mount(source=ws.layers, target=LAYERS_DIR, writable=True),
        Mount(source=ws.platform, target=PLATFORM_DIR),
        *job.selection.extension_mounts,
        Mount(source=ws.plans, target=PLANS_DIR, writable=True),
        *job.volumes,
    )


@contextmanager
def _sandbox(image: BuildImage, job: Job, ws: Workspace, app: Application, engine: Engine) -> Iterator[Sandbox]:
    """An open sandbox for buildpacks, in which none has run."""
    modules = CompiledModules(job.selection, image.rootfs, path=image.env.get("PATH", ""))
    with engine.open(_spec(image, job, ws, app, modules.mounts())) as sandbox:
        modules.make(sandbox)
        yield sandbox


def _spec(image: BuildImage, job: Job, ws: Workspace, app: Application, modules: tuple[Mount, ...]) -> SandboxSpec:
    return SandboxSpec(
        rootfs=image.rootfs,
        image=image.image,
        tree=image.tree,
        user=image.user,
        mounts=(
            *shared_mounts(job, ws),
            *job.selection.mounts,
            *modules,
            *app.mounts,
        ),
        overlays=app.overlays,
        network=job.network,
    )


def _detect_inputs(job: Job, ws: Workspace) -> DetectInputs:
    top = tuple(sorted(set(os.listdir(job.source)) - job.rules.skip))
    return DetectInputs(
        order=job.selection.order,
        system=job.selection.system,
        buildpacks=job.selection.buildpacks,
        extensions=job.selection.extensions,
        plans_dir=ws.plans,
        target=job.run_image.target,
        image_env=job.build_image.env,
        platform_env=job.env,
        operator=job.build_image.operator,
        platform_api=job.platform_api,
        home=job.build_image.user.home,
        owner=ws.owner,
        exec_env=job.exec_env,
        places=job.places,
        app_files=AppFiles(count=fingerprint.files(job.table), names=top),
    )


def _export_step(exported: ExportResult, seconds: float) -> StepDone:
    """`5 layers    1 new: app, 48 kB`: which layers are not those of the last image, and their size."""
    from packrunner.console.units import size

    mine = [layer for layer in exported.layers if layer.in_image]
    fresh = [layer for layer in mine if layer.state != "reused"]
    count = f"{len(mine)} layer{'' if len(mine) == 1 else 's'}"
    if not fresh:
        return StepDone(phase="export", subject=count, detail="no new layers", seconds=seconds)
    total = size(sum(layer.size for layer in fresh))
    named = f": {', '.join(layer.name for layer in fresh)}" if len(fresh) <= 3 else ""
    return StepDone(phase="export", subject=count, detail=f"{len(fresh)} new{named}, {total}", seconds=seconds)
