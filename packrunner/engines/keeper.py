"""A thread that starts sandboxes and never ends.

The kernel ties --die-with-parent to the thread that started bwrap, not to its process: were it a worker of
some pool, the pool's end would kill the sandbox (SBX-37). An exception cannot reach this thread either, so a
process that it started is never lost between its start and the moment somebody knows of it (PRO-11).
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from packrunner.process import Order
from packrunner.threads import Worker

if TYPE_CHECKING:
    import subprocess

    from packrunner.process import Start


class Keeper:
    """Starts processes from one thread, which begins with the first of them."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = Worker(self._work, "sandbox-keeper")

    def start(self, start: Start) -> subprocess.Popen[bytes]:
        """What `start` returns, called in the keeper's thread; its exceptions are raised here."""
        order = Order(start)
        return order.obtained(lambda: self._place(order))

    def _place(self, order: Order) -> None:
        with self._lock:
            if self._thread.ended:
                self._thread = Worker(self._work, "sandbox-keeper")
                self._thread.start()
        self._orders.put(order)

    def _work(self) -> None:
        while True:
            self._orders.get().carry_out()
