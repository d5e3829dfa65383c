"""The whole story of one build in a file: <state>/logs/<application>-<HHMMSS>.log, the last 20 of each kept."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from packrunner import events
from packrunner.console.plain import PlainReporter
from packrunner.console.redact import Redactor
from packrunner.console.terminal import Terminal, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.errors import ShownError

KEPT = 20


def safe_name(name: str) -> str:
    """An image's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:80] or "app"


def create(directory: str, name: str, *, suffix: str = ".log", now: float | None = None) -> int:
    """A new file that only its owner can read, as a descriptor; raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    stem = os.path.join(directory, f"{name}-{time.strftime('%H%M%S', time.localtime(now))}")
    for number in range(1, 1000):
        path = f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
    raise FileExistsError(stem)


def rotate(directory: str, name: str, *, kept: int = KEPT) -> None:
    """Remove the oldest logs of one application."""
    ours = re.compile(re.escape(name) + r"-\d{6}(-\d+)?\.log")
    entries = [e for e in os.scandir(directory) if ours.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
    entries.sort(key=lambda e: e.stat().st_mtime_ns, reverse=True)
    for entry in entries[kept:]:
        os.unlink(entry.path)


class _Stamped:
    """Puts the time before each line."""

    def __init__(self, descriptor: int, now: Callable[[], float]) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="replace")
        self._now = now

    def write(self, text: str) -> int:
        stamp = time.strftime("%H:%M:%S ", time.localtime(self._now()))
        return self._file.write(stamp + text if text.strip() else text)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class LogReporter:
    """Writes every event to a file, which is made when the first one comes. A full disk ends the log, not the build.

    `path` is where it is (or empty), `foreign` the number of lines that others wrote.
    """

    def __init__(
        self, directory: str, name: str, *, redact: Redactor | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._name = safe_name(name)
        self._redact = redact or Redactor()
        self._now = now
        self._file: _Stamped | None = None
        self._plain: PlainReporter | None = None
        self.path = ""
        self.foreign = 0

    def _open(self) -> PlainReporter:
        if self._plain is None:
            try:
                descriptor = create(self._directory, self._name, now=self._now())
                self.path = os.readlink(f"/proc/self/fd/{descriptor}")
                self._file = _Stamped(descriptor, self._now)
                rotate(self._directory, self._name)
            except OSError:
                self.path = ""
            writer = Writer(self._file)
            self._plain = PlainReporter(writer, Terminal(), verbose=1, redact=self._redact, beat=0)
        return self._plain

    def emit(self, event: events.Event) -> None:
        """Write one event."""
        if isinstance(event, events.Output):
            self.foreign += event.data.count(b"\n")
        self._open().emit(event)

    def stopping(self) -> None:
        """Write that a stop was asked for."""
        self._open().stopping()

    def problem(self, error: ShownError) -> None:
        """Write what ended the build."""
        self._open().problem(error)

    def close(self) -> None:
        """Close the file; without an event until now there is none, and events to come do not make it."""
        if self._plain is None:
            self._plain = PlainReporter(Writer(None), Terminal(), beat=0)
        self._plain.close()
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                self._file = None
