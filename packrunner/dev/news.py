"""Paths that something happened to, until it is time to look at them: pure, times are given.

A save is quiet after a moment; a checkout goes on naming new paths, and is waited for, so that it is one batch. A file
that is being written is waited for too: half of it is of no use to anybody. And one that is gone may come back at
once, where an editor saves by making it anew.
"""

from __future__ import annotations

QUIET = 0.008
MANY = 300
QUIET_OF_MANY = 0.1
RETURN = 0.05
LONGEST = 10.0
WRITTEN = 0.3
LONGEST_WRITTEN = 2.0


class News:
    """`due` says when to `take`."""

    def __init__(self) -> None:
        self._paths: dict[str, bool] = {}
        self._first = self._latest = 0.0
        self._gone: dict[str, float] = {}
        self._open: dict[str, tuple[float, float]] = {}

    @property
    def gathering(self) -> bool:
        """Whether a batch has begun: what else happens until it is due belongs to it."""
        return bool(self._paths)

    def add(self, path: str, now: float, *, deep: bool = False) -> None:
        """Something happened at the path, or (deep) anywhere below it."""
        self._open.pop(path, None)
        self._gone.pop(path, None)
        if not self._paths:
            self._first = now
        if path not in self._paths:
            self._latest = now
        self._paths[path] = deep or self._paths.get(path, False)

    def gone(self, path: str, now: float) -> None:
        """Nothing is at the path now, where something was."""
        self.add(path, now)
        self._gone[path] = now + RETURN

    def writing(self, path: str, now: float) -> None:
        """A file is being written: wait until it is closed, but not for ever."""
        if path in self._gone:
            del self._gone[path], self._paths[path]
        if path not in self._paths:
            self._open[path] = (self._open.get(path, (now, now))[0], now)

    def due(self) -> float | None:
        """When to take; None where there is nothing."""
        times = [self._closed(path) for path in self._open]
        if self._paths:
            due = self._latest + (QUIET if len(self._paths) < MANY else QUIET_OF_MANY)
            if self._gone:
                due = max(due, next(reversed(self._gone.values())))
            times.append(min(due, self._first + LONGEST))
        return min(times, default=None)

    def take(self, now: float) -> tuple[dict[str, bool], float]:
        """The paths, each with whether what is below counts, and when the first of them was heard of."""
        for path in [path for path in self._open if self._closed(path) <= now]:
            self.add(path, now)
        paths, self._paths = self._paths, {}
        self._gone.clear()
        return paths, self._first

    def _closed(self, path: str) -> float:
        first, last = self._open[path]
        return min(last + WRITTEN, first + LONGEST_WRITTEN)
