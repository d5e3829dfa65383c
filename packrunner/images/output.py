"""The layer under construction: new pieces and stretches of the previous layer's tar, in order, into a new blob.

Nothing is opened before the first byte that differs: a layer in which nothing changed costs no writing at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from packrunner.images import tar
from packrunner.images.blobs import BlobWriter, corrupt_blob
from packrunner.images.image import Descriptor
from packrunner.images.pipeline import STEP, Pipeline, page_aligned
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from packrunner.images.splice import Previous
    from packrunner.names import Digest

    class Blobs(Protocol):
        """What of the store is needed here."""

        def new_blob(self) -> BlobWriter:
            """A blob to write."""

        def blob_path(self, digest: Digest) -> str:
            """Where a blob is."""

        def quarantine(self, digest: Digest) -> None:
            """Set a damaged blob aside."""


log = logging.getLogger(__name__)


class Output:
    """The sink of the packers of one layer; a context manager that leaves nothing behind without `finish`."""

    def __init__(self, store: Blobs, previous: tuple[Digest, Previous] | None) -> None:
        self.spliced = False
        self.unchanged = False
        self.resources = ExitStack()
        self._store = store
        self._previous = previous
        self._pipeline: Pipeline | None = None
        self._blob: BlobWriter | None = None
        self._running = ExitStack()
        self._stretch = (0, 0)
        self._old = -1
        self._check: _Check | None = None

    @property
    def previous(self) -> Previous | None:
        """The table of the previous layer."""
        return self._previous[1] if self._previous else None

    def size_of(self, number: int) -> int:
        """Bytes of a known line in the tar."""
        assert self._previous
        starts = self._previous[1].starts
        return starts[number + 1] - starts[number]

    def keep(self, number: int) -> None:
        """Take a known line's bytes over from the previous layer."""
        first, end = self._stretch
        if number == end and first != end:
            self._stretch = (first, number + 1)
            return
        self._settle()
        self._stretch = (number, number + 1)

    def keep_all(self, first: int, end: int) -> None:
        """Take the bytes of known lines over, from `first` up to `end`."""
        if first == end:
            return
        begun, done = self._stretch
        if first != done or begun == done:
            self._settle()
            begun = first
        self._stretch = (begun, end)

    def put(self, pieces: list[bytes]) -> None:
        """Take new pieces."""
        self._settle()
        self._open().put(pieces)

    def content(self, fd: int, size: int, path: str) -> None:
        """Take a large file."""
        self._settle()
        self._open().content(fd, size, path)

    def call(self, function: Callable[[BlobWriter | None], None]) -> None:
        """Take work that writes to the blob by itself."""
        self._settle()
        self._open().call(function)

    def finish(self) -> Descriptor:
        """End the archive and keep the blob; the previous layer's own where nothing differs from it."""
        if self._previous and self._pipeline is None:
            digest, table = self._previous
            if self._stretch == (0, len(table.starts) - 1):
                self.unchanged = True
                return Descriptor(digest=digest, size=table.tar_size)
        self.put([tar.END])
        pipeline, blob = self._pipeline, self._blob
        assert pipeline
        assert blob
        pipeline.finish()
        if self._check and not self._check.good():
            self._store.quarantine(self._check.digest)
            raise corrupt_blob(self._check.digest)
        return blob.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as last:
            if self._old >= 0:
                last.callback(os.close, self._old)
            if self._check:
                last.callback(self._check.wait)
            last.push(self._running)
            last.push(self.resources)
            # The thread first: it works with what the others hold.
            if self._pipeline:
                self._pipeline.stop()

    def _open(self) -> Pipeline:
        if self._pipeline is None:
            self._blob = self._running.enter_context(self._store.new_blob())
            self._pipeline = Pipeline(self._blob)
        return self._pipeline

    def _settle(self) -> None:
        """Copy the stretch of the previous tar that came to its end."""
        first, end = self._stretch
        if first == end:
            return
        self._stretch = (0, 0)
        assert self._previous
        digest, table = self._previous
        if self._check is None:
            path = self._store.blob_path(digest)
            self._old = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._check = _Check(path, digest)
            self.spliced = True
        start, length = table.starts[first], table.starts[end] - table.starts[first]
        check, old = self._check, self._old
        self._open().call(lambda blob: _copy(old, start, length, blob, check) if blob else None)


def _copy(fd: int, start: int, length: int, blob: BlobWriter, check: _Check) -> None:
    """Copy a stretch of the old tar.

    Its pages leave the cache as soon as the check has read them too, and the new tar takes their place: the next
    splice reads that one, and memory that is in use already is several times faster to write to than fresh memory.
    """
    view = page_aligned()
    end = start + length
    while start < end:
        got = os.preadv(fd, [view[: min(end - start, STEP)]], start)
        if not got:
            raise corrupt_blob(check.digest)
        blob.write(view[:got])
        if start + got <= check.position:
            os.posix_fadvise(fd, start, got, os.POSIX_FADV_DONTNEED)
        start += got


class _Check:
    """Hashes the whole stored tar meanwhile: a damaged one must not live on in new layers (STO-13)."""

    def __init__(self, path: str, digest: Digest) -> None:
        self.digest = digest
        self.position = 0
        self._path = path
        self._hash = hashlib.sha256()
        self._thread = Worker(self._run, "layer-check")
        self._thread.start()

    def _run(self) -> None:
        view = page_aligned()
        try:
            with open(self._path, "rb", buffering=0) as file:
                while got := file.readinto(view):
                    self._hash.update(view[:got])
                    self.position += got
        except OSError as e:
            log.warning("%s: %s", self._path, e)  # what cannot be read is damaged

    def wait(self) -> None:
        self._thread.wait()

    def good(self) -> bool:
        self.wait()
        return self._hash.hexdigest() == self.digest.hex
