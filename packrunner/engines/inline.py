"""The engine `inline`: this container already is the builder, so commands run in it, as the build's user.

Nothing is mounted and nothing hidden: everything has to be where buildpacks look for it, and the container's own walls
are the only ones. What the engine does promise is the agent's work, which here is no first process but a child and a
subreaper: exact environments, no inherited descriptors, never root, and an end of every process that a command left.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.engines.agent import AgentClient
from packrunner.engines.sandbox import RunningSandbox, agent_command, check_identity, installed_agent
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.engines.base import SandboxSpec

_QUIT_GRACE = 2.0
_SAID_LIMIT = 64 << 10


class InlineEngine:
    """Runs commands where packrunner itself runs. `agent` is the program to use in place of the installed one."""

    name = "inline"

    def __init__(self, *, agent: str | None = None) -> None:
        self._agent = agent

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[RunningSandbox]:
        """Start an agent; at the end of the context no process that descends from it is alive.

        Raises EngineError: `inline-place` for what would have to be mounted, `sandbox-user`, `sandbox-failed`.
        """
        _check_places(spec)
        _check_user(spec)
        with _agent(self._agent or installed_agent(), spec) as (child, channel):
            assert child.stdout
            client = AgentClient(
                channel.fileno(),
                child.stdout.fileno(),
                kill=lambda: _hang_up(channel),
                explain_end=lambda: _ended(child),
            )
            try:
                check_identity(client, spec.user)
                # The container has its own certificates and proxies.
                yield RunningSandbox(client, {})
                client.quit()
            except BaseException:
                _hang_up(channel)
                raise
            finally:
                client.join(_QUIT_GRACE)


@contextmanager
def _agent(program: str, spec: SandboxSpec) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A started agent, and our end of its input: a socket, because that can be shut down from any thread."""
    ours, its = socket.socketpair()
    with ours:
        with its:
            child = subprocess.Popen(
                [program, *agent_command("serve", spec)[1:]],
                stdin=its.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                start_new_session=True,
            )
        with child:
            try:
                yield child, ours
            finally:
                # Its descendants end before it does.
                _hang_up(ours)
                try:
                    child.wait(_QUIT_GRACE * 5)
                except BaseException:
                    child.kill()
                    raise


def _hang_up(channel: socket.socket) -> None:
    """Let the agent see the end of its input, on which it ends everything; from any thread, any number of times."""
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_WR)


def _check_places(spec: SandboxSpec) -> None:
    if spec.overlays:
        raise _unplaced("an application cannot be shown copy-on-write", spec.overlays[0].target)
    for mount in spec.mounts:
        if os.path.realpath(mount.source) != os.path.realpath(mount.target):
            raise _unplaced(f"{mount.source} is not at {mount.target}", mount.target)
    if spec.network == "none":
        raise _unplaced("its network cannot be taken away from a container that is running", None)


def _unplaced(cause: str, at: str | None) -> EngineError:
    return EngineError(
        "engine inline shows buildpacks this container as it is",
        slug="inline-place",
        cause=cause,
        at=at,
        tries=(
            "packrunner lifecycle create, in a builder's container, where everything is in its place",
            "packrunner build --engine sandbox, anywhere else",
        ),
    )


def _check_user(spec: SandboxSpec) -> None:
    wanted = (spec.user.uid, spec.user.gid)
    if min(wanted) <= 0:
        raise EngineError(
            "buildpacks never run as root",
            slug="sandbox-user",
            cause=f"the build's user is {wanted[0]}:{wanted[1]}",
            tries=("name the builder's user: -uid and -gid, or CNB_USER_ID and CNB_GROUP_ID",),
        )
    if os.geteuid() != 0 and wanted != (os.geteuid(), os.getegid()):
        raise EngineError(
            f"buildpacks have to run as {wanted[0]}:{wanted[1]}, and this is {os.geteuid()}:{os.getegid()}",
            slug="sandbox-user",
            tries=("start the container as that user, or as root",),
        )


def _ended(child: subprocess.Popen[bytes]) -> EngineError:
    """Why the agent's stream ended without a farewell (SBX-29)."""
    cause = "the agent closed its channel"
    said: tuple[str, ...] = ()
    with contextlib.suppress(subprocess.TimeoutExpired, OSError, ValueError):
        code = child.wait(_QUIT_GRACE)
        cause = f"the agent was killed by signal {-code}" if code < 0 else f"it ended with {code}"
        if child.stderr:
            os.set_blocking(child.stderr.fileno(), False)
            said = tuple((child.stderr.read(_SAID_LIMIT) or b"").decode(errors="replace").splitlines()[:20])
    return EngineError("the agent ended before its command did", slug="sandbox-died", cause=cause, foreign=said)
