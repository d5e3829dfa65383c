"""Files of this host as a tar for the agent; what buildpacks left is read through descriptors, never through links."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from packrunner.disk import disk_error
from packrunner.errors import EngineError
from packrunner.images import tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

_STEP = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def pack(root: str, paths: Iterable[bytes], *, prefix: bytes = b"") -> Iterator[bytes]:
    """The entries at `paths`, of directories only themselves, as a tar whose names begin with `prefix`.

    What is neither file, directory nor link is left out. Raises StoreError and EngineError (`changed-while-sent`).
    """
    with _Walker(root) as walker:
        for path in paths:
            try:
                yield from walker.entry(path, prefix)
            except OSError as e:
                raise disk_error(e, os.path.join(root, os.fsdecode(path))) from e


class _Walker:
    """Opens parents one component at a time, and keeps the last one: paths come in order."""

    def __init__(self, root: str) -> None:
        self._root_path = root
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent = b""
        self._fd = self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._root)

    def entry(self, path: bytes, prefix: bytes) -> Iterator[bytes]:
        """One entry's pieces."""
        parent, _, name = path.rpartition(b"/")
        self._enter(parent)
        found = os.stat(name or b".", dir_fd=self._fd, follow_symlinks=False)
        mode, seconds = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
        whole = (prefix + path).rstrip(b"/")
        if stat.S_ISDIR(found.st_mode):
            yield tar.header(tar.DIRECTORY, whole + b"/", mode=mode, uid=0, gid=0, mtime=seconds)
        elif stat.S_ISLNK(found.st_mode):
            link = os.readlink(name, dir_fd=self._fd)
            yield tar.header(tar.LINK, whole, mode=0o777, uid=0, gid=0, link=link, mtime=seconds)
        elif stat.S_ISREG(found.st_mode):
            yield from self._file(name, whole)

    def _file(self, name: bytes, whole: bytes) -> Iterator[bytes]:
        fd = os.open(name, _OPEN, dir_fd=self._fd)
        try:
            found = os.fstat(fd)
            size = left = found.st_size
            mode, seconds = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
            yield tar.header(tar.FILE, whole, mode=mode, uid=0, gid=0, size=size, mtime=seconds)
            while left:
                data = os.read(fd, min(left, _STEP))
                if not data:
                    shown = os.path.join(self._root_path, os.fsdecode(name))
                    raise EngineError(
                        "a file became shorter while it was sent to the container", slug="changed-while-sent", at=shown
                    )
                left -= len(data)
                yield data
            yield tar.PADDING[size % tar.BLOCK]
        finally:
            os.close(fd)

    def _enter(self, parent: bytes) -> None:
        if parent == self._parent:
            return
        self._leave()
        fd = self._root
        for name in parent.split(b"/") if parent else ():
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            if fd != self._root:
                os.close(fd)
            fd = below
        self._fd, self._parent = fd, parent

    def _leave(self) -> None:
        if self._fd != self._root:
            os.close(self._fd)
        self._fd, self._parent = self._root, b""


def gathered(pieces: Iterable[bytes], size: int = 64 << 10) -> Iterator[bytes]:
    """Pieces put together: small entries are not worth a frame each. The archive's end follows them."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    yield b"".join((*held, tar.END))
