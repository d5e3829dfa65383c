"""Reading the application's tree while others change it: never through a link, one path component at a time (LIV-13).

Paths are relative, with `/`; "" is the root.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: what became a FIFO meanwhile must not make us wait for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Cursor:
    """Descriptors of a directory and of those above it, for one walk; a context manager.

    Walking in order costs one open for each directory. OSError is the kernel's: ENOENT, ENOTDIR and ELOOP mean
    that the path is no directory now.
    """

    __slots__ = ("_fds", "_here", "_parts")

    def __init__(self, root: str) -> None:
        self._parts: list[str] = []
        self._here: str | None = ""
        self._fds = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def at(self, directory: str) -> int:
        """A descriptor of the directory, good until the next call."""
        if directory == self._here:
            return self._fds[-1]
        parts = directory.split("/") if directory else []
        shared = 0
        for ours, wanted in zip(self._parts, parts, strict=False):
            if ours != wanted:
                break
            shared += 1
        self._back(shared)
        self._here = None
        for name in parts[shared:]:
            self._fds.append(os.open(name, _DIRECTORY, dir_fd=self._fds[-1]))
            self._parts.append(name)
        self._here = directory
        return self._fds[-1]

    def stat(self, path: str) -> os.stat_result | None:
        """What is at the path itself; None where nothing is. FileNotFoundError: not even a directory to hold it."""
        above, _, name = path.rpartition("/")
        directory = self.at(above)
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def link(self, path: str) -> str:
        """Where a link leads, as it says."""
        above, _, name = path.rpartition("/")
        return os.readlink(name, dir_fd=self.at(above))

    def open(self, path: str) -> tuple[int, os.stat_result]:
        """A descriptor of the regular file at the path, to be read and closed by the caller, and what it is.

        FileNotFoundError: what is there is no regular file.
        """
        above, _, name = path.rpartition("/")
        fd = os.open(name, _READ, dir_fd=self.at(above))
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "not a regular file now", path)
        return fd, found

    def _back(self, depth: int) -> None:
        while len(self._parts) > depth:
            self._parts.pop()
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._back(0)
        os.close(self._fds.pop())
