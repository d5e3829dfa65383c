"""Builds and questions about detection, composed from all the rest."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli.wiring import bases, engines, places, reach
from packrunner.cli.wiring.bringing import Bringing, stage_dir, tell_strangers
from packrunner.cli.wiring.finding import Finder
from packrunner.cli.wiring.registries import Registries
from packrunner.cli.wiring.sending import Sending
from packrunner.events import BuildStarted, Finished, Noted, Warned

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.services import Known
    from packrunner.cli.wiring.engines import Where
    from packrunner.cli.wiring.planning import Telling
    from packrunner.engines.base import Mount, User
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.application import Rules
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.runner import BuildReport, Job, Tools


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build's one line for stdout."""

    line: str


def build(
    request: BuildRequest, reporter: Reporter, known: Known | None = None, held: Held | None = None
) -> BuildOutcome:
    """Build, store and put out an image; leave a record for the next time."""
    from packrunner.cli import remembering
    from packrunner.console.units import duration
    from packrunner.formats import dockerignore
    from packrunner.lifecycle import runner
    from packrunner.lifecycle.application import rules_of

    began_ns, began = time.time_ns(), time.monotonic()
    within = reach.of(request)
    held = reach.with_certificates(held, within.certificates)
    images, unpacked = places.store(), places.snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        registries = Registries(
            stack, reporter, within, insecure=request.delivery.insecure, platform=request.shape.platform
        )
        daemon = engines.daemons(stack, request.docker_host, offline=request.offline)
        sending = Sending(request, registries, images, reporter, daemon=daemon)
        if known is not None and known.unchanged and (line := sending.again(known)):
            return BuildOutcome(line=line)
        source = paths.readable(request.source)
        reporter.emit(BuildStarted(name=request.name, source=source, builder=request.builder, engine=request.engine))
        sending.check()
        finder = Finder(images, registries, reporter, policy=request.delivery.pull_policy, daemon=daemon)
        where = engines.chosen(request, within.certificates, daemon, stack)
        builder = bases.opened(request, images, unpacked, where.maker, reporter, finder=finder)
        stack.callback(builder.close)
        stack.enter_context(images.lease())
        run_image = bases.run_image(request, builder, finder)
        bases.check_platform(request, builder, run_image)
        bringing = Bringing(finder, registries, unpacked, reporter)
        selection = select(request, builder, bringing)
        check(builder, run_image, selection, reporter)
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
            previous=previous(request, finder),
            created=_created(request, began_ns),
        )
        told = _telling(request, parts, known, images) if request.shape.report_dir else None
        job = _job(request, parts, finder)
        report = runner.run(job, _tools(where, user_of(request, builder), images, unpacked, reporter))
        sent = sending.send(report.image, finder.blobs)
        line = f"{request.name}@{sent.digest or report.image.digest}"
        _put_out(request, report, images)
        if told:
            told.write(sent, report, line=line, seconds=time.monotonic() - began)
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


def check(builder: Builder, run_image: RunImage, selection: Selection, reporter: Reporter) -> None:
    """Raise where buildpacks do not suit the images, and warn where the images may not suit each other."""
    from packrunner.lifecycle import suiting

    suitable = suiting.Suit(builder.labels, run_image.image.labels, builder.platform_api)
    suiting.check_mixins(suitable, ((b.id, b.descriptor.stacks) for b in selection.buildpacks.values()))
    for doubt in suiting.doubts(suitable, builder.target, run_image.target):
        reporter.emit(Warned(text=doubt))
    # Others' buildpacks are their authors' business: a key that means nothing is a note (-v) and no more.
    tell_strangers((*selection.buildpacks.values(), *selection.extensions.values()), reporter)


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


