"""What a build would do, found out without doing it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import places
from packrunner.cli.wiring.opening import Opening, place
from packrunner.cli.wiring.sending import Sending

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.carry import Carrier, OutsideCache
    from packrunner.lifecycle.outline import Cached, Changes, Outline
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.record import Record


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
