"""What the processes of an application write, made lines for the reporter; see tracebacks.py for those that wait."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from packrunner import events
from packrunner.dev.greetings import Greeting
from packrunner.dev.tracebacks import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.engines.base import Stream
    from packrunner.events import Reporter

_LONGEST = 64 << 10


class Output:
    """The output of one version, whose files are below `root` inside; `clock` is monotonic, in seconds."""

    def __init__(self, reporter: Reporter, root: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._reporter = reporter
        self._clock = clock
        self._greetings: dict[str, Greeting] = defaultdict(Greeting)
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
            text = line.decode(errors="replace").rstrip("\r")
            # What the supervisor says of an end is told as `crash`, and must not part a process from its last words.
            if text.startswith("reloader: ") and text.endswith("; waiting for a change"):
                continue
            known = not lines.holding and self._greetings[process].is_known(text, self._clock())
            self._show(process, stream, [text] if known else lines.feed(text), again=known)

    def starting(self, process: str) -> None:
        """A process is started again."""
        self._greetings[process].starting()

    def up(self, process: str) -> None:
        """A process is up."""
        self._greetings[process].up(self._clock())

    def release(self) -> None:
        """Show what was held."""
        for (process, stream), lines in self._lines.items():
            self._show(process, stream, lines.release())

    def last_words(self, process: str) -> tuple[str, ...]:
        """The process has ended: what of its output says why, and has not been shown."""
        return tuple(line for (name, _), lines in self._lines.items() if name == process for line in lines.crashed())

    def _show(self, process: str, stream: Stream, lines: Sequence[str], *, again: bool = False) -> None:
        if lines:
            data = "".join(f"{line}\n" for line in lines).encode()
            self._reporter.emit(events.Output(source=process, stream=stream, data=data, again=again))
