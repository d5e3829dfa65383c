"""One JSON object per line: the same events, for programs. Fields are added, never renamed."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import events
from packrunner.console import problem
from packrunner.console.redact import Lines, Redactor
from packrunner.errors import ShownError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.console.terminal import Writer

SCHEMA = "packrunner.event/1"


def kind(event: events.Event) -> str:
    """`StepDone` is `step-done`."""
    return re.sub(r"(?<=.)([A-Z])", r"-\1", type(event).__name__).lower()


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonReporter:
    """Events as JSON lines; foreign output line by line."""

    def __init__(
        self, writer: Writer, *, quiet: int = 0, redact: Redactor | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._writer = writer
        self._quiet = quiet
        self._redact = redact or Redactor()
        self._now = now
        self._lock = threading.RLock()
        self._lines = Lines()

    def emit(self, event: events.Event) -> None:
        """Write one event."""
        with self._lock:
            if isinstance(event, events.Hidden):
                self._redact.learn(event.secrets)
                return
            if self._quiet and not (isinstance(event, events.Warned) and self._quiet < 2):
                return
            if isinstance(event, events.Output):
                if event.detail:
                    return
                for line in self._lines.feed(event.source, event.stream, event.data):
                    self._write("output", {"source": event.source, "stream": event.stream, "text": line})
                return
            if isinstance(event, events.StepStarted | events.StepDone | events.Finished):
                self._flush()
            self._write(kind(event), msgspec.structs.asdict(event))

    def _flush(self) -> None:
        for source, line in self._lines.finish():
            self._write("output", {"source": source, "text": line})

    def _write(self, name: str, values: dict[str, Any]) -> None:
        body = {key: self._plain(value) for key, value in values.items()}
        record = {"schema": SCHEMA, "time": timestamp(self._now()), "event": name, **body}
        self._writer.line(json.dumps(record))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, float):
            return round(value, 6)
        return [self._redact(v) for v in value] if isinstance(value, tuple) else value

    def stopping(self) -> None:
        """Write that a stop was asked for."""
        with self._lock:
            if not self._quiet:
                self._write("stopping", {})

    def problem(self, error: ShownError) -> None:
        """Write an error, or the stop, as an event."""
        with self._lock:
            self._flush()
            name = "stopped" if isinstance(error, StoppedError) else "error"
            self._write(name, problem.to_json(error, self._redact))

    def close(self) -> None:
        """Write what did not end in a newline."""
        with self._lock:
            self._flush()
