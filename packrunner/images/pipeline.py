"""The second half of the layer writer: hashing and storing, in a thread, while the first half reads the next files."""

from __future__ import annotations

import mmap
import os
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packrunner.images.pack import changed
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.images.blobs import BlobWriter

    Work = Callable[[BlobWriter | None], None]

STEP = 1 << 20
_WAITING = 12  # pieces of a megabyte, at most, between the two halves


@dataclass(frozen=True, slots=True)
class _Content:
    fd: int
    size: int
    path: str


class Pipeline:
    """A sink that feeds a blob, in order; end it with `finish` or `stop`.

    Work is bytes to join, a large file to read, or a function that writes to the blob itself. After an error nothing
    more is written, but functions are still called, with None: they may have to unblock somebody.
    """

    def __init__(self, blob: BlobWriter) -> None:
        self._blob = blob
        self._queue: queue.Queue[list[bytes] | _Content | Work | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._thread = Worker(self._work, "layer-writer")
        self._thread.start()

    def put(self, pieces: list[bytes]) -> None:
        """Take pieces, to be joined."""
        self._check()
        self._queue.put(pieces)

    def content(self, fd: int, size: int, path: str) -> None:
        """Take a large file's descriptor, to read exactly `size` bytes from its start and close it."""
        self._queue.put(_Content(fd, size, path))

    def call(self, function: Work) -> None:
        """Take work that writes to the blob by itself."""
        self._check()
        self._queue.put(function)

    def finish(self) -> None:
        """Wait until everything is written; raises the thread's error."""
        self._queue.put(None)
        self._thread.wait()
        self._check()

    def stop(self) -> None:
        """Give up what is not written yet. Does nothing after `finish`."""
        if not self._thread.ended:
            self._error = self._error or RuntimeError("stopped")
            self._queue.put(None)
            self._thread.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._do(item)
            except BaseException as e:  # noqa: BLE001 - carried to the thread that waits
                self._error = self._error or e

    def _do(self, item: list[bytes] | _Content | Work) -> None:
        if isinstance(item, _Content):
            try:
                if self._error is None:
                    copy_content(item.fd, item.size, item.path, self._blob.write)
            finally:
                os.close(item.fd)
        elif not isinstance(item, list):
            item(None if self._error else self._blob)
        elif self._error is None:
            self._blob.write(b"".join(item))


def copy_content(fd: int, size: int, path: str, write: Callable[[memoryview], None]) -> None:
    """Pass on the whole of a large file in steps; raises PackError when it is not what it was (SBX-06)."""
    before = os.fstat(fd)
    left = size
    view = page_aligned()
    position = 0
    while left:
        got = os.preadv(fd, [view[: min(left, STEP)]], position)
        if not got:
            raise changed(path)
        write(view[:got])
        position += got
        left -= got
    after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or after.st_size != size:
        raise changed(path)


def page_aligned() -> memoryview:
    """A buffer of STEP bytes. Reading into a page-aligned one is a third faster than into any other."""
    # Never closed by hand: an error on its way up may still hold a part of it.
    return memoryview(mmap.mmap(-1, STEP))
