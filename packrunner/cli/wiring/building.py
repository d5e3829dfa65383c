"""Builds, composed from all the rest."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli.wiring import bases, places, reach
from packrunner.cli.wiring.opening import Opening, place, user_of
from packrunner.cli.wiring.sending import Sending
from packrunner.events import BuildStarted, Finished, Noted

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.services import Known
    from packrunner.cli.telling import Telling
    from packrunner.cli.wiring.engines import Where
    from packrunner.engines.base import Mount, User
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle import outline
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.application import Rules
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.job import BuildReport, Job, Tools
    from packrunner.lifecycle.request import BuildRequest


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build's one line for stdout."""

    line: str


def build(
    request: BuildRequest,
    reporter: Reporter,
    known: Known | None = None,
    held: Held | None = None,
    telling: Telling | None = None,
) -> BuildOutcome:
    """Build, store and put out an image; leave a record for the next time."""
    from packrunner.cli import remembering
    from packrunner.console.units import duration
    from packrunner.formats import dockerignore
    from packrunner.lifecycle import runner
    from packrunner.lifecycle.application import rules_of
    from packrunner.lifecycle.course import Course

    began_ns, began = time.time_ns(), time.monotonic()
    course = telling.course if telling else Course()
    with ExitStack() as stack:
        opening = Opening(request, reporter, stack)
        held = reach.with_certificates(held, opening.certificates)
        images, finder = opening.images, opening.finder
        sending = Sending(request, opening.registries, images, reporter, daemon=opening.daemon)
        if known is not None and known.unchanged and (line := sending.again(known)):
            return BuildOutcome(line=line)
        source = paths.readable(request.source)
        reporter.emit(BuildStarted(name=request.name, source=source, builder=request.builder, engine=request.engine))
        sending.check()
        where, builder = opening.start()
        run_image = opening.run_image(builder)
        selection = opening.suited(builder, run_image)
        rules = rules_of(request)
        if rules.ignored:
            text = f"{dockerignore.NAME} says what is left out, as project.toml does not"
            reporter.emit(Noted(text=text, always=True))
        inputs = remembering.inputs(request, places.launcher(), builder, selection)
        scan = remembering.scan(inputs, rules, known, began_ns)
        parts = Parts(
            builder=builder,
            run_image=run_image,
            selection=selection,
            rules=rules,
            table=scan.tables[0],
            before=known.record.app_table() if known and known.record.facts else b"",
            held=held,
            outside=sending.outside(),
            previous=opening.previous(),
            created=_created(request, began_ns),
        )
        if telling:
            telling.begins(_outlined(request, parts, known, images), parts.outside)
        job = _job(request, parts, opening)
        report = runner.run(job, _tools(where, user_of(request, builder), opening, reporter), course)
        course.phase = "send"
        sent = sending.send(report.image, finder.blobs)
        line = f"{request.name}@{sent.digest or report.image.digest}"
        _put_out(request, report, images)
        if telling:
            telling.made(report, pushed=sent.image, loaded=sent.image_id, line=line)
        if known is not None:
            found = remembering.Findings(
                builder=builder,
                store=images,
                line=line,
                moving=finder.moving or selection.moving,
                packages=selection.images,
                elsewhere=sent.facts(),
            )
            remembering.remember(request, known.record, scan, report, found)
    hint = f"Start it: packrunner run {request.name}" if report.first else ""
    reporter.emit(Finished(text=f"{sent.done} in {duration(time.monotonic() - began)}.", hint=hint))
    return BuildOutcome(line=line)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is put together from."""

    builder: Builder
    run_image: RunImage
    selection: Selection
    rules: Rules
    table: bytes
    before: bytes
    held: Held
    outside: OutsideCache | None
    previous: tuple[str, Image | None]
    created: str | None


def _job(request: BuildRequest, parts: Parts, opening: Opening) -> Job:
    from packrunner.lifecycle import extended
    from packrunner.lifecycle.job import BuildImage, Job
    from packrunner.workspace import Places

    builder = parts.builder
    return Job(
        name=request.name,
        names=request.delivery.tags,
        previous=parts.previous,
        elsewhere=opening.finder.layer,
        source=request.source,
        table=parts.table,
        before=parts.before,
        rules=parts.rules,
        env={**parts.held.variables, **dict(request.env)},
        bindings=parts.held.bindings,
        place=place(request, builder),
        selection=parts.selection,
        build_image=BuildImage(
            rootfs=builder.build_rootfs(),
            image=builder.image,
            env=builder.build_env,
            user=user_of(request, builder),
            reference=builder.full_reference,
            operator=builder.operator,
        ),
        platform_api=builder.platform_api,
        run_image=parts.run_image,
        run_images=bases.run_images(builder, opening.finder),
        records=os.path.join(paths.cache_dir(), extended.DIRECTORY),
        network=request.sandbox_network,
        volumes=_volumes(request),
        places=Places(app=request.shape.app_dir),
        process_type=request.shape.process,
        exec_env=request.shape.exec_env,
        outside=parts.outside,
        clear_cache=request.clear_cache,
        source_date_epoch=parts.created,
        project=request.project,
    )


def _volumes(request: BuildRequest) -> tuple[Mount, ...]:
    from packrunner.engines.base import Mount

    return tuple(
        Mount(source=volume.source, target=volume.target, writable=volume.writable)
        for volume in request.shape.volumes
        if not volume.bindings
    )


def _created(request: BuildRequest, began_ns: int) -> str | None:
    """Seconds since 1970, for the image to say that it was made then."""
    asked = request.shape.created
    if asked == "now":
        return str(began_ns // 1_000_000_000)
    return asked or os.environ.get("SOURCE_DATE_EPOCH")


def _tools(where: Where, user: User, opening: Opening, reporter: Reporter) -> Tools:
    from packrunner.lifecycle.job import Tools

    return Tools(
        engine=where.engine,
        extender=where.extender,
        store=opening.images,
        snapshots=opening.unpacked,
        reporter=reporter,
        launcher=places.launcher(),
        overlays=where.overlays,
        owner=places.owner(user),
    )


def _outlined(request: BuildRequest, parts: Parts, known: Known | None, images: LocalStore) -> outline.Parts:
    """What is known of the build before it, for its report. Most builds write none."""
    from packrunner.cli.wiring import planning
    from packrunner.lifecycle import outline

    kept = known.record if known else None
    return outline.Parts(
        builder=parts.builder,
        run_image=parts.run_image,
        selection=parts.selection,
        previous=parts.previous,
        caches=(),
        changes=planning.changes(request, kept, parts.builder, parts.selection, images) if kept else outline.Changes(),
    )


def _put_out(request: BuildRequest, report: BuildReport, images: LocalStore) -> None:
    from packrunner.images.transfer import parse_locator, write_output

    for output in request.outputs:
        write_output(parse_locator(output), report.image, images, request.name)
    if request.shape.sbom_dir:
        from packrunner.lifecycle import handout

        handout.write_sboms(request.shape.sbom_dir, report.sboms)
