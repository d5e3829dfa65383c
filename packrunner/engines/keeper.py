"""A thread that starts sandboxes and never ends.

The kernel ties --die-with-parent to the thread that started bwrap, not to its process: were it a worker of
some pool, the pool's end would kill the sandbox (SBX-37). An exception cannot reach this thread either, so a
process that it started is never lost between its start and the moment somebody knows of it (PRO-11).
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Start = Callable[[], "subprocess.Popen[bytes]"]


class _Order:
    """One process to start."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._abandoned = False
        self._child: subprocess.Popen[bytes] | None = None
        self._error: BaseException | None = None

    def carry_out(self) -> None:
        with self._lock:
            if not self._abandoned:
                try:
                    self._child = self._start()
                except BaseException as error:  # noqa: BLE001 - raised again where the process was asked for
                    self._error = error
        self._ready.set()

    def wait(self) -> subprocess.Popen[bytes]:
        try:
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


class Keeper:
    """Starts processes from one thread, which begins with the first of them."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, start: Start) -> subprocess.Popen[bytes]:
        """What `start` returns, called in the keeper's thread; its exceptions are raised here."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sandbox-keeper", daemon=True)
                self._thread.start()
        order = _Order(start)
        self._orders.put(order)
        return order.wait()

    def _work(self) -> None:
        while True:
            self._orders.get().carry_out()
