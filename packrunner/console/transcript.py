"""What `packrunner dev` shows: where the application is, its output, and a line for each change.

    14:02:31  sync      app/views.py                         reloaded by flask               38ms

A line like the last one within a second becomes `(x3)`: on a terminal in its place, elsewhere when the second is over.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from packrunner import events
from packrunner.console import layout, units
from packrunner.console.plain import PlainReporter, Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.console.redact import Redactor
    from packrunner.console.terminal import Style, Terminal, Writer

_SUBJECT = 20
_DETAIL = 57
_FOLD = 1.0
_PROCESSES: tuple[Style, ...] = ("cyan", "magenta", "blue", "green", "yellow")
_ACTIONS: dict[str, Style] = {"crash": "red", "failed": "red", "ready": "green", "rebuild": "yellow"}


class Transcript(PlainReporter):
    """Append-only, but for folding on terminals that can move; `now` is the time of day."""

    def __init__(
        self,
        writer: Writer,
        terminal: Terminal,
        *,
        quiet: int = 0,
        redact: Redactor | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(writer, terminal, quiet=quiet, redact=redact, clock=clock, beat=0)
        self._now = now
        self._colors: dict[str, Style] = {}
        self._last: tuple[events.Happened, float, int, int] | None = None
        """The last line, when it came, how often, and how many lines it took."""
        self._owed = False
        self._folding = Ticker(self.fold, _FOLD / 4) if not terminal.motion else None

    def _show(self, event: events.Event) -> None:
        match event:
            case events.Ready():
                self._ready(event)
            case events.Happened():
                self._happened(event)
            case events.Output() if event.again:
                pass  # it would hide the line of the change
            case _:
                super()._show(event)

    def _line(self, text: str) -> None:
        self._settle()
        super()._line(text)

    def _foreign(self, source: str, line: str) -> None:
        color = self._colors.setdefault(source, _PROCESSES[len(self._colors) % len(_PROCESSES)])
        self._line(f"{self._terminal.paint(f'{source} |', color)} {self._clean(line)}".rstrip())

    def _ready(self, event: events.Ready) -> None:
        note = f" ({event.note})" if event.note else ""
        text = f"{event.name} ready in {units.duration(event.seconds)}{note}"
        self._line(self._terminal.paint(text, "green"))
        for process, place in event.places:
            self._line(f"  {process:<6}  {self._terminal.paint(place, 'bold')}".rstrip())
        for line in layout.wrap(f"  rules   {self._clean(event.rules)}", self._terminal, indent=10):
            self._line(line)
        if event.keys:
            self._line(f"  keys    {event.keys}")
        self._line("")

    def _happened(self, event: events.Happened) -> None:
        if event.action == "rules":
            for line in event.lines:
                self._line(f"  {self._clean(line)}")
            return
        again = self._again(event)
        if again and self._folding:
            self._owed = True
            self._folding.start()
            return
        if again and self._last:
            self._writer.write(f"\x1b[{self._last[3]}A\x1b[J")
            count = self._last[2]
        else:
            count = 1
            self._settle()
        lines = self._rows(event, count)
        for line in lines:
            self._writer.line(line)
        for line in event.lines:
            self._foreign(event.source, line)
        if event.lines or event.action == "crash":
            self._after(event)
        self._last = None if event.lines or event.action == "crash" else (event, self._clock(), count, len(lines))

    def _again(self, event: events.Happened) -> bool:
        """Whether this is the last line once more; then that is counted."""
        if self._last is None:
            return False
        last, when, count, lines = self._last
        same = (last.action, last.subject, last.detail) == (event.action, event.subject, event.detail)
        if not same or self._clock() - when > _FOLD:
            return False
        self._last = (event, when, count + 1, lines)
        return True

    def fold(self) -> None:
        """Where lines cannot be rewritten: say how often it was, once the second is over."""
        with self._lock:
            if self._owed and self._last and self._clock() - self._last[1] > _FOLD:
                self._settle()

    def _settle(self) -> None:
        """Whatever comes next is another line."""
        last, self._last = self._last, None
        owed, self._owed = self._owed, False
        if owed and last:
            for line in self._rows(last[0], last[2]):
                self._writer.line(line)

    def _rows(self, event: events.Happened, count: int) -> list[str]:
        clock = time.strftime("%H:%M:%S", time.localtime(self._now()))
        style = _ACTIONS.get(event.action)
        action = f"{event.action:<8}"
        subject = self._clean(event.subject)
        detail = "" if event.action == "crash" else self._clean(event.detail)
        value = "" if event.seconds is None else units.duration(event.seconds)
        if count > 1:
            value = f"(x{count}) {value}".rstrip()
        right = min(layout.RIGHT, self._terminal.width)
        left = " " * _SUBJECT + subject
        start = max(min(_DETAIL, right - (layout.RIGHT - _DETAIL)), len(left) + 2)
        room = right - start - (len(value) + 1 if value else 0)
        more = []
        if len(detail) > room:
            if not self._terminal.is_terminal or room < 12:
                more, detail = [" " * _SUBJECT + line for line in layout.wrap(detail, self._terminal, indent=0)], ""
            else:
                detail = units.shorten(detail, room, ellipsis=self._terminal.ellipsis)
        body = (subject.ljust(start - _SUBJECT) + detail) if detail else subject
        gap = " " * max(1, right - _SUBJECT - len(body) - len(value))
        painted = self._terminal.paint(subject, "bold") + body[len(subject) :]
        head = f"{self._terminal.paint(clock, 'dim')}  {self._terminal.paint(action, style) if style else action}  "
        line = head + painted + (gap + self._terminal.paint(value, "dim") if value else "")
        return [line.rstrip(), *more]

    def _after(self, event: events.Happened) -> None:
        if event.action == "crash" and event.detail:
            self._line(f"          {self._clean(event.detail)}")

    def close(self) -> None:
        """Say what is owed."""
        if self._folding is not None:
            self._folding.close()
        with self._lock:
            self._settle()
        super().close()
