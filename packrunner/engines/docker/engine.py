"""Opening a sandbox in a container: made, given the agent, attached to, started; and always removed."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from packrunner.engines import bwrap
from packrunner.engines.agent import AgentClient
from packrunner.engines.docker import leftovers
from packrunner.engines.docker.channel import Channel
from packrunner.engines.docker.container import HOSTNAME, RUN_DIRECTORY, container_config, volumes
from packrunner.engines.docker.image import BuildImages
from packrunner.engines.docker.prepare import prepare
from packrunner.engines.docker.twin import Twin
from packrunner.engines.sandbox import check_identity, installed_agent
from packrunner.engines.skeleton import AGENT
from packrunner.engines.trust import BENCH_BUNDLE, BUNDLE, EVERYONES, Trust, bench_trust, host_trust
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.certificates import Certificates
    from packrunner.engines.base import Command, Exit, Mount, OutputSink, Overlay, SandboxSpec
    from packrunner.images.daemon import Daemon
    from packrunner.images.store import LocalStore

_QUIT_GRACE = 2.0


class ContainerSandbox:
    """A container and the agent in it; see `engines.base.Sandbox`."""

    def __init__(self, client: AgentClient, trust_env: Mapping[str, str], twins: Mapping[str, Twin]) -> None:
        self._client = client
        self._trust_env = dict(trust_env)
        self._twins = twins
        self.has_failed = False
        """Whether the caller has been told that the container broke."""

    @property
    def trust_env(self) -> Mapping[str, str]:
        """Variables by which tools find the host's CA bundle and proxy inside; empty without `trust`."""
        return self._trust_env

    @property
    def shared(self) -> bool:
        """Never: files are copied."""
        return False

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end. Raises EngineError when the container broke (SBX-29, K8S-12)."""
        with self._noticed():
            return self._client.run(command, output)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        """Run several commands, some at once; exits are in the order of `commands`."""
        with self._noticed():
            return self._client.run_all(commands)

    def sweep(self) -> None:
        """Kill every process inside but the agent, and wait until they are gone (SBX-14)."""
        with self._noticed():
            self._client.sweep()

    def send(self, *targets: str) -> None:
        """Show what this host changed below writable places since they were last sent."""
        with self._noticed():
            for twin, _ in self._meant(targets):
                twin.send(self._client)

    def fetch(self, *targets: str) -> None:
        """Bring what programs wrote below writable places to this host; after `sweep` only (K8S-13)."""
        with self._noticed():
            for twin, place in self._meant(targets):
                twin.fetch(self._client, place)

    def finish(self) -> None:
        """Bring everything to this host, unless it was said already why that cannot be."""
        if self.has_failed:
            return
        self.sweep()
        self.fetch(*self._twins)
        for twin in self._twins.values():
            twin.keep()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except EngineError:
            self.has_failed = True
            raise

    def _meant(self, targets: Sequence[str]) -> Iterator[tuple[Twin, str]]:
        for target in targets:
            for place, twin in self._twins.items():
                if target == place or target.startswith(f"{place}/"):
                    yield twin, target[len(place) + 1 :]


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
        self._state = state
        self._environ = environ
        self._certificates = certificates
        self._network = network
        self._agent = agent
        self._swept = False

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[ContainerSandbox]:
        """Open a sandbox; at the end of the context its container is gone, and this host has all that it wrote.

        Raises EngineError: what Dockerd raises, `sandbox-failed`, `docker-transfer`, and what is wrong with the spec.
        """
        bwrap.check_spec(spec)
        _check_sources(spec)
        owner = (spec.user.uid, spec.user.gid) if os.geteuid() == 0 else None
        twins = self._twins(spec, owner)
        trust = self._trust(spec)
        with ExitStack() as stack:
            container = stack.enter_context(self._container(spec, trust))
            channel = stack.enter_context(self._started(container))

            def ended() -> EngineError:
                return self._ended(container, channel)

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
                for twin in twins.values():
                    twin.meet(client)
                    twin.send(client)
                sandbox = ContainerSandbox(client, trust.env, twins)
                yield sandbox
                sandbox.finish()
                client.quit()
            except BaseException:
                channel.hang_up()
                raise
            finally:
                client.join(_QUIT_GRACE)

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

    @contextmanager
    def _container(self, spec: SandboxSpec, trust: Trust) -> Iterator[str]:
        """A container with the agent in it, not started; removed at the end, whatever happens."""
        api, here = self._daemon.api, leftovers.owner()
        with self._daemon.translated():
            if not self._swept:
                leftovers.sweep(api, here.machine)
                self._swept = True
            config = container_config(
                spec,
                image=self._images.name(spec),
                volumes=volumes(spec, here.machine),
                labels=here.labels(),
                network=self._network,
            )
            container = str(api.create_container_from_config(config)["Id"])
        try:
            with self._daemon.translated():
                api.put_archive(container, RUN_DIRECTORY, self._run_directory(trust))
            yield container
        finally:
            self._remove(container)

    def _run_directory(self, trust: Trust) -> bytes:
        with open(self._agent or installed_agent(), "rb") as file:
            agent = file.read()
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, content, mode in ((AGENT, agent, 0o755), *((p, c, 0o644) for p, c in trust.files.items())):
                entry = tarfile.TarInfo(os.path.relpath(path, RUN_DIRECTORY))
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        return made.getvalue()

    @contextmanager
    def _started(self, container: str) -> Iterator[Channel]:
        """The streams of the container's first process."""
        api = self._daemon.api
        with self._daemon.translated():
            # Before the start, so that nothing of what it says is lost (K8S-12).
            attached = api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        channel = Channel(attached)
        try:
            with self._daemon.translated():
                api.start(container)
            yield channel
        finally:
            channel.close()

    def _remove(self, container: str) -> None:
        """Remove it, its thrown-away volumes with it; an engine that is gone meanwhile does it at our next start."""
        with contextlib.suppress(EngineError), self._daemon.translated():
            self._daemon.api.remove_container(container, v=True, force=True)

    def _ended(self, container: str, channel: Channel) -> EngineError:
        """Why the agent's stream ended without a farewell (K8S-12)."""
        cause = "the Docker engine closed the connection"
        try:
            with self._daemon.translated():
                state: dict[str, Any] = self._daemon.api.inspect_container(container)["State"]
        except EngineError as e:
            cause = f"the Docker engine went away: {e.cause or e.brief}"
        else:
            if state.get("OOMKilled"):
                cause = "the container ran out of memory"
            elif not state.get("Running"):
                cause = f"the container ended with {state.get('ExitCode')}{_quoted(state.get('Error'))}"
        return EngineError(
            "the container ended before its command did", slug="sandbox-died", cause=cause, foreign=channel.said()
        )


def _quoted(error: Any) -> str:
    return f": {str(error)[:500]}" if error else ""


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
