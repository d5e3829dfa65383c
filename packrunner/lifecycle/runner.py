"""A build, straight down: analyze, detect, extend, restore, build, export. Every phase is a module; this connects them.

One sandbox serves detect and build, unless image extensions choose other images in between. What it wrote is read
between the programs only after all its processes are gone, and packed only after the sandbox itself is.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint, workspace
from packrunner._version import __version__
from packrunner.errors import StoreError
from packrunner.events import Changed, Noted, StepDone, StepStarted, Warned
from packrunner.lifecycle import application, cache, export, sandboxes
from packrunner.lifecycle.analyze import analyze
from packrunner.lifecycle.build import BuildInputs, build
from packrunner.lifecycle.created import created_at
from packrunner.lifecycle.detect import DetectInputs, detect
from packrunner.lifecycle.explain import AppFiles
from packrunner.lifecycle.job import BuildReport, KnownBefore, Ready
from packrunner.lifecycle.restore import RestoreInputs, restore

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import AnalyzeResult
    from packrunner.lifecycle.carry import Carrier
    from packrunner.lifecycle.course import Course
    from packrunner.lifecycle.detect import DetectResult
    from packrunner.lifecycle.export import ExportResult
    from packrunner.lifecycle.job import Job, Tools
    from packrunner.workspace import Workspace


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
            sandbox = opened.enter_context(sandboxes.opened(job.build_image, job, ws, app, tools.engine))
            course.phase = "detect"
            found = detect(_detect_inputs(job, ws), sandbox=sandbox, reporter=reporter, course=course)
            ready = Ready(build_image=job.build_image, run=analyzed.run, plan=found.plan)
            if found.extensions:
                opened.close()
                course.phase = "extend"
                from packrunner.lifecycle import extending

                ready = extending.extend(job, ws, app, found, tools)
                analyzed = msgspec.structs.replace(analyzed, run=ready.run)
                sandbox = opened.enter_context(sandboxes.opened(ready.build_image, job, ws, app, tools.engine))
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
