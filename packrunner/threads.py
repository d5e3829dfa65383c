"""A thread that can be waited for whatever happens meanwhile.

`threading.Thread` is not made for a signal that raises. One that comes while a thread is started leaves a thread that
may run and cannot be joined; one that comes during a join makes Python (until 3.13) take a living thread for an ended
one, so that what it still writes to is closed under it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker:
    """Does one piece of work in a thread of its own, which keeps no process alive."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._name = name
        self._lock = threading.Lock()
        self._begun = self._given_up = False
        self._ended = threading.Event()
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether nothing of the work is done any more, or ever will be."""
        return self._ended.is_set()

    def start(self) -> None:
        """Begin. Where that is interrupted the work is done to its end, or not at all."""
        try:
            self._ended.clear()
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except BaseException:
            with self._lock:
                if not self._begun:
                    self._given_up = True
                    self._ended.set()
            raise

    def wait(self, limit: float | None = None) -> bool:
        """Wait for the end, for `limit` seconds at most; whether it has come. Without a start it has."""
        return self._ended.wait(limit)

    def _run(self) -> None:
        with self._lock:
            if self._given_up:
                return
            self._begun = True
        try:
            self._work()
        finally:
            self._ended.set()
