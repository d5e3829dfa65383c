"""The engine `docker`: a sandbox is a container whose first process is our agent."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from packrunner.engines import bwrap
from packrunner.engines.agent import AgentClient
from packrunner.engines.docker import leftovers, upkeep
from packrunner.engines.docker.agentfiles import AgentFiles
from packrunner.engines.docker.container import HOSTNAME, Volume, container_config, volumes
from packrunner.engines.docker.image import BuildImages
from packrunner.engines.docker.lifetime import Lifetime
from packrunner.engines.docker.prepare import prepare
from packrunner.engines.docker.running import ContainerSandbox
from packrunner.engines.docker.twin import Twin
from packrunner.engines.sandbox import check_identity, installed_agent
from packrunner.engines.trust import BENCH_BUNDLE, BUNDLE, EVERYONES, Trust, bench_trust, host_trust
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.certificates import Certificates
    from packrunner.engines.base import Mount, Overlay, SandboxSpec
    from packrunner.images.daemon import Daemon
    from packrunner.images.store import LocalStore

_QUIT_GRACE = 2.0


class DockerEngine:
    """Opens sandboxes as containers of a Docker engine, or one that speaks its API.

    `state` is a directory of this user's for what is known of volumes; `network` one of the engine's networks for
    sandboxes that have one, "" for its usual one. `environ` is where the host's CA bundle and proxies are looked
    up, `certificates` what else programs inside believe.
    """

    name = "docker"

    def __init__(
        self,
        daemon: Daemon,
        store: LocalStore,
        state: str,
        *,
        environ: Mapping[str, str],
        certificates: Certificates = EVERYONES,
        network: str = "",
        agent: str | None = None,
    ) -> None:
        self._daemon = daemon
        self._images = BuildImages(daemon, store)
        self._lifetime = Lifetime(daemon)
        self._state = state
        self._environ = environ
        self._certificates = certificates
        self._network = network
        self._agent = agent
        self._swept = False

    def close(self) -> None:
        """Wait until the containers of sandboxes that were closed are removed."""
        self._lifetime.close()

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[ContainerSandbox]:
        """Open a sandbox; at the end of the context nothing of it runs, and this host has all that it wrote.

        Raises EngineError: what Dockerd raises, `sandbox-failed`, `docker-transfer`, and what is wrong with the spec.
        """
        bwrap.check_spec(spec)
        _check_sources(spec)
        self._sweep()
        owner = (spec.user.uid, spec.user.gid) if os.geteuid() == 0 else None
        twins = self._twins(spec, owner)
        trust = self._trust(spec)
        files = AgentFiles(self._agent or installed_agent(), trust.files, state=self._state, host=self._daemon.host.url)
        with self._lifetime.started(lambda volume: self._body(spec, volume), files) as (container, channel):

            def ended() -> EngineError:
                return self._lifetime.why_ended(container, channel)

            prepare(
                channel.to_agent,
                channel.from_agent,
                own={twin.target: twin.mode for twin in twins.values()},
                mounts=[mount for mount in spec.mounts if not mount.writable],
                ended=ended,
            )
            client = AgentClient(channel.to_agent, channel.from_agent, kill=channel.hang_up, explain_end=ended)
            try:
                check_identity(client, spec.user)
                sandbox = ContainerSandbox(client, trust.env, twins)
                sandbox.begin()
                yield sandbox
                sandbox.finish()
                client.quit()
            except BaseException:
                channel.hang_up()
                raise
            finally:
                client.join(_QUIT_GRACE)

    def _sweep(self) -> None:
        """Once for each process, remove what killed ones left."""
        if not self._swept:
            with self._daemon.translated():
                leftovers.sweep(self._daemon.api, leftovers.machine())
            self._swept = True

    def _body(self, spec: SandboxSpec, agent: Volume) -> dict[str, Any]:
        here, image = leftovers.owner(), self._images.name(spec)
        shown = (agent, *volumes(spec, here.machine))
        for name in (f"image-{image.rpartition(':')[2]}", *(volume.name for volume in shown)):
            upkeep.note_use(self._state, name)
        return container_config(
            spec,
            image=image,
            volumes=shown,
            labels=here.labels(),
            network=self._network,
        )

    def _twins(self, spec: SandboxSpec, owner: tuple[int, int] | None) -> dict[str, Twin]:
        os.makedirs(self._state, mode=0o700, exist_ok=True)
        names = {volume.target: volume.name for volume in volumes(spec, leftovers.machine())}
        places: list[Mount | Overlay] = [*(mount for mount in spec.mounts if mount.writable), *spec.overlays]
        return {
            place.target: Twin(place, os.path.join(self._state, names[place.target]), owner=owner) for place in places
        }

    def _trust(self, spec: SandboxSpec) -> Trust:
        if not spec.trust:
            return Trust()
        # Docker gives the container its own resolv.conf and hosts.
        found = host_trust(
            self._environ,
            network=spec.network,
            hostname=HOSTNAME,
            certificates=self._certificates,
            rootfs=spec.rootfs,
        )
        trust = bench_trust(found)
        return Trust(env=trust.env, files={BENCH_BUNDLE: trust.files[BUNDLE]} if BUNDLE in trust.files else {})


def _check_sources(spec: SandboxSpec) -> None:
    for path in (*spec.rootfs, *(m.source for m in spec.mounts), *(o.lower for o in spec.overlays)):
        if not os.path.exists(path):
            raise EngineError(
                f"{path} cannot be shown in the container: it does not exist", slug="sandbox-mount", at=path
            )
        if not os.path.isdir(path):
            raise EngineError(
                f"{path} cannot be shown in a container: it is no directory", slug="sandbox-mount", at=path
            )
