"""Signals and descriptors of the process: how a stop arrives, and what 0, 1 and 2 are.

The first SIGINT, SIGTERM or SIGHUP raises StoppedError in the main thread, so that every `with` cleans up; a second
one ends the process at once: sandboxes die with it, and what is left behind the next start removes.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

_log = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN, _LATER = b"\0", 0.002
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
def minding_threads(stopped: Callable[[], bool]) -> Iterator[None]:
    """An exception that nobody catches in another thread ends what runs here, and is raised in its place (PRO-15).

    One that comes once it was `stopped` is of what a stop takes away from under threads, and ends no cleaning up.
    """
    lost: list[BaseException] = []

    def failed(args: threading.ExceptHookArgs) -> None:
        if stopped():
            _log.debug("in a thread, after the stop: %r", args.exc_value)
        elif args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
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
        # Not of the stop by which this thread was woken.
        raise lost[0] from None


@contextmanager
def stoppable(announce: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Handle the stopping signals; `announce` is called on another thread when the first one comes.

    The result says whether one has come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    stops = _Stops(announce)
    # Ignored signals stay ignored (nohup, background jobs).
    before = {number: signal.getsignal(number) for number in STOPPING}
    chosen = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    before_fd = signal.set_wakeup_fd(stops.writing, warn_on_full_buffer=False)
    before_hook, sys.unraisablehook = sys.unraisablehook, stops.dropped
    try:
        for number in chosen:
            signal.signal(number, stops.handle)
        yield lambda: stops.first > 0
    finally:
        signal.set_wakeup_fd(before_fd)
        sys.unraisablehook = before_hook
        for number in chosen:
            signal.signal(number, before[number] or signal.SIG_DFL)
        stops.close()


class _Stops:
    """The signals that came: the first raises StoppedError, a second ends the process.

    Where it is raised inside of a finalizer or of a weak reference's callback, which every import has, Python drops it
    and goes on. Then the signal is sent again, from a thread: what drops it must have ended before.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self._hook = sys.unraisablehook
        self._main = threading.get_ident()
        self.first = self._dropped = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal."""
        if self._dropped:
            if _is_in(self.dropped.__code__, frame):
                os.write(self.writing, _AGAIN)
                return
            self._dropped = 0
        elif self.first:
            _leave(128 + number)
        else:
            self.first = number
            # This thread may be inside the reporter, holding its lock; or inside `threading`, holding one that a
            # thread of that module needs to start.
            _thread.start_new_thread(self._stopping, ())
        raise StoppedError(number)

    def dropped(self, args: sys.UnraisableHookArgs) -> None:
        """Python's own answer to an exception that it drops, but for a stop."""
        if not isinstance(args.exc_value, StoppedError):
            self._hook(args)
            return
        self._dropped = args.exc_value.signal
        os.write(self.writing, _AGAIN)

    def close(self) -> None:
        """No signal comes here any more."""
        os.close(self.writing)
        if not self.first:
            os.close(self._reading)

    def _stopping(self) -> None:
        """Announce the stop, then wait for a second signal.

        The main thread may sleep through one that comes just before it begins to wait; the pipe that the interpreter
        writes each signal's number to cannot be slept through. The first number is that of the first signal.
        """
        self._announce()
        stops = 0
        with os.fdopen(self._reading, "rb", buffering=0) as numbers:
            while data := numbers.read(64):
                for number in data:
                    stops += number in STOPPING
                    if stops > 1:
                        _leave(128 + number)
                    if number == _AGAIN[0] and self._dropped:
                        time.sleep(_LATER)
                        stops -= 1
                        signal.pthread_kill(self._main, self._dropped)


def _is_in(code: CodeType, frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _leave(code: int) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(2, _SHOW_CURSOR)
    os._exit(code)