def _job(request: BuildRequest, parts: Parts, finder: Finder) -> Job:
    from packrunner.lifecycle import extended, runner
    from packrunner.workspace import Places

    builder = parts.builder
    return runner.Job(
        name=request.name,
        names=request.delivery.tags,
        previous=parts.previous,
        elsewhere=finder.layer,
        source=request.source,
        table=parts.table,
        before=parts.before,
        rules=parts.rules,
        env={**parts.held.variables, **dict(request.env)},
        bindings=parts.held.bindings,
        place=place(request, builder),
        selection=parts.selection,
        build_image=runner.BuildImage(
            rootfs=builder.build_rootfs(),
            image=builder.image,
            env=builder.build_env,
            user=user_of(request, builder),
            reference=builder.full_reference,
            operator=builder.operator,
        ),
        platform_api=builder.platform_api,
        run_image=parts.run_image,
        run_images=bases.run_images(builder, finder),
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


def detect(
    request: BuildRequest,
    reporter: Reporter,
    held: Held | None = None,
    *,
    order: str | None = None,
    directories: tuple[str, ...] = (),
) -> Answer:
    """Ask which buildpacks would build the application; no run image is made for it."""
    from packrunner.lifecycle import detect_only
    from packrunner.lifecycle.application import rules_of

    within = reach.of(request)
    images, unpacked = places.store(), places.snapshots()
    held = reach.with_certificates(held, within.certificates)
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        registries = Registries(stack, reporter, within)
        daemon = engines.daemons(stack, request.docker_host, offline=request.offline)
        finder = Finder(images, registries, reporter, policy=request.delivery.pull_policy, daemon=daemon)
        where = engines.chosen(request, within.certificates, daemon, stack)
        builder = bases.opened(request, images, unpacked, where.maker, reporter, finder=finder, wanted=("build",))
        stack.callback(builder.close)
        stack.enter_context(images.lease())
        inquiry = detect_only.Inquiry(
            source=request.source,
            rules=rules_of(request),
            env={**held.variables, **dict(request.env)},
            bindings=held.bindings,
            place=place(request, builder),
            selection=select(request, builder, Bringing(finder, registries, unpacked, reporter), order, directories),
            rootfs=builder.build_rootfs(),
            image=builder.image,
            image_env=builder.build_env,
            user=builder.user,
            operator=builder.operator,
            platform_api=builder.platform_api,
            target=bases.target(request, builder, finder),
            network=request.sandbox_network,
            exec_env=request.shape.exec_env,
        )
        return detect_only.ask(
            inquiry,
            engine=where.engine,
            reporter=reporter,
            overlays=where.overlays,
            owner=places.owner(builder.user),
        )


def select(
    request: BuildRequest,
    builder: Builder,
    bringing: Bringing,
    order: str | None = None,
    directories: tuple[str, ...] = (),
) -> Selection:
    from packrunner.catalog.select import Around, CatalogSettings, select, select_order

    for_whom = builder.target
    platform = "/".join(filter(None, (for_whom.os, for_whom.arch, for_whom.variant)))
    settings = CatalogSettings(stage_dir=stage_dir(), reach=bringing, platform=platform)
    if order is not None:
        found = select_order(
            order, directories, settings=settings, extensions=request.extensions, carried=builder.carried
        )
    else:
        wanted = request.shape
        found = select(
            request.buildpacks,
            settings=settings,
            project=request.groups,
            extensions=request.extensions,
            around=Around(before=wanted.before, after=wanted.after, system=not wanted.without_system),
            carried=builder.carried,
        )
    bases.check_python(found, builder)
    return found


def place(request: BuildRequest, builder: Builder) -> str:
    """The workspace; what is made for another user, place of the application or purpose has one of its own."""
    from packrunner import workspace

    key, user = builder.reference, user_of(request, builder)
    if user != builder.user:
        key += f" {user.uid}:{user.gid}"
    if request.shape.app_dir != workspace.APP_DIR:
        key += f" {request.shape.app_dir}"
    if request.shape.exec_env != "production":
        key += f" for {request.shape.exec_env}"
    return workspace.location(paths.cache_dir(), request.source, key)


def user_of(request: BuildRequest, builder: Builder) -> User:
    """Who builds."""
    uid, gid = request.shape.uid, request.shape.gid
    return msgspec.structs.replace(
        builder.user, uid=builder.user.uid if uid is None else uid, gid=builder.user.gid if gid is None else gid
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


def previous(request: BuildRequest, finder: Finder) -> tuple[str, Image | None]:
    """The image whose metadata and layers are reused; of one that only a registry has, not its layers (RES-01)."""
    asked = request.delivery.previous
    if asked or request.delivery.push:
        return asked or request.name, finder.peek(asked or request.name)
    return request.name, finder.here(request.name)


def _tools(where: Where, user: User, images: LocalStore, unpacked: Snapshots, reporter: Reporter) -> Tools:
    from packrunner.lifecycle.runner import Tools

    return Tools(
        engine=where.engine,
        extender=where.extender,
        store=images,
        snapshots=unpacked,
        reporter=reporter,
        launcher=places.launcher(),
        overlays=where.overlays,
        owner=places.owner(user),
    )


def _telling(request: BuildRequest, parts: Parts, known: Known | None, images: LocalStore) -> Telling:
    """What will tell of the build in files. Most builds write none."""
    from packrunner.cli.wiring.planning import Telling

    return Telling(request, parts, known.record if known else None, images)


def _put_out(request: BuildRequest, report: BuildReport, images: LocalStore) -> None:
    from packrunner.images.transfer import parse_locator, write_output

    for output in request.outputs:
        write_output(parse_locator(output), report.image, images, request.name)
    if request.shape.sbom_dir:
        from packrunner.lifecycle import handout

        handout.write_sboms(request.shape.sbom_dir, report.sboms)
