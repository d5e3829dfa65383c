"""Several transfers at once, and what ends them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from packrunner.images.registry.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class StopError(Exception):
    """What the handler of the signal raises."""


@contextmanager
def interruptible() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise StopError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_everything_is_done_once() -> None:
    done: list[int] = []
    run_all([partial(done.append, number) for number in range(20)], 3, lambda: None, lambda: None)
    assert sorted(done) == list(range(20))


def test_nothing_to_do_is_done() -> None:
    run_all([], 3, lambda: pytest.fail("stopped"), lambda: None)


def test_the_first_error_ends_the_others_and_is_raised() -> None:
    stopped = threading.Event()
    begun = threading.Event()

    def waits() -> None:
        begun.set()
        assert stopped.wait(20)

    def fails() -> None:
        assert begun.wait(20)
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        run_all([waits, fails, lambda: pytest.fail("begun after the error")], 2, stopped.set, lambda: None)
    assert stopped.is_set()


@pytest.mark.fault("PRO-01")
def test_an_interrupt_while_threads_are_started_or_waited_for_is_what_is_raised() -> None:
    """Wherever the signal finds the thread that waits: inside a start, a wait or between them."""
    for delay in [0.0] * 40 + [0.001] * 10:
        with interruptible(), pytest.raises(StopError):
            _interrupted_after(delay)


def _interrupted_after(delay: float) -> None:
    stopped = threading.Event()

    def signals() -> None:
        threading.Event().wait(delay)
        os.kill(os.getpid(), signal.SIGUSR1)
        stopped.wait(20)

    def waits() -> None:
        stopped.wait(20)

    run_all([signals, *[waits] * 7], 8, stopped.set, lambda: None)
