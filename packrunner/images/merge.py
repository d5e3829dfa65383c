"""The walk over a tree of the host, or over an overlay's two trees as one: what there is, in the order of a layer.

Order is that of the reference: a directory, then what is in it, names as bytes (EXP-09). Links are never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint
from packrunner.images.pack import PackError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
_RUN = 1000
WHITEOUT = ".wh."


class Folder(msgspec.Struct, frozen=True):
    """A directory, by its path in the tree; "" is the root."""

    path: str
    mode: int


class Names(msgspec.Struct, frozen=True):
    """Entries of one directory that are no directories, at most a thousand; `side` is 0 for lower and 1 for upper."""

    side: int
    fd: int
    base: str
    names: list[str]
    special: frozenset[str]


class _Frame(msgspec.Struct):
    """An open directory: in the lower tree, the upper one, or both (-1: not there)."""

    fds: tuple[int, int]
    base: str
    whole: bool
    entries: list[tuple[int, os.DirEntry[str]]] = msgspec.field(default_factory=list)
    both: frozenset[str] = frozenset()

    def close(self) -> None:
        for fd in self.fds:
            if fd >= 0:
                os.close(fd)


class Walk:
    """One walk; iterate once. `roots` are the descriptors of the lower and the upper tree.

    `only` and `exclude` are paths in the tree: a directory takes what is below it; parents of `only` come too.
    """

    def __init__(
        self,
        source: str,
        upper: str | None,
        *,
        skip: frozenset[str],
        only: frozenset[str] | None,
        exclude: frozenset[str],
    ) -> None:
        self._skip = skip
        self._only = only
        self._parents = _ancestors(only or frozenset())
        self._exclude = exclude
        first = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            second = os.open(upper, _OPEN) if upper else -1
        except BaseException:
            os.close(first)
            raise
        self.roots = (first, second)

    def __iter__(self) -> Iterator[Folder | Names]:
        frames: list[_Frame] = []
        try:
            yield Folder("", os.fstat(self.roots[1] if self.roots[1] >= 0 else self.roots[0]).st_mode)
            frames.append(self._frame((os.dup(self.roots[0]), _dup(self.roots[1])), "", whole=self._only is None))
            while frames:
                frame = frames[-1]
                while frame.entries:
                    if _is_directory(frame.entries[-1][1]):
                        side, entry = frame.entries.pop()
                        yield Folder(frame.base + entry.name, entry.stat(follow_symlinks=False).st_mode)
                        frames.append(self._below(frame, side, entry.name, len(frames)))
                        break
                    yield _run(frame)
                else:
                    frames.pop().close()
        finally:
            for frame in frames:
                frame.close()

    def close(self) -> None:
        """Let go of the roots."""
        for fd in self.roots:
            if fd >= 0:
                os.close(fd)

    def _below(self, frame: _Frame, side: int, name: str, depth: int) -> _Frame:
        path = frame.base + name
        if depth > fingerprint.DEEPEST:
            raise fingerprint.too_deep(path)
        fds = [-1, -1]
        try:
            for number in (0, 1):
                if number == side or name in frame.both:
                    fds[number] = os.open(name, _OPEN, dir_fd=frame.fds[number])
        except BaseException:
            if fds[0] >= 0:
                os.close(fds[0])
            raise
        whole = frame.whole or (self._only is not None and path in self._only)
        return self._frame((fds[0], fds[1]), path + "/", whole=whole)

    def _frame(self, fds: tuple[int, int], base: str, *, whole: bool) -> _Frame:
        frame = _Frame(fds, base, whole)
        try:
            self._list(frame)
        except BaseException:
            frame.close()
            raise
        return frame

    def _list(self, frame: _Frame) -> None:
        lower, upper = frame.fds
        found = {} if lower < 0 else {name: (0, entry) for name, entry in _scan(lower)}
        if upper >= 0:
            if lower >= 0 and _opaque(upper):
                found = {}
            frame.both = _lay_over(found, upper)
        if not frame.base and self._skip:
            found = {name: item for name, item in found.items() if name not in self._skip}
        if self._exclude or not frame.whole:
            found = {name: item for name, item in found.items() if self._chosen(frame, name, item[1])}
        for name in found:
            if name.startswith(WHITEOUT):
                raise PackError("whiteout-name", frame.base + name, "such a name deletes files in images")
        frame.entries = [found[name] for name in fingerprint.ordered(list(found))]

    def _chosen(self, frame: _Frame, name: str, entry: os.DirEntry[str]) -> bool:
        path = frame.base + name
        if path in self._exclude:
            return False
        if frame.whole or (self._only is not None and path in self._only):
            return True
        return path in self._parents and _is_directory(entry)


def _run(frame: _Frame) -> Names:
    """Take the next entries that are no directories and are of one side."""
    entries = frame.entries
    side = entries[-1][0]
    names: list[str] = []
    special: list[str] = []
    while entries and len(names) < _RUN:
        number, entry = entries[-1]
        if number != side or _is_directory(entry):
            break
        entries.pop()
        names.append(entry.name)
        if not entry.is_file(follow_symlinks=False):
            special.append(entry.name)
    return Names(side, frame.fds[side], frame.base, names, frozenset(special))


def _lay_over(found: dict[str, tuple[int, os.DirEntry[str]]], upper: int) -> frozenset[str]:
    """Put the upper directory's entries over the lower's; gives the names that are directories in both."""
    both: set[str] = set()
    for name, entry in _scan(upper):
        if not entry.is_file(follow_symlinks=False) and _is_whiteout(entry):
            found.pop(name, None)
            continue
        below = found.get(name)
        if below and _is_directory(entry) and _is_directory(below[1]):
            both.add(name)
        found[name] = (1, entry)
    return frozenset(both)


def _scan(fd: int) -> list[tuple[str, os.DirEntry[str]]]:
    with os.scandir(fd) as entries:
        return [(entry.name, entry) for entry in entries]


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_whiteout(entry: os.DirEntry[str]) -> bool:
    """Whether the overlay file system marks a removed name: character device 0:0."""
    st = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


def _opaque(fd: int) -> bool:
    """Whether a directory of the upper tree hides all that is below it."""
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError as e:
            if e.errno not in {errno.ENODATA, errno.ENOTSUP, errno.EPERM}:
                raise
    return False


def _dup(fd: int) -> int:
    return os.dup(fd) if fd >= 0 else -1


def _ancestors(paths: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        above = os.path.dirname(path)
        while above and above not in found:
            found.add(above)
            above = os.path.dirname(above)
    return frozenset(found)
