"""The protocol client: commands, their output and their ends over the agent's two pipes.

A thread of its own reads what the agent sends; callers wait, so Ctrl-C finds them in a place where it can be
answered: the commands are asked to end, and the whole sandbox is killed when they do not.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from packrunner.engines import frames
from packrunner.engines.base import Exit
from packrunner.engines.frames import Hello, protocol_error
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from packrunner.engines.base import Command, OutputSink

START_LIMIT = 30.0
GRACE = 3.0
_LATE = 15.0  # how long the agent may be late with an end that it promised, seconds
_PIPE_SIZE = 1 << 20
_AT_ONCE = 8  # short commands mostly wait: on two processors eight at once took 0.6 of the time of two
_LAST_SIGNAL = 64
_CANNOT_START = 126
_TERMINATE = b'{"signal":%d}' % signal.SIGTERM


class _Run:
    """A command under way; every field but `output` and `ended` is guarded by the client's condition."""

    __slots__ = ("ended", "exit", "failure", "id", "output")

    def __init__(self, number: int, output: OutputSink, ended: Callable[[], object] | None = None) -> None:
        self.id = number
        self.output = output
        self.ended = ended
        self.exit: Exit | None = None
        self.failure: BaseException | None = None


class AgentClient:
    """Speaks with one agent.

    `kill` ends the sandbox at once and may be called from any thread; `explain_end` makes the error for a stream
    that ended on its own.
    """

    def __init__(
        self,
        to_agent: int,
        from_agent: int,
        *,
        kill: Callable[[], None],
        explain_end: Callable[[], EngineError],
    ) -> None:
        self._to_agent = to_agent
        self._kill = kill
        self._explain_end = explain_end
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._runs: dict[int, _Run] = {}
        self._sweeps: set[int] = set()
        self._hello: Hello | None = None
        self._broken: EngineError | None = None
        self._dismissed = False
        for fd in (to_agent, from_agent):
            _grow(fd)
        # The thread has a descriptor of its own: it may still read, held up by a sink, when the caller closes his.
        own = os.dup(from_agent)
        self._reader = threading.Thread(target=self._read, args=(own,), name="agent-reader", daemon=True)
        self._reader.start()

    def hello(self, limit: float = START_LIMIT) -> Hello:
        """Wait for the greeting. Raises EngineError when it does not come, or speaks of another protocol."""
        with self._changed:
            self._await(lambda: self._hello is not None, limit, "it did not greet in time")
            assert self._hello
            return self._hello

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end."""
        return self.run_all([(command, output)], at_once=1)[0]

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        """Run one command to its end; it reads `stdin`, of which no more is taken once it has ended.

        `ended` is called then, from another thread, or when nothing can be expected any more.
        """
        run = self._start(command, output, stdin=True, ended=ended)
        try:
            for data in stdin:
                view = memoryview(data)
                for start in range(0, len(view), frames.MAX_INPUT):
                    self._send(frames.INPUT, run.id, view[start : start + frames.MAX_INPUT])
                if run.exit or run.failure:
                    break
            self._send(frames.INPUT, run.id)
            self._wait_until([run], {}, 0)
        except BaseException:
            self._cancel([run])
            raise
        return _result(run)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]], *, at_once: int | None = None) -> list[Exit]:
        """Run commands, several at once; exits in the order of `commands`."""
        most = at_once or max(_AT_ONCE, len(os.sched_getaffinity(0)))
        runs: list[_Run] = []
        limits: dict[int, float] = {}
        try:
            for command, output in commands:
                self._wait_until(runs, limits, most - 1)
                runs.append(self._start(command, output))
                if command.timeout is not None:
                    limits[runs[-1].id] = time.monotonic() + command.timeout + _LATE
            self._wait_until(runs, limits, 0)
        except BaseException:
            self._cancel(runs)
            raise
        return [_result(run) for run in runs]

    def end(self, limit: float) -> None:
        """Ask the commands under way to end, by SIGTERM; returns when they have, or after `limit` seconds."""
        with self._changed:
            waiting = list(self._runs.values())
        for run in waiting:
            self._send(frames.KILL, run.id, _TERMINATE)
        with self._changed:
            self._changed.wait_for(lambda: self._broken is not None or all(run.exit for run in waiting), limit)

    def sweep(self) -> None:
        """End every process but the agent; the runs that this ends have been reported when it returns (SBX-14)."""
        number = next(self._numbers)
        with self._changed:
            self._sweeps.add(number)
        self._send(frames.SWEEP, number)
        with self._changed:
            self._await(lambda: number not in self._sweeps, _LATE, "it did not end the processes in time")

    def quit(self) -> None:
        """Ask the agent to end; whatever still runs ends with it."""
        self._dismissed = True
        with self._writing:
            try:
                os.write(self._to_agent, frames.frame(frames.QUIT))
            except OSError:
                return  # it has ended already

    def join(self, limit: float) -> bool:
        """Wait for the reading thread, which ends with the stream; false when it has not."""
        self._reader.join(limit)
        return not self._reader.is_alive()

    def _start(
        self,
        command: Command,
        output: OutputSink,
        *,
        stdin: bool = False,
        ended: Callable[[], object] | None = None,
    ) -> _Run:
        run = _Run(next(self._numbers), output, ended)
        refusal = _refusal(command)
        payload = b"" if refusal else frames.run_request(command, stdin=stdin)
        if len(payload) > frames.MAX_REQUEST:
            refusal = f"arguments and variables are {len(payload)} bytes, {frames.MAX_REQUEST} are allowed"
        if refusal:
            run.exit = Exit(code=_CANNOT_START, error=refusal)
            if ended:
                ended()
            return run
        with self._changed:
            self._runs[run.id] = run
        self._send(frames.RUN, run.id, payload)
        return run

    def _send(self, kind: int, run: int, payload: bytes | memoryview = b"") -> None:
        rest = memoryview(frames.frame(kind, run, payload))
        try:
            with self._writing:
                while rest:
                    rest = rest[os.write(self._to_agent, rest) :]
        except OSError as error:
            with self._changed:
                self._changed.wait_for(lambda: self._broken is not None, GRACE)
                raise self._broken or self._explain_end() from error

    def _wait_until(self, runs: list[_Run], limits: dict[int, float], at_most: int) -> None:
        """Wait until no more than `at_most` of the runs are under way; a sink's own exception ends the wait."""
        with self._changed:
            while True:
                if self._broken:
                    raise self._broken
                for run in runs:
                    if run.failure:
                        raise run.failure
                waiting = [run for run in runs if run.exit is None]
                if len(waiting) <= at_most:
                    return
                patience = min((limits[run.id] for run in waiting if run.id in limits), default=None)
                if patience is not None:
                    patience -= time.monotonic()
                    if patience <= 0:
                        self._break(protocol_error("it did not end a command at its time limit"))
                        continue
                self._changed.wait(patience)

    def _await(self, ready: Callable[[], bool], limit: float, otherwise: str) -> None:
        """Wait, holding the condition, for something that the agent owes."""
        if not self._changed.wait_for(lambda: self._broken is not None or ready(), limit):
            self._break(protocol_error(otherwise))
        if self._broken:
            raise self._broken

    def _cancel(self, runs: list[_Run]) -> None:
        """Ask the commands to end, wait a little, then kill the sandbox. Another Ctrl-C does not wait."""
        with self._changed:
            waiting = [run for run in runs if run.exit is None]
            if self._broken or not waiting:
                return
        try:
            for run in waiting:
                self._send(frames.KILL, run.id, _TERMINATE)
            with self._changed:
                ended = self._changed.wait_for(
                    lambda: self._broken is not None or all(run.exit for run in waiting), GRACE
                )
        except BaseException:
            self._kill()
            raise
        if not ended:
            self._kill()

    def _break(self, error: EngineError) -> None:
        """Note the first reason why nothing more can be expected, and end the sandbox. The condition is held."""
        if self._broken is None:
            self._broken = error
            self._changed.notify_all()
            self._kill()
            for run in self._runs.values():
                if run.ended:
                    run.ended()

    def _read(self, from_agent: int) -> None:
        try:
            with open(from_agent, "rb", buffering=_PIPE_SIZE) as stream:
                while received := frames.read_frame(stream):
                    self._take(received)
            # An end that was asked for needs no explanation, which may cost a question to an engine.
            error = protocol_error("it was told to end") if self._dismissed else self._explain_end()
        except EngineError as raised:
            error = raised
        except OSError as raised:
            error = protocol_error(f"its pipe cannot be read: {raised.strerror}")
        with self._changed:
            self._break(error)

    def _take(self, received: frames.Frame) -> None:
        kind, number, payload = received
        if self._hello is None and kind not in {frames.HELLO, frames.FATAL}:
            raise protocol_error(f"a frame of kind {chr(kind)} before the greeting")
        if kind in {frames.STDOUT, frames.STDERR}:
            self._pass_on(self._known(number), kind, payload)
        elif kind == frames.EXIT:
            self._end(self._known(number), _exit(frames.parse(payload, frames.ExitReply)))
        elif kind == frames.DONE:
            self._swept(number)
        elif kind == frames.HELLO:
            self._greet(frames.parse(payload, Hello))
        elif kind == frames.LACKING:
            raise protocol_error("it answers a question that nobody asked")
        else:
            raise _gave_up(frames.parse(payload, frames.FatalReply).error)

    def _known(self, number: int) -> _Run:
        with self._changed:
            run = self._runs.get(number)
        if run is None:
            raise protocol_error(f"a frame for run {number}, which is not under way")
        return run

    def _pass_on(self, run: _Run, kind: int, payload: bytes) -> None:
        if run.failure:
            return
        try:
            run.output("stdout" if kind == frames.STDOUT else "stderr", payload)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this run
            with self._changed:
                run.failure = error
                self._changed.notify_all()

    def _end(self, run: _Run, ended: Exit) -> None:
        with self._changed:
            del self._runs[run.id]
            run.exit = ended
            self._changed.notify_all()
        if run.ended:
            run.ended()

    def _swept(self, number: int) -> None:
        with self._changed:
            if number not in self._sweeps:
                raise protocol_error("it reports a sweep that nobody asked for")
            self._sweeps.remove(number)
            self._changed.notify_all()

    def _greet(self, hello: Hello) -> None:
        if self._hello is not None or hello.protocol != frames.PROTOCOL:
            raise protocol_error(f"a second greeting, or protocol {hello.protocol} instead of {frames.PROTOCOL}")
        with self._changed:
            self._hello = hello
            self._changed.notify_all()


def _grow(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        return  # above the user's limit, or no pipe: only slower


def _refusal(command: Command) -> str | None:
    """Why a command cannot be asked for; the agent would take these as a breach of the protocol."""
    if not command.argv:
        return "there is no program to start"
    for name in command.env:
        if not name or "=" in name:
            return f"{name!r} cannot be the name of a variable"
    return None


def _exit(reply: frames.ExitReply) -> Exit:
    if not 0 <= reply.code <= 255 or not 0 <= reply.signal <= _LAST_SIGNAL:
        raise protocol_error(f"exit code {reply.code}, signal {reply.signal}")
    if reply.signal and reply.code != 128 + reply.signal:
        raise protocol_error(f"exit code {reply.code} does not belong to signal {reply.signal}")
    if reply.error and not reply.code:
        raise protocol_error("a command that could not be started was reported as a success")
    return Exit(code=reply.code, signal=reply.signal or None, error=reply.error or None, timed_out=reply.timed_out)


def _gave_up(cause: str) -> EngineError:
    return EngineError("the sandbox's agent gave up", slug="sandbox-failed", cause=cause)


def _result(run: _Run) -> Exit:
    assert run.exit
    return run.exit
