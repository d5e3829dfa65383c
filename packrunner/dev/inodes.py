"""Which paths are names of the same file: the kernel tells a change only of the name that was used for it."""

from __future__ import annotations

_INODE = 3
"""Its place in a stamp."""


class Inodes:
    """By inode number; device numbers are left out, as a path too many costs a look only."""

    def __init__(self) -> None:
        self._paths: dict[int, tuple[str, ...]] = {}

    def add(self, path: str, stamp: tuple[int, ...]) -> None:
        """The path is a name of the file with this stamp."""
        if stamp:
            known = self._paths.get(stamp[_INODE], ())
            if path not in known:
                self._paths[stamp[_INODE]] = (*known, path)

    def remove(self, path: str, stamp: tuple[int, ...]) -> None:
        """The path is a name of it no more."""
        if stamp:
            left = tuple(one for one in self.paths(stamp) if one != path)
            if left:
                self._paths[stamp[_INODE]] = left
            else:
                self._paths.pop(stamp[_INODE], None)

    def paths(self, stamp: tuple[int, ...]) -> tuple[str, ...]:
        """All names of it that are known."""
        return self._paths.get(stamp[_INODE], ()) if stamp else ()

    def of(self, number: int) -> tuple[str, ...]:
        """All names that are known of an inode."""
        return self._paths.get(number, ())
