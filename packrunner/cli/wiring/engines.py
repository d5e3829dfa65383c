"""Which engine a build works with, by the name that was asked for."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli.wiring import places
from packrunner.engines.base import Engine, Extender  # noqa: TC001  a Struct names them
from packrunner.errors import EngineError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from packrunner.certificates import Certificates
    from packrunner.engines.base import Sandbox, SandboxSpec
    from packrunner.images.daemon import Daemon
    from packrunner.lifecycle.request import BuildRequest

DOCKER_STATE = os.path.join("engine", "docker")
"""Below the cache directory: what is known of a Docker engine's volumes."""

_UNAVAILABLE = frozenset({"userns-denied", "bwrap-missing"})


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Where buildpacks run, what makes base images, and what extends images.

    `overlays` says whether the application can be shown copy-on-write.
    """

    engine: Engine
    maker: Engine
    extender: Extender
    overlays: bool


def chosen(request: BuildRequest, certificates: Certificates, daemon: Callable[[], Daemon], stack: ExitStack) -> Where:
    """The engine of a build, with the Docker engine that is meant; what it holds is let go of with the stack."""
    return _TABLE[request.engine](request, certificates, daemon, stack)


def daemons(stack: ExitStack, docker_host: str = "", *, offline: bool = False) -> Callable[[], Daemon]:
    """What gives the images of the Docker engine that is meant: one connection, made when it is first needed.

    Raises RefusedError (`offline`) for an engine on another machine, if `offline`.
    """

    @cache
    def made() -> Daemon:
        from packrunner.images.daemon import Daemon
        from packrunner.images.dockerd import Dockerd, find_host

        host = find_host(os.environ, docker_host)
        if offline and not host.url.startswith("unix://"):
            raise RefusedError(
                "the Docker engine is on another machine, and --offline allows no connection",
                slug="offline",
                cause=f"{host.url}, from {host.origin}",
                tries=("--engine sandbox", "repeat the command without --offline"),
            )
        connection = Dockerd(host)
        stack.callback(connection.close)
        return Daemon(connection)

    return made


def _sandbox(
    request: BuildRequest, certificates: Certificates, daemon: Callable[[], Daemon], stack: ExitStack
) -> Where:
    del request, daemon, stack
    engine = places.engine(certificates)
    return Where(engine=engine, maker=engine, extender=engine, overlays=places.overlays(engine))


def _docker(request: BuildRequest, certificates: Certificates, daemon: Callable[[], Daemon], stack: ExitStack) -> Where:
    from packrunner.engines.docker import DockerEngine

    engine = DockerEngine(
        daemon(),
        places.store(),
        os.path.join(paths.cache_dir(), DOCKER_STATE),
        environ=os.environ,
        certificates=certificates,
        # Unless told otherwise, containers are in the network in which Docker puts them.
        network="" if request.origins.get("network", "default") == "default" else request.network,
    )
    stack.callback(engine.close)
    here = places.engine(certificates)
    return Where(engine=engine, maker=_Either(here, engine), extender=here, overlays=True)


_TABLE: Mapping[str, Callable[[BuildRequest, Certificates, Callable[[], Daemon], ExitStack], Where]] = {
    "sandbox": _sandbox,
    "docker": _docker,
}


class _Either:
    """The first engine where this machine allows it, else the second: base images are trees of this machine."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self.name = first.name
        self._first = first
        self._second = second

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        with ExitStack() as stack:
            try:
                sandbox = stack.enter_context(self._first.open(spec))
            except EngineError as e:
                if e.slug not in _UNAVAILABLE:
                    raise
                sandbox = stack.enter_context(self._second.open(spec))
            yield sandbox
