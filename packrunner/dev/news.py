"""Paths that something happened to, until it is time to look at them: pure, times are given.

A save is quiet after a moment; a checkout goes on naming new paths, and is waited for, so that it is one batch. A file
that is being written is waited for too: half of it is of no use to anybody.
"""

from __future__ import annotations

QUIET = 0.01
MANY = 1000
QUIET_OF_MANY = 0.1
LONGEST = 5.0
WRITTEN = 0.3
LONGEST_WRITTEN = 2.0


class News:
    """`due` says when to `take`."""

    def __init__(self) -> None:
        self._paths: dict[str, bool] = {}
        self._first = self._latest = 0.0
        self._open: dict[str, tuple[float, float]] = {}

    def add(self, path: str, now: float, *, deep: bool = False) -> None:
        """Something happened at the path, or (deep) anywhere below it."""
        self._open.pop(path, None)
        if not self._paths:
            self._first = now
        if path not in self._paths:
            self._latest = now
        self._paths[path] = deep or self._paths.get(path, False)

    def writing(self, path: str, now: float) -> None:
        """A file is being written: wait until it is closed, but not for ever."""
        if path not in self._paths:
            self._open[path] = (self._open.get(path, (now, now))[0], now)

    def due(self) -> float | None:
        """When to take; None where there is nothing."""
        times = [self._closed(path) for path in self._open]
        if self._paths:
            quiet = QUIET if len(self._paths) < MANY else QUIET_OF_MANY
            times.append(min(self._latest + quiet, self._first + LONGEST))
        return min(times, default=None)

    def take(self, now: float) -> tuple[dict[str, bool], float]:
        """The paths, each with whether what is below counts, and when the first of them was heard of."""
        for path in [path for path in self._open if self._closed(path) <= now]:
            self.add(path, now)
        paths, self._paths = self._paths, {}
        return paths, self._first

    def _closed(self, path: str) -> float:
        first, last = self._open[path]
        return min(last + WRITTEN, first + LONGEST_WRITTEN)
