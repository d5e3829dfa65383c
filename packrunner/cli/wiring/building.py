"""Builds and questions about detection, composed from all the rest."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli.wiring import bases, places
from packrunner.events import BuildStarted, Finished, Warned

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.services import Known
    from packrunner.engines.base import User
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.runner import Tools


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build's one line for stdout."""

    line: str


def build(
    request: BuildRequest, reporter: Reporter, known: Known | None = None, held: Held | None = None
) -> BuildOutcome:
    """Build, store and put out an image; leave a record for the next time."""
    from packrunner.cli import remembering
    from packrunner.console.units import duration
    from packrunner.lifecycle import extended, runner, suiting
    from packrunner.lifecycle.application import Rules

    began_ns, began = time.time_ns(), time.monotonic()
    where = places.engine()
    source = paths.readable(request.source)
    reporter.emit(BuildStarted(name=request.name, source=source, builder=request.builder, engine=where.name))
    images, unpacked = places.store(), places.snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        builder = bases.opened(request, images, unpacked, where, reporter)
        stack.callback(builder.close)
        run_image = bases.run_image(request, builder, images)
        doubt = suiting.distributions(builder.target, run_image.target)
        if doubt:
            reporter.emit(Warned(text=doubt))
        selection = _select(request)
        rules = Rules(include=request.include, exclude=request.exclude)
        inputs = remembering.inputs(request, places.launcher(), builder, selection)
        scan = remembering.scan(inputs, rules, known, began_ns)
        report = runner.run(
            runner.Job(
                name=request.name,
                source=request.source,
                table=scan.tables[0],
                before=known.record.app_table() if known and known.record.facts else b"",
                rules=rules,
                env={**(held.variables if held else {}), **dict(request.env)},
                bindings=held.bindings if held else {},
                place=_place(request, builder),
                selection=selection,
                build_image=runner.BuildImage(
                    rootfs=builder.build_rootfs(),
                    env=builder.build_env,
                    user=builder.user,
                    reference=builder.full_reference,
                ),
                run_image=run_image,
                run_images=bases.run_images(builder, images),
                records=os.path.join(paths.cache_dir(), extended.DIRECTORY),
                network=request.network,
                clear_cache=request.clear_cache,
                source_date_epoch=os.environ.get("SOURCE_DATE_EPOCH"),
                project=request.project,
            ),
            _tools(where, builder.user, images, unpacked, reporter),
        )
    _put_out(request, report.image, images)
    line = f"{request.name}@{report.image.digest}"
    if known is not None:
        remembering.remember(request, known.record, scan, report, builder=builder, store=images)
    hint = f"Start it: packrunner run {request.name}" if report.first else ""
    reporter.emit(Finished(text=f"Built in {duration(time.monotonic() - began)}.", hint=hint))
    return BuildOutcome(line=line)


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
    from packrunner.lifecycle.application import Rules

    where, images, unpacked = places.engine(), places.store(), places.snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        builder = bases.opened(request, images, unpacked, where, reporter, wanted=("build",))
        stack.callback(builder.close)
        inquiry = detect_only.Inquiry(
            source=request.source,
            rules=Rules(include=request.include, exclude=request.exclude),
            env={**(held.variables if held else {}), **dict(request.env)},
            bindings=held.bindings if held else {},
            place=_place(request, builder),
            selection=_select(request, order, directories),
            rootfs=builder.build_rootfs(),
            image_env=builder.build_env,
            user=builder.user,
            target=bases.target(request, builder, images),
            network=request.network,
        )
        return detect_only.ask(
            inquiry, engine=where, reporter=reporter, overlays=places.overlays(where), owner=places.owner(builder.user)
        )


def _select(request: BuildRequest, order: str | None = None, directories: tuple[str, ...] = ()) -> Selection:
    from packrunner.catalog.select import CatalogSettings, select, select_order

    settings = CatalogSettings(stage_dir=os.path.join(paths.cache_dir(), "stage"))
    if order is not None:
        return select_order(order, directories, settings=settings, extensions=request.extensions)
    return select(request.buildpacks, settings=settings, project=request.groups, extensions=request.extensions)


def _place(request: BuildRequest, builder: Builder) -> str:
    from packrunner import workspace

    return workspace.location(paths.cache_dir(), request.source, builder.reference)


def _tools(where: SandboxEngine, user: User, images: LocalStore, unpacked: Snapshots, reporter: Reporter) -> Tools:
    from packrunner.lifecycle.runner import Tools

    return Tools(
        engine=where,
        extender=where,
        store=images,
        snapshots=unpacked,
        reporter=reporter,
        launcher=places.launcher(),
        overlays=places.overlays(where),
        owner=places.owner(user),
    )


def _put_out(request: BuildRequest, image: Image, images: LocalStore) -> None:
    from packrunner.images.transfer import parse_locator, write_output

    for output in request.outputs:
        write_output(parse_locator(output), image, images, request.name)
