"""Where the versions of `packrunner dev` run: a sandbox for each, or a container that somebody else runs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from packrunner.cli.wiring import places
from packrunner.dev import processes
from packrunner.dev.app import App
from packrunner.dev.doors import Version
from packrunner.formats.sync import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from packrunner.cli.services import Wish
    from packrunner.dev.doors import Item, Running
    from packrunner.dev.proxy import Proxy
    from packrunner.dev.watch import Watcher
    from packrunner.engines.base import Engine, Sandbox, SandboxSpec
    from packrunner.images.daemon import Daemon
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.request import BuildRequest


class Ground:
    """Starts versions in sandboxes of an engine."""

    def __init__(
        self, engine: Engine, request: BuildRequest, wish: Wish, images: LocalStore, *, watcher: Watcher, front: Front
    ) -> None:
        self._engine = engine
        self._request = request
        self._wish = wish
        self._images = images
        self._watcher = watcher
        self._front = front
        self._ports = processes.Ports(wish.port)

    def start(self, version: Version, run: int, put: Callable[[Item], None]) -> Running:
        """Run a version. Raises LaunchError, EngineError."""
        from packrunner.engines.base import SandboxSpec
        from packrunner.lifecycle import launching

        unpacked = places.snapshots()
        try:
            with self._images.lease():
                image = places.read_image(version.image, self._images)
                lowers = unpacked.lowers(image)
            env, names = dict(self._wish.env), processes.chosen(image.labels, self._wish.processes)
            started = processes.commands(image, lowers, names, env=env, port=self._ports.of, place=self._front.place)
            spec = SandboxSpec(
                rootfs=lowers,
                image=image,
                user=launching.user_of(image, lowers),
                network=self._request.sandbox_network,
                trust=False,
                scratch=True,
                publish=self._published(names),
            )
            self._watcher.follow(version.rules.rules if version.rules else ())
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

    def _published(self, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
        """A container in a network of its own has ports of its own."""
        usual = self._request.origins.get("network", "default") == "default"
        own = self._engine.name == "docker" and (usual or self._request.network not in {"host", "none"})
        return tuple((port, port) for port in map(self._ports.of, names)) if own else ()


@contextmanager
def _held(engine: Engine, spec: SandboxSpec, unpacked: Snapshots) -> Iterator[Sandbox]:
    """The sandbox; its trees stay as long as it is open."""
    try:
        with engine.open(spec) as sandbox:
            yield sandbox
    finally:
        unpacked.close()


class Abroad:
    """A container that somebody else runs: there is one version of it, which is found and never made."""

    def __init__(self, daemon: Daemon, container: str, watcher: Watcher) -> None:
        from packrunner.dev import rules
        from packrunner.engines.docker.visit import Visit

        self._visit = Visit(daemon, container)
        self._watcher = watcher
        about = self._visit.about
        self.version = Version(
            line=about.image, rules=rules.of_image(about.labels), app=about.directory, built=time.time()
        )

    def start(self, version: Version, run: int, put: Callable[[Item], None]) -> Running:
        """Begin to speak with it."""
        from packrunner.dev.guest import Guest

        self._watcher.follow(version.rules.rules if version.rules else ())
        return Guest(
            self._visit.about.name,
            lambda stdin, output, ended: self._visit.feed(processes.ATTACH, stdin, output, ended),
            self._visit.follow,
            run=run,
            put=put,
            parcel=self._watcher.tree.parcel,
            reconcile=self._watcher.tree.reconcile,
        )


class Front:
    """Where the application is found: at its own port, or behind a proxy that makes browsers reload."""

    def __init__(self, stack: ExitStack, *, opens: bool) -> None:
        self._stack = stack
        self._opens = opens
        self._proxy: Proxy | None = None
        self._opened = False

    def place(self, port: int) -> str:
        """The address of the process that listens at a port."""
        if not self._opens:
            return f"http://localhost:{port}"
        if self._proxy is None:
            from packrunner.dev import ports
            from packrunner.dev.proxy import Proxy

            self._proxy = self._stack.enter_context(Proxy(port, port=ports.free(port + 1)))
        return self._proxy.url

    def refresh(self, kind: Literal["page", "styles"] = "page") -> None:
        """Show what is new; the first time, open a browser."""
        if self._proxy is None:
            return
        self._proxy.refresh(kind)
        if not self._opened:
            import webbrowser

            self._opened = True
            webbrowser.open(self._proxy.url)

    def failed(self, title: str, text: str) -> None:
        """Say why it is not there."""
        if self._proxy is not None:
            self._proxy.failed(title, text)
