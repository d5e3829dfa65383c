"""`packrunner dev`, composed: the watcher, builds in the background, the place where versions run."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from packrunner.cli.wiring import engines, places, reach
from packrunner.cli.wiring.versions import Builder
from packrunner.dev import processes
from packrunner.dev.app import App
from packrunner.dev.doors import Doors, Key, Over
from packrunner.dev.session import Session
from packrunner.errors import PackrunnerError
from packrunner.formats.sync import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.cli.services import Shown, Wish
    from packrunner.dev.doors import Item, Version
    from packrunner.dev.watch import Watcher
    from packrunner.engines.base import Engine, Sandbox, SandboxSpec
    from packrunner.events import Warned
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.request import BuildRequest

KEYS = "r restart   b rebuild   l rules   q quit"


def develop(request: BuildRequest, wish: Wish, shown: Shown, held: Held | None = None) -> None:
    """Build, run, and keep what runs like its source, until it is told to stop."""
    began = time.monotonic()
    with ExitStack() as stack:
        watcher = stack.enter_context(_watcher(request, wish, shown.reporter.emit))
        mark = watcher.tree.mark()
        builder = Builder(request, shown, held)
        stack.callback(builder.close)
        version = builder.first()
        shown.begin()
        ground = stack.enter_context(_ground(request, wish, builder.images, watcher))
        session = Session(
            Doors(
                source=watcher.tree,
                start=lambda one, run: ground.start(one, run, session.queue.put),
                build=lambda: builder.again(session.queue.put),
                reporter=shown.reporter,
                problem=shown.problem,
            ),
            name=wish.name,
            keys=KEYS if wish.keys else "",
        )
        if wish.keys:
            stack.enter_context(wish.keys(lambda key: session.queue.put(Key(key))))
        threading.Thread(target=_watch, args=(watcher, session.queue.put), name="watch", daemon=True).start()
        session.run(version, began=began, mark=mark)


def _watcher(request: BuildRequest, wish: Wish, notice: Callable[[Warned], None]) -> Watcher:
    from packrunner.dev.ignored import Ignored
    from packrunner.dev.watch import Watcher
    from packrunner.lifecycle.application import Rules

    project = Rules(include=request.include, exclude=request.exclude)
    return Watcher(request.source, Ignored(request.source, project=project), notice=notice, poll=wish.poll)


def _watch(watcher: Watcher, put: Callable[[Item], None]) -> None:
    try:
        for batch in watcher.batches():
            put(batch)
    except PackrunnerError as error:
        put(Over(error))


@contextmanager
def _ground(request: BuildRequest, wish: Wish, images: LocalStore, watcher: Watcher) -> Iterator[_Ground]:
    with ExitStack() as stack:
        within = reach.of(request)
        daemon = engines.daemons(stack, request.docker_host, offline=request.offline)
        engine = engines.chosen(request, within.certificates, daemon, stack).engine
        yield _Ground(engine, request, wish, images, watcher)


class _Ground:
    """Where versions run."""

    def __init__(self, engine: Engine, request: BuildRequest, wish: Wish, images: LocalStore, watcher: Watcher) -> None:
        self._engine = engine
        self._request = request
        self._wish = wish
        self._images = images
        self._watcher = watcher
        self._ports = processes.Ports(wish.port)

    def start(self, version: Version, run: int, put: Callable[[Item], None]) -> App:
        """Run a version."""
        from packrunner.engines.base import SandboxSpec
        from packrunner.lifecycle import launching

        unpacked = places.snapshots()
        try:
            with self._images.lease():
                image = places.read_image(version.image, self._images)
                lowers = unpacked.lowers(image)
            env = dict(self._wish.env)
            started = processes.commands(
                image, lowers, processes.chosen(image.labels, self._wish.processes), env=env, given=self._ports
            )
            spec = SandboxSpec(
                rootfs=lowers,
                image=image,
                user=launching.user_of(image, lowers),
                network=self._request.sandbox_network,
                trust=False,
                scratch=True,
                publish=self._published([process.name for process in started]),
            )
            return App(
                _held(self._engine, spec, unpacked),
                started,
                processes.attach(image, lowers, env=env) if LABEL in image.labels else None,
                run=run,
                put=put,
                parcel=self._watcher.tree.parcel,
            )
        except BaseException:
            unpacked.close()
            raise

    def _published(self, names: list[str]) -> tuple[tuple[int, int], ...]:
        """A container in a network of its own has ports of its own."""
        own = self._engine.name == "docker" and (
            self._request.origins.get("network", "default") == "default"
            or self._request.network not in {"host", "none"}
        )
        return tuple((port, port) for port in map(self._ports.of, names)) if own else ()


@contextmanager
def _held(engine: Engine, spec: SandboxSpec, unpacked: Snapshots) -> Iterator[Sandbox]:
    """The sandbox; its trees stay as long as it is open."""
    try:
        with engine.open(spec) as sandbox:
            yield sandbox
    finally:
        unpacked.close()
