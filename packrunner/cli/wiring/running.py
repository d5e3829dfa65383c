"""Running an image, composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from packrunner.cli.wiring import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.cli.services import ComposePlan, Shown, Wish
    from packrunner.events import Reporter
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.request import BuildRequest


def develop(request: BuildRequest, wish: Wish, shown: Shown, held: Held | None = None) -> None:
    """Build, run, and keep what runs like its source, until it is told to stop."""
    # No other command needs what this imports.
    from packrunner.cli.wiring import developing

    developing.develop(request, wish, shown, held)


def compose_version(request: BuildRequest) -> tuple[str, ...]:
    """How Docker Compose is called here."""
    from packrunner.cli.wiring import composing

    return composing.compose_version(request)


def compose(
    request: BuildRequest, first: Callable[[], ComposePlan], *, again: Callable[[], bool], reporter: Reporter
) -> int:
    """Run Docker Compose with its watch, and build when a change needs it; its exit code."""
    from packrunner.cli.wiring import composing

    return composing.compose(request, first, again=again, reporter=reporter)


def run_app(
    image_name: str,
    *,
    env: tuple[tuple[str, str], ...],
    process: str | None,
    args: tuple[str, ...],
    publish: tuple[tuple[int, int], ...],
    network: Literal["host", "none"],
    command: bool = False,
) -> int:
    """Run an image in the foreground; the application's exit code."""
    from packrunner.engines.app import run_app
    from packrunner.engines.base import SandboxSpec
    from packrunner.lifecycle import launching

    images, unpacked = places.store(), places.snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        with images.lease():
            image = places.read_image(image_name, images)
            # From here on the trees are held, and the store may be pruned while the application runs.
            lowers = unpacked.lowers(image)
        start = launching.start(image, lowers, env=dict(env), process=process, args=args, command=command)
        spec = SandboxSpec(rootfs=lowers, user=start.user, network=network, trust=False)
        return run_app(places.engine(), spec, start.argv, env=start.env, cwd=start.cwd, publish=publish)
