"""The files of a tar archive, read where they are: an image archive is larger than anything worth copying twice."""

from __future__ import annotations

import io
import os
import posixpath
import stat
from typing import TYPE_CHECKING, BinaryIO

from packrunner.disk import disk_error
from packrunner.errors import CorruptError, UsageError
from packrunner.images.tarread import Tape, TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_STEP = 1 << 20
_HOPS = 20
_ENTRIES = 100_000


class Archive:
    """The files of a tar archive, read where they are. A context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            self._file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
        except FileNotFoundError as e:
            raise UsageError(f"there is no image archive at {path}", slug="unknown-image") from e
        except OSError as e:
            raise disk_error(e, path) from e
        try:
            self._read_names()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, name: str) -> bool:
        """Whether there is such an entry."""
        return name in self._places or name in self._links

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._place(name)[1]

    def open(self, name: str) -> BinaryIO:
        """The bytes of a file."""
        start, size = self._place(name)
        return io.BufferedReader(_Part(self._file.fileno(), start, size), _STEP)

    def _place(self, name: str) -> tuple[int, int]:
        wanted = name
        for _ in range(_HOPS):
            if wanted in self._places:
                return self._places[wanted]
            if wanted not in self._links:
                break
            # Old archives link layers that are equal (ARC-42).
            wanted = posixpath.normpath(posixpath.join(posixpath.dirname(wanted), self._links[wanted]))
        raise CorruptError(f"{self.path} has no {name[:200]}", slug="image-format")

    def _read_names(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise UsageError(f"{self.path} is no file", slug="unknown-image")
        tape = _Placed(self._file)
        for member in TarReader(tape, self.path):
            # pack's files begin their names with a slash (DST-01).
            name = posixpath.normpath(os.fsdecode(member.name)).lstrip("/")
            self._places.pop(name, None)
            self._links.pop(name, None)
            if member.kind == "file":
                self._places[name] = (tape.position, member.size)
            elif member.kind == "link":
                self._links[name] = os.fsdecode(member.target)
            elif member.kind == "hardlink":
                self._links[name] = posixpath.relpath(os.fsdecode(member.target), posixpath.dirname(name) or ".")
            if len(self._places) + len(self._links) > _ENTRIES:
                raise CorruptError(f"{self.path} has more than {_ENTRIES} entries", slug="image-format")


class _Placed(Tape):
    """A tape that knows where in the file it is."""

    def __init__(self, file: io.FileIO) -> None:
        self._given = 0
        super().__init__(self._read(file))

    @property
    def position(self) -> int:
        """How many bytes were taken."""
        return self._given - len(self._piece) + self._at

    def _read(self, file: io.FileIO) -> Iterator[bytes]:
        while data := file.read(_STEP):
            self._given += len(data)
            yield data


class _Part(io.RawIOBase):
    """A stretch of a file."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        super().__init__()
        self._fd = fd
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # typeshed's Buffer is 3.12's
        view = memoryview(buffer)[: self._end - self._at]
        got = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += got
        return got
