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
    # Not `is_alive` or `join`: a signal during a join makes Python take a living thread for an ended one, and during a
    # start it leaves a thread that cannot be joined.
    ended = [threading.Event() for _ in range(min(number, len(left)))]
    begun: list[threading.Event] = []

    def loop(end: threading.Event) -> None:
        try:
            while True:
                with lock:
                    if failures or not left:
                        return
                    one = left.pop()
                    begun.append(end)
                one()
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            with lock:
                failures.append(error)
        finally:
            end.set()

    try:
        for index, end in enumerate(ended):
            # Daemons: a read that hangs must not keep an interrupted process alive.
            threading.Thread(target=loop, args=(end,), name=f"registry-{index}", daemon=True).start()
        while not failures and (waiting := [end for end in ended if not end.is_set()]):
            waiting[0].wait(0.05)
            tick()
    finally:
        with lock:
            left.clear()  # a thread that starts only now finds nothing to do
        if not all(end.is_set() for end in begun):
            stop()
            for end in begun:  # what they have begun is taken back by them
                end.wait(_GRACE / len(begun))
    if failures:
        raise failures[0]
    tick()
