"""Several transfers at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

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
        while True:
            with lock:
                if failures or not left:
                    return
                one = left.pop()
            try:
                one()
            except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
                with lock:
                    failures.append(error)

    # Daemons: a read that hangs must not keep an interrupted process alive.
    threads = [
        threading.Thread(target=loop, name=f"registry-{index}", daemon=True) for index in range(min(number, len(left)))
    ]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not failures:
            threads[0].join(0.05)
            threads = [thread for thread in threads if thread.is_alive()] or threads
            tick()
    finally:
        with lock:
            left.clear()
        if any(thread.is_alive() for thread in threads):
            stop()
            for thread in threads:  # what they have begun is taken back by them
                thread.join(_GRACE / len(threads))
    if failures:
        raise failures[0]
    tick()
