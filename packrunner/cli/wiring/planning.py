"""What a build would do, found out without doing it; and of one that was done, the same in its report."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner.cli.wiring import places
from packrunner.cli.wiring.opening import Opening, place
from packrunner.cli.wiring.sending import Sending

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.wiring.building import Parts
    from packrunner.cli.wiring.sending import Sent
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.carry import Carrier, OutsideCache
    from packrunner.lifecycle.outline import Cached, Changes, Outline
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.runner import BuildReport
    from packrunner.record import Record

REPORT = "packrunner.report/1"


def plan(request: BuildRequest, reporter: Reporter, kept: Record) -> Outline:
    """The outline of the build; `kept` is the record of builds with the same arguments.

    No buildpack runs, and nothing is written but caches: what the build would fetch and unpack first.
    """
    from packrunner.lifecycle import outline

    with ExitStack() as stack:
        opening = Opening(request, reporter, stack)
        images = opening.images
        _, builder = opening.start()
        run_image = opening.run_image(builder)
        selection = opening.suited(builder, run_image)
        previous = opening.previous()
        sending = Sending(request, opening.registries, images, reporter, daemon=opening.daemon)
        parts = outline.Parts(
            builder=builder,
            run_image=run_image,
            selection=selection,
            previous=previous,
            caches=_foreseen(
                request,
                builder,
                selection,
                previous=previous,
                carrier=_carrier(request, images, sending.outside(make=False), reporter),
                images=images,
            ),
            changes=changes(request, kept, builder, selection, images),
        )
        return outline.compose(request, parts)


def changes(request: BuildRequest, kept: Record, builder: Builder, selection: Selection, images: LocalStore) -> Changes:
    """What is not as it was at the last build with these arguments."""
    from packrunner.cli import comparing

    kinds = dict.fromkeys(selection.inputs, "buildpack") | dict.fromkeys(builder.watched, "builder")
    return comparing.changes(kept, request, kinds | {places.launcher(): "launcher"}, images)


def _foreseen(
    request: BuildRequest,
    builder: Builder,
    selection: Selection,
    *,
    previous: tuple[str, Image | None],
    carrier: Carrier | None,
    images: LocalStore,
) -> tuple[Cached, ...]:
    from packrunner.formats import labels
    from packrunner.lifecycle import cache, outline, restore

    name, image = previous
    label = labels.read_lifecycle(dict(image.labels)) if image else labels.LifecycleLabel()
    workspace = place(request, builder)
    here = known = cache.read(os.path.join(workspace, cache.FILE))
    group = outline.members(selection, exec_env=request.shape.exec_env, platform_api=builder.platform_api)
    if carrier:
        known = carrier.foresee(group, label, here)
    inputs = restore.RestoreInputs(
        layers=os.path.join(workspace, "layers"),
        owner=None,
        group=group,
        label=label,
        cache=known,
        clear=request.clear_cache,
        exec_env=request.shape.exec_env,
        platform_api=builder.platform_api,
    )
    return outline.caches(
        restore.foresee(inputs, has=carrier.has if carrier else images.has),
        [one.id for one in group],
        label=label,
        cache=here,
        previous=name,
        carried=carrier.carried if carrier else (),
        elsewhere=carrier.shown if carrier else "",
    )


def _carrier(
    request: BuildRequest, images: LocalStore, outside: OutsideCache | None, reporter: Reporter
) -> Carrier | None:
    """What would carry layers between this machine and the cache of others."""
    if outside is None or request.clear_cache:
        return None
    from packrunner.lifecycle.carry import Carrier

    return Carrier(outside, images, reporter)


class Telling:
    """Tells of one build in report.toml and report.json: made before the build, so that it knows what changed."""

    def __init__(self, request: BuildRequest, parts: Parts, kept: Record | None, images: LocalStore) -> None:
        from packrunner.lifecycle.outline import Changes

        self._request = request
        self._parts = parts
        self._changes = Changes() if kept is None else changes(request, kept, parts.builder, parts.selection, images)

    def write(self, sent: Sent, made: BuildReport, *, line: str, seconds: float) -> None:
        """Write both files into the directory that was asked for. Raises StoreError."""
        from packrunner.cli.building import redactor
        from packrunner.console.redact import cleaned
        from packrunner.lifecycle import export, handout

        names = (self._request.name, *self._request.delivery.tags)
        document = {
            "schema": REPORT,
            **self._outline(made).to_json(),
            "result": {
                "reference": line,
                "digest": str(made.image.digest),
                "pushed": str(sent.digest) if sent.digest else None,
                "loaded": sent.image_id or None,
                "group": len(made.outcomes),
                "buildpacks": msgspec.to_builtins(made.group),
                "extensions": msgspec.to_builtins(made.extensions),
                "run_image": made.chosen or None,
                "layers": msgspec.to_builtins(made.exported.layers, enc_hook=str),
                "seconds": round(seconds, 6),
            },
        }
        # Reasons of layers are the buildpacks' own words.
        hiding = redactor(self._request, os.environ, self._parts.held.texts())
        text = json.dumps(cleaned(document, hiding), indent=2) + "\n"
        directory = self._request.shape.report_dir
        handout.write_report(directory, export.report(sent.image or made.image, names), text.encode())

    def _outline(self, made: BuildReport) -> Outline:
        from packrunner.lifecycle import outline

        known, parts = made.known, self._parts
        name, _ = parts.previous
        return outline.compose(
            self._request,
            outline.Parts(
                builder=parts.builder,
                run_image=parts.run_image,
                selection=parts.selection,
                previous=parts.previous,
                caches=outline.caches(
                    known.decisions,
                    [one.id for one in made.group],
                    label=known.label,
                    cache=known.cache,
                    previous=name,
                    carried=known.carried,
                    elsewhere=parts.outside.shown if parts.outside else "",
                ),
                changes=self._changes,
            ),
        )
