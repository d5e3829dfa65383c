"""Running an image's process in the sandbox, with this terminal's own input and output: `packrunner run`."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.engines.forward import published
from packrunner.engines.probe import try_namespaces
from packrunner.engines.sandbox import agent_command
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from packrunner.engines.base import SandboxSpec
    from packrunner.engines.bubble import Bubble
    from packrunner.engines.sandbox import SandboxEngine

FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_STOP_GRACE = 10.0


def run_app(
    engine: SandboxEngine,
    spec: SandboxSpec,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    publish: tuple[tuple[int, int], ...] = (),
) -> int:
    """Run one program to its end and return its exit code, 128 + n for signal n.

    Its root takes writes and forgets them; signals sent to packrunner reach it. `publish` holds (host port, inner
    port) pairs. Raises EngineError when the program could not be started in a sandbox.
    """
    if publish and spec.network == "none":
        raise EngineError("a port cannot be published without a network", slug="port-taken", tries=("--network host",))
    with (
        published(publish),
        engine.prepared(spec) as (resolved, top, _),
        _lifeline() as lifeline,
        _forwarding() as forward,
    ):
        command = [*agent_command("init", spec), "--cwd", cwd, "--lifeline", str(lifeline), "--", *argv]
        with engine.bubble(
            resolved, top, command, grace=_STOP_GRACE, interactive=True, env=env, inherit=(lifeline,)
        ) as bubble:
            forward(bubble)
            bubble.wait()
            code = bubble.exit_code()
    if code is None:
        refusal = EngineError(
            "the sandbox could not be started", slug="sandbox-failed", cause="bwrap's words are above"
        )
        raise try_namespaces(engine.bwrap) or refusal
    return code


@contextmanager
def _lifeline() -> Iterator[int]:
    """A pipe to inherit, of which this process holds the other end: it ends when we do, however that happens.

    Root's bwrap, which has no capabilities left, cannot signal an agent that became another user, so
    --die-with-parent does not reach it (PRO-08).
    """
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def _forwarding() -> Iterator[Callable[[Bubble], None]]:
    """Catch this process's signals and pass them on to the sandbox that the result is called with.

    Those that come before are kept until then. In another thread than the main one there are none to catch.
    """
    early: list[int] = []
    running: list[Bubble] = []

    def caught(number: int, _: FrameType | None) -> None:
        if running:
            running[0].signal(number)
        else:
            early.append(number)

    def start(bubble: Bubble) -> None:
        running.append(bubble)
        for number in early:
            bubble.signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield start
        return
    before = {number: signal.signal(number, caught) for number in FORWARDED}
    try:
        yield start
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
