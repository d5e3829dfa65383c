"""The one way to start a program on the host: argv only, an explicit environment, output streamed in lines.

A program runs in its own session, so Ctrl-C at the terminal reaches packrunner alone, which then asks the program's
whole group to stop: interrupt, terminate, kill, with time in between.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Stream = Literal["stdout", "stderr"]
LineSink = Callable[[Stream, bytes], None]
Start = Callable[[], "subprocess.Popen[bytes]"]

_LONGEST_LINE = 64 << 10
_STEPS = ((signal.SIGINT, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 5.0))
_AFTERWARDS = 0.5


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended: its status, or 128 + `signal`; 126 or 127 with `error` when it could not be started."""

    code: int
    signal: int | None = None
    error: str | None = None
    timed_out: bool = False


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: LineSink,
    cwd: str = "/",
    stdin: bytes = b"",
    timeout: float | None = None,
) -> Ended:
    """Run a program to its end. `output` gets whole lines (very long ones in pieces); `timeout` is in seconds.

    An exception in here, Ctrl-C among them, stops the program's whole group before it goes on.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        return Ended(code=code, error=f"{error.filename or argv[0]}: {error.strerror}")
    with child:
        try:
            in_time = _pump(child, stdin, output, timeout)
        except BaseException:
            stop(child)
            raise
        if not in_time:
            stop(child)
        status = child.wait()
    number = -status if status < 0 else None
    return Ended(code=128 + number if number else status, signal=number, timed_out=not in_time)


class Order:
    """A program that another thread starts: an exception cannot get between its start and the note of it (PRO-11)."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._abandoned = False
        self._child: subprocess.Popen[bytes] | None = None
        self._error: BaseException | None = None

    def carry_out(self) -> None:
        """Start it, unless nobody waits for it any more."""
        with self._lock:
            if not self._abandoned:
                try:
                    self._child = self._start()
                except BaseException as error:  # noqa: BLE001 - raised again where the program was asked for
                    self._error = error
        self._ready.set()

    def obtained(self, place: Callable[[], object]) -> subprocess.Popen[bytes]:
        """The program, once `place` has had the order carried out. An exception meanwhile leaves none."""
        try:
            place()
            self._ready.wait()
        except BaseException:
            with self._lock:
                self._abandoned = True
                if self._child:
                    self._child.kill()
                    self._child.wait()
            raise
        if self._error:
            raise self._error
        assert self._child
        return self._child


def begin(start: Start) -> subprocess.Popen[bytes]:
    """What `start` returns, called in another thread: for a program that would live on where a stop loses it."""
    order = Order(start)
    return order.obtained(threading.Thread(target=order.carry_out, name="starter", daemon=True).start)


def stop(child: subprocess.Popen[bytes]) -> None:
    """Interrupt, terminate, kill the group of `child`; returns when the child is gone."""
    for number, patience in _STEPS:
        _signal_group(child.pid, number)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        break
    # What the child left behind in its group must not outlive it.
    _signal_group(child.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _pump(child: subprocess.Popen[bytes], stdin: bytes, output: LineSink, timeout: float | None) -> bool:
    """Move bytes until the program has ended and its pipes are done; False when time ran out first."""
    assert child.stdin
    assert child.stdout
    assert child.stderr
    until = None if timeout is None else time.monotonic() + timeout
    alive = True
    readers = (_Reader(child.stdout, "stdout", output), _Reader(child.stderr, "stderr", output))
    ended = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for reader in readers:
                selector.register(reader.pipe, selectors.EVENT_READ, reader)
            selector.register(child.stdin, selectors.EVENT_WRITE, _Writer(child.stdin, stdin))
            while len(selector.get_map()):
                patience = None if until is None else until - time.monotonic()
                if patience is not None and patience <= 0:
                    break
                for key, _ in selector.select(patience):
                    if key.fd == ended:
                        # Whoever still holds the pipes was left behind: its output is nobody's (SBX-36).
                        alive, until = False, time.monotonic() + _AFTERWARDS
                        selector.unregister(ended)
                    elif key.data.move():
                        selector.unregister(key.fileobj)
                        key.data.pipe.close()
    finally:
        os.close(ended)
    for reader in readers:
        reader.flush()
    return not alive


class _Reader:
    """Cuts one stream into lines."""

    def __init__(self, pipe: IO[bytes], stream: Stream, output: LineSink) -> None:
        self.pipe = pipe
        self._stream: Stream = stream
        self._output = output
        self._rest = b""

    def move(self) -> bool:
        """Take what there is; true at the end of the stream."""
        data = os.read(self.pipe.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._output(self._stream, line + b"\n")
        if len(self._rest) >= _LONGEST_LINE:
            self.flush()
        return not data

    def flush(self) -> None:
        """Pass on a line without an end."""
        if self._rest:
            self._output(self._stream, self._rest)
            self._rest = b""


class _Writer:
    """Feeds stdin without ever blocking on it."""

    def __init__(self, pipe: IO[bytes], data: bytes) -> None:
        self.pipe = pipe
        self._data = memoryview(data)
        os.set_blocking(pipe.fileno(), False)

    def move(self) -> bool:
        """Give what is taken; true when all is, or nobody reads."""
        try:
            if self._data:
                self._data = self._data[os.write(self.pipe.fileno(), self._data) :]
        except BrokenPipeError:
            return True
        return not self._data
