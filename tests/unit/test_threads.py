"""Threads that are interrupted while they are started or waited for."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

pytestmark = pytest.mark.fault("PRO-01")


class StopError(BaseException):
    """What a signal raises."""


@pytest.fixture
def stops() -> Iterator[None]:
    """SIGUSR1 raises."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise StopError

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_it_does_its_work_and_is_waited_for() -> None:
    done: list[int] = []

    def work() -> None:
        time.sleep(0.05)
        done.append(1)

    worker = Worker(work, "w")
    assert worker.ended
    assert worker.wait()
    worker.start()
    assert not worker.wait(0.001)
    assert worker.wait()
    assert (done, worker.ended) == ([1], True)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals come to the main thread")
def test_a_wait_that_is_interrupted_makes_no_living_thread_an_ended_one(stops: None) -> None:
    go = threading.Event()
    worker = Worker(go.wait, "w")
    worker.start()
    threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1)).start()
    with pytest.raises(StopError):
        worker.wait()
    assert not worker.ended
    go.set()
    assert worker.wait(10)


def test_a_start_that_is_interrupted_before_the_thread_is_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        started.append(thread)
        raise StopError

    done: list[int] = []
    worker = Worker(lambda: done.append(1), "w")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(StopError):
            worker.start()
    assert worker.wait(0)
    started[0].start()  # the interpreter had been asked for it, and is late
    started[0].join()
    assert done == [], "nobody waits for it any more"


def test_a_start_that_is_interrupted_once_the_thread_runs_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        real(thread)
        assert begun.wait(10)
        raise StopError

    begun, done = threading.Event(), [0]

    def work() -> None:
        begun.set()
        go.wait()
        done[0] += 1

    worker = Worker(work, "w")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(StopError):
            worker.start()
    assert not worker.ended
    go.set()
    assert worker.wait(10)
    assert done == [1]
