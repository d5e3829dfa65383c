"""Single keys of the terminal, for a command that goes on meanwhile."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def available() -> bool:
    """Whether stdin is a terminal that this process may read: in the background it would be stopped."""
    try:
        return sys.stdin is not None and sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


@contextmanager
def pressed(take: Callable[[str], object]) -> Iterator[None]:
    """Call `take` with each key, from another thread; the terminal is as it was at the end."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    ours, theirs = os.pipe()
    thread = Worker(lambda: _read(fd, ours, take), "keys")
    try:
        # Ctrl-C and Ctrl-Z stay signals.
        tty.setcbreak(fd, termios.TCSANOW)
        thread.start()
        yield
    finally:
        os.close(theirs)
        thread.wait()
        os.close(ours)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)


def _read(fd: int, end: int, take: Callable[[str], object]) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(end, select.POLLIN)
    while True:
        if any(one == end for one, _ in poll.poll()):
            return
        try:
            data = os.read(fd, 16)
        except OSError:
            return  # the terminal is gone
        if not data:
            return
        for key in data.decode(errors="ignore"):
            take(key)
