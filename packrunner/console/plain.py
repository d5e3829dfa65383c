"""The story line by line: for pipes, CI, dumb terminals and -v; the renderer for terminals builds on it."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import events, paths
from packrunner._version import __version__
from packrunner.console import layout, problem, units
from packrunner.console.redact import Lines, Redactor, visible
from packrunner.errors import ShownError, StoppedError
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.console.terminal import Style, Terminal, Writer

LAYER_INDENT = 14
_BEATS = (10.0, 30.0)
_MINUTE = 60.0


class Step(msgspec.Struct, kw_only=True):
    """The step that runs now."""

    phase: str
    subject: str
    detail: str
    began: float
    next_beat: float = _BEATS[0]
    layers: list[events.LayerReported] = msgspec.field(default_factory=list)


class Ticker:
    """Calls `tick` at an interval on a thread of its own, from the first `start` until `close`."""

    def __init__(self, tick: Callable[[], None], interval: float) -> None:
        self._tick = tick
        self._interval = interval
        self._ended = threading.Event()
        self._thread: Worker | None = None

    def start(self) -> None:
        """Begin, if not begun."""
        if self._thread is None:
            self._thread = Worker(self._run, "console")
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._tick()

    def close(self) -> None:
        """End, and wait for the last tick."""
        self._ended.set()
        if self._thread is not None:
            self._thread.wait()


class PlainReporter:
    """Append-only text. `quiet` 1 leaves warnings and errors, 2 errors; `verbose` shows every note.

    `beat` is the seconds between looks at the clock; 0 for none (heartbeats then need calls of `tick`).
    """

    def __init__(
        self,
        writer: Writer,
        terminal: Terminal,
        *,
        quiet: int = 0,
        verbose: int = 0,
        redact: Redactor | None = None,
        clock: Callable[[], float] = time.monotonic,
        beat: float = 1.0,
    ) -> None:
        self._writer = writer
        self._terminal = terminal
        self._quiet = quiet
        self._verbose = verbose
        self._redact = redact or Redactor()
        self._clock = clock
        self._lock = threading.RLock()
        self._lines = Lines()
        self._step: Step | None = None
        self._ended = False
        self._ticker = Ticker(self.tick, beat) if beat else None

    def emit(self, event: events.Event) -> None:
        """Show one event."""
        with self._lock:
            if self._quiet and not isinstance(event, events.Warned | events.Hidden):
                return
            if isinstance(event, events.Output) and event.detail and not self._verbose:
                return
            self._show(event)

    def _show(self, event: events.Event) -> None:  # noqa: C901, PLR0912  one arm per event
        match event:
            case events.BuildStarted():
                self._started(event)
            case events.StepStarted():
                self._begin(event)
            case events.StepProgress():
                self._progress(event)
            case events.StepDone():
                self._done(event)
            case events.LayerReported():
                self._layer(event)
            case events.Output():
                for line in self._lines.feed(event.source, event.stream, event.data):
                    self._foreign(event.source, line)
            case events.Changed():
                paths_ = [self._clean(p.encode(errors="surrogateescape").decode(errors="replace")) for p in event.paths]
                self._row("changed", units.names(paths_, event.total), "", "")
            case events.Warned():
                self._warn(event)
            case events.Noted():
                if event.always or self._verbose:
                    self._prose(f"note: {self._clean(event.text)}")
            case events.Finished():
                self._finish(event)
            case events.Ready() | events.Happened():
                pass  # the transcript of `packrunner dev` shows them
            case events.Hidden():
                self._redact.learn(event.secrets)

    def _clean(self, text: str) -> str:
        return visible(self._redact(text))

    def _line(self, text: str) -> None:
        self._writer.line(text)

    def _prose(self, text: str, style: Style | None = None) -> None:
        """A sentence, wrapped; its first word in a style."""
        first, *more = layout.wrap(text, self._terminal)
        word = re.match(r"\w*", first)
        if style and word:
            first = self._terminal.paint(word[0], style) + first[word.end() :]
        for line in (first, *more):
            self._line(line)

    def _row(self, phase: str, subject: str, detail: str, value: str) -> None:
        for line in layout.row(phase, self._clean(subject), self._clean(detail), value, self._terminal):
            self._line(line)

    def _head(self, event: events.BuildStarted) -> str:
        source = paths.readable(event.source) if os.path.isabs(event.source) else event.source
        note = f" ({event.note})" if event.note else ""
        return self._clean(f"{event.name} from {source} with {event.builder}{note}, engine {event.engine}")

    def _started(self, event: events.BuildStarted) -> None:
        self._prose(f"packrunner {__version__}: {self._head(event)}")

    def _begin(self, event: events.StepStarted) -> None:
        self._finish_lines()
        self._step = Step(phase=event.phase, subject=event.subject, detail=event.detail, began=self._clock())
        if self._ticker is not None:
            self._ticker.start()

    def _progress(self, event: events.StepProgress) -> None:
        if self._step is not None:
            self._step.detail = event.detail

    def _done(self, event: events.StepDone) -> None:
        self._finish_lines()
        layers = self._step.layers if self._step is not None else []
        self._step = None
        self._row(event.phase, event.subject, event.detail, units.duration(event.seconds))
        for layer in layers:
            self._layer_row(layer)

    def _layer(self, event: events.LayerReported) -> None:
        if self._step is not None:
            self._step.layers.append(event)
        else:
            self._layer_row(event)

    def _layer_row(self, event: events.LayerReported) -> None:
        value = "" if event.size is None else units.size(event.size)
        name, detail = self._clean(event.name), self._clean(event.detail)
        for line in layout.row("", name, detail, value, self._terminal, indent=LAYER_INDENT):
            self._line(line)

    def _foreign(self, source: str, line: str) -> None:
        self._line(self._terminal.paint(f"{source} | {self._clean(line)}", "dim"))

    def _finish_lines(self) -> None:
        for source, line in self._lines.finish():
            self._foreign(source, line)

    def _warn(self, event: events.Warned) -> None:
        if self._quiet < 2:
            self._prose(f"warning: {self._clean(event.text)}", "yellow")
            if event.hint:
                self._prose(f"  try:   {self._clean(event.hint)}")

    def _finish(self, event: events.Finished) -> None:
        self._finish_lines()
        self._prose(self._clean(f"{event.text} {event.hint}".rstrip()), "green")

    def tick(self) -> None:
        """Say that a silent step still runs: after 10, 30 and 60 seconds, then every minute."""
        with self._lock:
            step = self._step
            if step is None or self._quiet:
                return
            elapsed = self._clock() - step.began
            if elapsed < step.next_beat:
                return
            later = [b for b in _BEATS if b > elapsed]
            step.next_beat = later[0] if later else (elapsed // _MINUTE + 1) * _MINUTE
            detail = f"still running: {step.detail}" if step.detail else "still running"
            self._row(step.phase, step.subject, detail, units.coarse(elapsed))

    def stopping(self) -> None:
        """Say at once that a stop was asked for."""
        with self._lock:
            # It is called on a thread of its own, which may come too late.
            if not self._quiet and not self._ended:
                self._line("Stopping ...")

    def problem(self, error: ShownError) -> None:
        """Show what ended the story; the step that ran is closed with it."""
        with self._lock:
            self._ended = True
            if not self._quiet:
                self._close_step(error)
            if self._writer.used and not isinstance(error, StoppedError):
                self._line("")
            for line in problem.render(error, self._terminal, self._redact):
                self._line(line)

    def _close_step(self, error: ShownError) -> None:
        self._finish_lines()
        step, self._step = self._step, None
        if step is not None and not isinstance(error, StoppedError):
            detail = f"failed while {step.detail}" if step.detail else "failed"
            self._row(step.phase, step.subject, detail, units.duration(self._clock() - step.began))

    def close(self) -> None:
        """End every thread; further events are still written."""
        if self._ticker is not None:
            self._ticker.close()
        with self._lock:
            self._finish_lines()
