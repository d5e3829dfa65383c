"""The story of a rebuild, which is not shown: what became of it in a few words, and a way to end it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from packrunner import events
from packrunner.errors import StoppedError

if TYPE_CHECKING:
    from packrunner.events import Event


class Recorder:
    """A reporter; after `stop` whoever reports to it is stopped."""

    def __init__(self) -> None:
        self.summary = ""
        """What is new in the image: `1 new: dependencies, 19.1 MB`."""
        self._stopped = False

    def stop(self) -> None:
        """End the build at its next event."""
        self._stopped = True

    def emit(self, event: Event) -> None:
        """Take an event. Raises StoppedError once the build is to end."""
        if self._stopped:
            raise StoppedError(signal.SIGINT)
        if isinstance(event, events.StepDone) and event.phase == "export":
            self.summary = event.detail
