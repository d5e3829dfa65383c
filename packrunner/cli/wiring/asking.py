"""Questions about detection, composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import bases, places, reach
from packrunner.cli.wiring.opening import Opening, place

if TYPE_CHECKING:
    from packrunner.events import Reporter
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.request import BuildRequest


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

    with ExitStack() as stack:
        opening = Opening(request, reporter, stack)
        held = reach.with_certificates(held, opening.certificates)
        where, builder = opening.start(("build",))
        inquiry = detect_only.Inquiry(
            source=request.source,
            rules=rules_of(request),
            env={**held.variables, **dict(request.env)},
            bindings=held.bindings,
            place=place(request, builder),
            selection=opening.select(builder, order, directories),
            rootfs=builder.build_rootfs(),
            image=builder.image,
            image_env=builder.build_env,
            user=builder.user,
            operator=builder.operator,
            platform_api=builder.platform_api,
            target=bases.target(request, builder, opening.finder),
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
