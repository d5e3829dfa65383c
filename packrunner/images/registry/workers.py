"""Several transfers at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_GRACE = 1.0


class Progress:
    """Adds up what several threads have done."""

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self.total = total
        self.done = 0

    def add(self, count: int) -> None:
        """So much more is done."""
        with self._lock:
            self.done += count


def run_all(
    work: Sequence[Callable[[], None]], number: int, stop: Callable[[], None], tick: Callable[[], None]
) -> None:
    """Call everything, `number` at a time; raises the first error once the others have been told to `stop`.

    `tick` is called now and then by the thread that waits, which an interrupt ends at once (REG-17).
    """
    left = list(reversed(work))
    lock = threading.Lock()
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while True:
                with lock:
                    if failures or not left:
                        return
                    one = left.pop()
                one()
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            with lock:
                failures.append(error)

    workers = [Worker(loop, f"registry-{index}") for index in range(min(number, len(left)))]
    try:
        for worker in workers:
            worker.start()
        while not failures and (busy := [worker for worker in workers if not worker.ended]):
            busy[0].wait(0.05)
            tick()
    finally:
        with lock:
            left.clear()
        if not all(worker.ended for worker in workers):
            stop()
            for worker in workers:  # what they have begun is taken back by them
                worker.wait(_GRACE / len(workers))
    if failures:
        raise failures[0]
    tick()
