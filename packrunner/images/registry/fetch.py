"""The bytes of a blob: verified on the way, continued after a cut, never more than were announced."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING

from packrunner.images.registry.client import Client, Scope
from packrunner.images.registry.failures import Failure, Patience

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    from packrunner.images.image import Descriptor
    from packrunner.images.registry.transport import Answer

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


def pieces(client: Client, repository: str, blob: Descriptor) -> Iterator[bytes]:
    """The blob, to its end, where its digest is compared. Raises Failure, `corrupt` for other bytes or more of them."""
    made = hashlib.sha256()
    done = 0
    patience = Patience(client.settings)
    ranges = True
    while True:
        try:
            with _asked(client, repository, blob, done if ranges else 0) as answer:
                skip = _skipped(answer, done, blob, client.registry)
                if skip is None:
                    if not ranges or not done:
                        raise Failure("answer", client.registry, f"status {answer.status} for the whole of a blob")
                    ranges = False
                    continue
                # A part of what was encoded cannot be decoded.
                ranges = ranges and not answer.header("content-encoding")
                for piece in answer.pieces():
                    fresh = piece[skip:]
                    skip -= min(skip, len(piece))
                    if not fresh:
                        continue
                    done += len(fresh)
                    if done > blob.size:
                        raise Failure("corrupt", answer.host, f"more than the {blob.size} bytes of {blob.digest}")
                    made.update(fresh)
                    patience.further()
                    yield fresh
            if done < blob.size:
                why = f"it ended at byte {done} of {blob.size}"
                raise Failure("unreachable", client.registry, why, phase="reading the answer", retry=True)
        except Failure as failure:
            patience.after(failure)
            continue
        if made.hexdigest() != blob.digest.hex:
            raise Failure(
                "corrupt", client.registry, f"bytes with the digest sha256:{made.hexdigest()} came for {blob.digest}"
            )
        return


def _asked(client: Client, repository: str, blob: Descriptor, start: int) -> Answer:
    scope = Scope(repository=repository)
    headers = {"Range": f"bytes={start}-"} if start else {}
    answer = client.attempt("GET", client.path(repository, f"blobs/{blob.digest}"), scope, headers=headers)
    if answer.status in {200, 206, 416}:
        return answer
    with answer:
        if answer.status == 404:
            raise Failure("refused", client.registry, f"{repository} lacks its blob {blob.digest}", status=404)
        raise client.refusal(answer, scope, f"the blob {blob.digest}")


def _skipped(answer: Answer, done: int, blob: Descriptor, host: str) -> int | None:
    """How many bytes of this answer are there already; None for a part that does not follow what is there (REG-31)."""
    if answer.status == 206:
        found = _RANGE.fullmatch(answer.header("content-range").strip())
        follows = found and int(found[1]) == done and found[3] in {"*", str(blob.size)}
        if not done:
            raise Failure("answer", host, "a part of a blob came, and the whole was asked for")
        return 0 if follows else None
    if answer.status == 416:
        return None
    if "html" in answer.header("content-type").lower():
        raise Failure("answer", host, "a page of HTML in place of a blob")
    length = answer.header("content-length")
    if length.isdecimal() and int(length) != blob.size and not answer.header("content-encoding"):
        raise Failure("corrupt", answer.host, f"{length} bytes are announced for {blob.digest}, which has {blob.size}")
    return done


class BlobReader(io.RawIOBase):
    """A blob as a file."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview | mmap.mmap) -> int:  # type: ignore[override] # typeshed's Buffer is 3.12's
        """Read some bytes."""
        view = memoryview(buffer)
        while not self._rest:
            piece = next(self._stream, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        got = min(len(view), len(self._rest))
        view[:got] = self._rest[:got]
        self._rest = self._rest[got:]
        return got
