"""The renderer for terminals: done work is a line each, only the running step is tall, and redrawn.

rich draws the redrawn part. It is imported on the ticker's thread, once a step has run long enough to be worth it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

from packrunner.console import layout, units
from packrunner.console.plain import LAYER_INDENT, PlainReporter, Step
from packrunner.console.problem import FOREIGN_LINES
from packrunner.console.terminal import Terminal, Writer
from packrunner.errors import ShownError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner import events
    from packrunner.console.redact import Redactor

TAIL = 5
"""Lines of foreign output shown below the running step."""
_WORTH_DRAWING = 0.25
_SHOW_ELAPSED = 2.0
_BAR = 30


class Pace:
    """How long a transfer will still take, said only when its speed is steady."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=20)
        self._total = 0

    def add(self, now: float, done: int, total: int) -> None:
        """Note how far it has come."""
        if self._first is None:
            self._first = (now, done)
        self._recent.append((now, done))
        self._total = total

    @property
    def share(self) -> float | None:
        """The part done, 0 to 1; None when unknown."""
        return min(1.0, self._recent[-1][1] / self._total) if self._total and self._recent else None

    def left(self) -> str:
        """`5 s left`, or nothing."""
        if self._first is None or not self._total:
            return ""
        (t0, d0), (t1, d1), (t2, d2) = self._first, self._recent[0], self._recent[-1]
        if t2 - t0 < 2 or t2 <= t1 or d2 <= d0 or d2 >= self._total:
            return ""
        overall, recent = (d2 - d0) / (t2 - t0), (d2 - d1) / (t2 - t1)
        if not 0.5 < recent / overall < 2:
            return ""
        seconds = (self._total - d2) / recent
        return f"{max(1, round(seconds))} s left" if seconds < 60 else f"{units.coarse(seconds)} left"


class LiveReporter(PlainReporter):
    """For a terminal that can be redrawn."""

    def __init__(
        self,
        stream: TextIO,
        terminal: Terminal,
        *,
        quiet: int = 0,
        redact: Redactor | None = None,
        clock: Callable[[], float] = time.monotonic,
        beat: float = 0.1,
    ) -> None:
        super().__init__(Writer(stream), terminal, quiet=quiet, redact=redact, clock=clock, beat=beat)
        self._stream = stream
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._said: dict[str, deque[str]] = {}
        self._pace = Pace()
        self._live: Any = None
        self._last_phase = ""
        self._headed = False
        self._stop_asked = False

    def _line(self, text: str) -> None:
        self._erase()
        self._last_phase = ""
        super()._line(text)

    def _row(self, phase: str, subject: str, detail: str, value: str) -> None:
        shown = "" if phase == self._last_phase else phase
        rows = layout.row(shown, self._clean(subject), self._clean(detail), value, self._terminal, cut=True)
        for line in rows:
            self._line(line)
        self._last_phase = phase

    def _layer_row(self, event: events.LayerReported) -> None:
        phase = self._last_phase
        value = "" if event.size is None else units.size(event.size)
        name, detail = self._clean(event.name), self._clean(event.detail)
        for line in layout.row("", name, detail, value, self._terminal, indent=LAYER_INDENT, cut=True):
            self._line(line)
        self._last_phase = phase

    def _started(self, event: events.BuildStarted) -> None:
        # Of an application built before, all of this is known.
        if event.note:
            self._line(self._head(event))
            self._line("")
            self._headed = True

    def _finish(self, event: events.Finished) -> None:
        if self._headed:
            self._line("")
        super()._finish(event)

    def _begin(self, event: events.StepStarted) -> None:
        super()._begin(event)
        self._tail.clear()
        self._said.clear()
        self._pace = Pace()

    def _progress(self, event: events.StepProgress) -> None:
        super()._progress(event)
        if event.total:
            self._pace.add(self._clock(), event.done, event.total)

    def _foreign(self, source: str, line: str) -> None:
        if self._step is None:
            super()._foreign(source, line)
        elif line.strip():
            self._tail.append(self._clean(line))
            self._said.setdefault(source, deque(maxlen=FOREIGN_LINES)).append(line)

    def tick(self) -> None:
        """Redraw the running step."""
        with self._lock:
            if self._step is None or self._quiet:
                return
            if self._live is None and self._clock() - self._step.began < _WORTH_DRAWING:
                return
        # Outside the lock: the first import takes longer than anybody should wait for a line.
        import rich.live  # noqa: F401

        with self._lock:
            if self._step is not None:
                self._draw()

    def frame(self) -> list[str]:
        """The running step as it looks now."""
        return self._frame(self._step) if self._step is not None else []

    def _frame(self, step: Step) -> list[str]:
        elapsed = self._clock() - step.began
        value = units.duration(elapsed) if elapsed >= _SHOW_ELAPSED else ""
        left = self._pace.left()
        detail = "stopping" if self._stop_asked else self._clean(step.detail) + (f", {left}" if left else "")
        phase = "" if step.phase == self._last_phase else step.phase
        lines = layout.row(phase, self._clean(step.subject), detail, value, self._terminal, cut=True)
        share = self._pace.share
        if share is not None:
            filled = int(share * _BAR)
            bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] {int(share * 100)}%"
            lines.append(" " * layout.SUBJECT + self._terminal.paint(bar, "dim"))
        return lines + [layout.foreign(text, self._terminal, cut=True) for text in self._tail]

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        text = Text.from_ansi("\n".join(self.frame()), no_wrap=True, overflow="crop")
        try:
            if self._live is None:
                console = Console(
                    file=self._stream,
                    force_terminal=True,
                    force_interactive=True,
                    color_system="standard" if self._terminal.color else None,
                    highlight=False,
                    markup=False,
                    emoji=False,
                )
                self._live = Live(
                    console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
                )
                self._live.start()
            self._live.update(text, refresh=True)
        except (OSError, ValueError):
            # The terminal is gone; the story goes on without pictures.
            self._live = None
            self._quiet = 2

    def _erase(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except (OSError, ValueError):
                self._quiet = 2

    def _done(self, event: events.StepDone) -> None:
        super()._done(event)
        self._tail.clear()

    def stopping(self) -> None:
        """Say at once that a stop was asked for."""
        with self._lock:
            self._stop_asked = True
            super().stopping()

    def problem(self, error: ShownError) -> None:
        """Show what ended the story; of output that was out of sight the end, unless the error has its own."""
        with self._lock:
            self._finish_lines()
            said = {} if error.foreign or isinstance(error, StoppedError) else dict(self._said)
            self._step, step = None, self._step
            for source, lines in said.items():
                for line in lines:
                    super()._foreign(source, line)
            self._step = step
            self._erase()
            super().problem(error)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        super().close()
        with self._lock:
            self._erase()
