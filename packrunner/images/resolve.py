"""Paths of an archive in the tree it is unpacked to: one component at a time, links as if the root were "/"."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from packrunner.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPS = 40
_CACHED = 64


def refused(name: bytes, cause: str) -> UnsafeArchiveError:
    """The error for an entry that would reach outside, or do harm."""
    text = os.fsdecode(name[:200])
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return UnsafeArchiveError(f"the archive's entry {shown!r} is refused", slug="unsafe-archive", cause=cause)


class Resolver:
    """Finds directories below `root`, and makes missing ones: `made` is told each, `replace` makes room for it."""

    def __init__(self, root: int, *, replace: Callable[[bytes], None], made: Callable[[bytes, int], None]) -> None:
        self._root = root
        self._replace = replace
        self._made = made
        self._cache: dict[bytes, tuple[int, bytes]] = {}
        self._stale: list[int] = []

    def close(self) -> None:
        """Let go of all directories."""
        self.forget()
        self._drop()

    def forget(self) -> None:
        """Something was removed: what was found so far may be elsewhere now. Descriptors in use stay open a while."""
        self._stale += [fd for fd, _ in self._cache.values()]
        self._cache.clear()

    def parent(self, parts: list[bytes]) -> tuple[int, bytes]:
        """The directory of an entry, made where it is missing, and its real path: empty, or ending in "/"."""
        key = b"/".join(parts[:-1])
        found = self._cache.get(key)
        if found is None:
            self._drop()
            if len(self._cache) >= _CACHED:
                self.forget()
            resolved = self._resolve(parts[:-1], make=True)
            assert resolved
            found = self._cache[key] = resolved
        return found

    def find(self, parts: list[bytes]) -> bytes | None:
        """The real path of a directory, as `parent` gives it; None where there is none."""
        found = self._resolve(parts, make=False)
        if found is None:
            return None
        os.close(found[0])
        return found[1]

    def strictly(self, parts: list[bytes]) -> int:
        """A directory whose path has no links, for the caller to close. Raises OSError."""
        fd = os.dup(self._root)
        for part in parts:
            try:
                below = os.open(part, _STEP, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _drop(self) -> None:
        while self._stale:
            os.close(self._stale.pop())

    def _resolve(self, parts: list[bytes], *, make: bool) -> tuple[int, bytes] | None:
        fd, done = os.dup(self._root), list[bytes]()
        todo = parts[::-1]
        hops = 0
        try:
            while todo:
                part = todo.pop()
                if part in {b"", b"."}:
                    continue
                if part == b"..":
                    done = done[:-1]
                    below = self.strictly(done)
                else:
                    step = self._step(fd, part, done, make=make)
                    if step is None:
                        os.close(fd)
                        return None
                    if isinstance(step, bytes):
                        hops += 1
                        if hops > _HOPS:
                            raise refused(b"/".join(parts), "its path has too many links")
                        todo += step.split(b"/")[::-1]
                        if not step.startswith(b"/"):
                            continue
                        done, below = [], os.dup(self._root)
                    else:
                        below = step
                        done.append(part)
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        return fd, b"".join(part + b"/" for part in done)

    def _step(self, fd: int, part: bytes, done: list[bytes], *, make: bool) -> int | bytes | None:
        """The directory `part`, or where it links to; made if wanted, else None."""
        try:
            return os.open(part, _STEP, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                return None
        except NotADirectoryError:
            if stat.S_ISLNK(os.lstat(part, dir_fd=fd).st_mode):
                return os.fsencode(os.readlink(part, dir_fd=fd))
            if not make:
                return None
            self._replace(b"/".join((*done, part)))
        os.mkdir(part, 0o700, dir_fd=fd)
        below = os.open(part, _STEP, dir_fd=fd)
        self._made(b"/".join((*done, part)), below)
        return below
