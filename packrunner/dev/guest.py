"""A version that somebody else runs, in a container: changed, and never started, ended or built, by us."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from packrunner.dev import attachment
from packrunner.dev.attach import Attachment
from packrunner.dev.changes import Batch
from packrunner.dev.doors import Heard, Over, Said
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.dev.attach import Feed, Parcel
    from packrunner.dev.changes import Change
    from packrunner.dev.doors import Item
    from packrunner.dev.tree import Entry
    from packrunner.engines.base import OutputSink


class Guest:
    """Speaks with the reloader by `feed`; `follow` gives what the container writes.

    What the container has is compared with the source at once: `reconcile` says what it lacks.
    """

    attached = True
    processes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        feed: Feed,
        follow: Callable[[OutputSink], None],
        *,
        run: int,
        put: Callable[[Item], None],
        parcel: Callable[[Sequence[Change]], Parcel],
        reconcile: Callable[[Sequence[Entry]], tuple[Change, ...]],
    ) -> None:
        self.places = ((name, ""),)
        self._name = name
        self._run = run
        self._put = put
        self._reconcile = reconcile
        self._entries: list[Entry] = []
        self._attachment = Attachment(feed, parcel=parcel, heard=self._heard, lost=lambda error: put(Over(error)))
        self._attachment.manifest()
        threading.Thread(target=self._follow, args=(follow,), name="container-output", daemon=True).start()

    def send(self, changes: Sequence[Change], dest: str = "") -> int:
        """Have changes made; the number by which events refer to this."""
        return self._attachment.send(changes, dest)

    def restart(self, processes: Sequence[str] = ()) -> int:
        """Have processes started again."""
        return self._attachment.restart(processes)

    def close(self) -> None:
        """Leave it as it is."""
        self._attachment.close()

    def _heard(self, event: attachment.Event) -> None:
        if not isinstance(event, attachment.Manifest):
            self._put(Heard(self._run, event))
            return
        self._entries += event.files
        if event.end:
            entries, self._entries = self._entries, []
            if changes := self._reconcile(entries):
                self._put(Batch(changes=changes, seen=time.monotonic()))

    def _follow(self, follow: Callable[[OutputSink], None]) -> None:
        # The end of the container is told by the attachment.
        with contextlib.suppress(EngineError):
            follow(lambda stream, data: self._put(Said(self._run, self._name, stream, data)))
