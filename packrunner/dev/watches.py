"""Which directories the kernel watches for us, under which paths."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.dev.inotify import Inotify

_LIMITS = frozenset({errno.ENOSPC, errno.ENOMEM})


class Watches:
    """A directory can be known by several paths for a moment, while it moves: an event counts for each of them.

    `full` is told when the kernel watches no more.
    """

    def __init__(self, inotify: Inotify, full: Callable[[OSError], None]) -> None:
        self._inotify = inotify
        self._full = full
        self._numbers: dict[str, int] = {}
        self._paths: dict[int, set[str]] = {}

    @property
    def count(self) -> int:
        """How many directories are watched."""
        return len(self._paths)

    def enter(self, path: str, fd: int) -> None:
        """Watch the directory behind `fd` under this path."""
        try:
            number = self._inotify.add(fd)
        except OSError as error:
            if error.errno not in _LIMITS:
                raise
            self._full(error)
            return
        old = self._numbers.get(path)
        if old is not None and old != number:
            self._drop(path)
        self._numbers[path] = number
        self._paths.setdefault(number, set()).add(path)

    def leave(self, path: str) -> None:
        """Watch neither this directory nor those below it; "" is the root, with all."""
        if path and path not in self._numbers:
            return
        inside = path + "/" if path else ""
        for one in [one for one in self._numbers if one == path or one.startswith(inside)]:
            self._drop(one)

    def paths(self, number: int) -> tuple[str, ...]:
        """Whose event that is."""
        return tuple(self._paths.get(number, ()))

    def ended(self, number: int) -> None:
        """The kernel ended a watch: its directory is gone."""
        for path in self._paths.pop(number, ()):
            self._numbers.pop(path, None)

    def _drop(self, path: str) -> None:
        number = self._numbers.pop(path)
        paths = self._paths.get(number, set())
        paths.discard(path)
        if not paths:
            self._paths.pop(number, None)
            self._inotify.remove(number)
