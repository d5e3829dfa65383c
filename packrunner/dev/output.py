"""What the processes of an application write, made lines for the reporter; see tracebacks.py for those that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner import events
from packrunner.dev.tracebacks import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.engines.base import Stream
    from packrunner.events import Reporter

_LONGEST = 64 << 10


class Output:
    """The output of one version, whose files are below `root` inside."""

    def __init__(self, reporter: Reporter, root: str) -> None:
        self._reporter = reporter
        self._root = root
        self._lines: dict[tuple[str, Stream], Lines] = {}
        self._partial: dict[tuple[str, Stream], bytes] = {}

    @property
    def holding(self) -> bool:
        """Whether lines wait."""
        return any(lines.holding for lines in self._lines.values())

    def feed(self, process: str, stream: Stream, data: bytes) -> None:
        """Show the lines that end in `data`; very long ones in pieces."""
        key = (process, stream)
        *whole, rest = (self._partial.get(key, b"") + data).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        self._partial[key] = rest
        lines = self._lines.setdefault(key, Lines(self._root))
        for line in whole:
            # What the supervisor says of an end is told as `crash`, and must not part a process from its last words.
            if not (line.startswith(b"reloader: ") and line.endswith(b"; waiting for a change")):
                self._show(process, stream, lines.feed(line.decode(errors="replace").rstrip("\r")))

    def release(self) -> None:
        """Show what was held."""
        for (process, stream), lines in self._lines.items():
            self._show(process, stream, lines.release())

    def last_words(self, process: str) -> tuple[str, ...]:
        """The process has ended: what of its output says why, and has not been shown."""
        return tuple(line for (name, _), lines in self._lines.items() if name == process for line in lines.crashed())

    def _show(self, process: str, stream: Stream, lines: Sequence[str]) -> None:
        if lines:
            data = "".join(f"{line}\n" for line in lines).encode()
            self._reporter.emit(events.Output(source=process, stream=stream, data=data))
