"""Signals and descriptors of the process: how a stop arrives, and what 0, 1 and 2 are.

The first SIGINT, SIGTERM or SIGHUP raises StoppedError in the main thread, so that every `with` cleans up; a second
one ends the process at once: sandboxes die with it, and what is left behind the next start removes.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


def guard_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed, so that no file of ours lands there (PRO-06)."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def hear_of_children() -> None:
    """Take back what a parent did to SIGCHLD: where it is ignored every exit code of a child is lost (PRO-10)."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


@contextmanager
def minding_threads() -> Iterator[None]:
    """An exception that nobody catches in another thread ends what runs here, and is raised in its place (PRO-15)."""
    lost: list[BaseException] = []

    def failed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            lost.append(args.exc_value)
            # What waits here for the thread would wait for ever.
            _thread.interrupt_main()

    before, threading.excepthook = threading.excepthook, failed
    try:
        yield
    except StoppedError:
        if not lost:
            raise
    finally:
        threading.excepthook = before
    if lost:
        raise lost[0]


@contextmanager
def stoppable(announce: Callable[[], None]) -> Iterator[None]:
    """Handle the stopping signals; `announce` is called on another thread when the first one comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the shape of a signal handler
        received.append(number)
        if len(received) > 1:
            _leave(128 + number)
        # This thread may be inside the reporter, holding its lock.
        threading.Thread(target=_stopping, args=(announce, reading), name="stopping", daemon=True).start()
        raise StoppedError(number)

    # Ignored signals stay ignored (nohup, background jobs).
    before = {number: signal.getsignal(number) for number in STOPPING}
    chosen = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    before_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        for number in chosen:
            signal.signal(number, handle)
        yield
    finally:
        signal.set_wakeup_fd(before_fd)
        os.close(writing)
        if not received:
            os.close(reading)
        for number in chosen:
            signal.signal(number, before[number] or signal.SIG_DFL)


def _stopping(announce: Callable[[], None], reading: int) -> None:
    """Announce the stop, then wait for a second signal.

    The main thread may sleep through one that comes just before it begins to wait; the pipe that the interpreter
    writes each signal's number to cannot be slept through. The first number is that of the first signal.
    """
    announce()
    stops = 0
    with os.fdopen(reading, "rb", buffering=0) as numbers:
        while data := numbers.read(64):
            for number in data:
                stops += number in STOPPING
                if stops > 1:
                    _leave(128 + number)


def _leave(code: int) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(2, _SHOW_CURSOR)
    os._exit(code)
