"""The way into a running application: requests go in through one long-lived command, events come out.

Requests are made into bytes by the thread that feeds the command, one after another, so that a large file is never
held in memory and a slow application slows nobody but itself.
"""

from __future__ import annotations

import itertools
import queue
import threading
from typing import TYPE_CHECKING, Protocol

from packrunner.dev import attachment
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from packrunner.dev.attachment import Event
    from packrunner.dev.changes import Change
    from packrunner.engines.base import Exit, OutputSink

    Feed = Callable[[Iterable[bytes], OutputSink, Callable[[], object]], Exit]
    """Runs the reloader with this input: Sandbox.feed with the command filled in."""

_SAID = 4096
_TOGETHER = 256 << 10


class Parcel(Protocol):
    """Changes with their bytes."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """What can be sent, with sizes that hold."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes of all files in their order, as many as the changes say."""


class Attachment:
    """Speaks with one `reloader attach` on a thread of its own, from the start until `close`.

    `heard` gets its events and `lost` what ended it before `close`; both are called from other threads. `parcel` adds
    the bytes to changes, when it is their turn.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        parcel: Callable[[Sequence[Change]], Parcel],
        heard: Callable[[Event], object],
        lost: Callable[[EngineError], object],
    ) -> None:
        self._feed = feed
        self._parcel = parcel
        self._heard = heard
        self._lost = lost
        self._requests: queue.SimpleQueue[Callable[[], Iterator[bytes]] | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._reader = attachment.Reader()
        self._complaints = b""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="attach", daemon=True)
        self._thread.start()

    def send(self, changes: Sequence[Change], dest: str = "") -> int:
        """Have changes made inside, below the application or below `dest`; the number by which events refer to this."""
        number = next(self._numbers)
        self._requests.put(lambda: self._changes(number, changes, dest))
        return number

    def restart(self, processes: Sequence[str] = ()) -> int:
        """Have processes started again, all of them unless some are named."""
        number = next(self._numbers)
        self._requests.put(lambda: iter((attachment.restart(number, processes),)))
        return number

    def manifest(self) -> int:
        """Ask what is in the application's directory."""
        number = next(self._numbers)
        self._requests.put(lambda: iter((attachment.manifest(number),)))
        return number

    def close(self, limit: float = 2.0) -> None:
        """End the conversation; what was sent before is still done."""
        self._closed = True
        self._requests.put(None)
        self._thread.join(limit)

    def _changes(self, number: int, changes: Sequence[Change], dest: str) -> Iterator[bytes]:
        parcel = self._parcel(changes)
        waiting = [attachment.changes(number, parcel.changes, dest)]
        size = len(waiting[0])
        for piece in parcel.pieces():
            waiting.append(piece)
            size += len(piece)
            # Small files go together: each write wakes the other side.
            if size >= _TOGETHER:
                yield b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)

    def _stdin(self) -> Iterator[bytes]:
        while make := self._requests.get():
            yield from make()

    def _output(self, stream: str, data: bytes) -> None:
        if stream == "stderr":
            self._complaints = (self._complaints + data)[-_SAID:]
            return
        for event in self._reader.feed(data):
            self._heard(event)

    def _run(self) -> None:
        try:
            ended = self._feed(self._stdin(), self._output, lambda: self._requests.put(None))
            error = EngineError(
                "the reloader in the application has ended",
                slug="reloader-ended",
                cause=ended.error or f"it ended with {ended.code}",
                foreign=tuple(self._complaints.decode(errors="replace").splitlines()[-20:]),
            )
        except EngineError as raised:
            error = raised
        if not self._closed:
            self._lost(error)
