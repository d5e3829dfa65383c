"""One bin/detect: its output, held until it is known whether anyone needs it, and how it ended (DET-11, DET-27)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from packrunner.lifecycle.explain import Said, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.engines.base import Exit, Stream
    from packrunner.formats.plan import DetectPlan
    from packrunner.lifecycle.explain import Status
    from packrunner.lifecycle.resolve import Problem

PASS, FAIL = 0, 100
MAX_OUTPUT = 1 << 20
"""Bytes of output that are kept: the last ones, where a buildpack prints more."""


class Held:
    """Receives both streams of one command in order."""

    __slots__ = ("_chunks", "_size", "cut")

    def __init__(self) -> None:
        self._chunks: deque[tuple[Stream, bytes]] = deque()
        self._size = 0
        self.cut = False

    def __call__(self, stream: Stream, data: bytes) -> None:
        self._chunks.append((stream, data))
        self._size += len(data)
        while self._size > MAX_OUTPUT:
            old, lost = self._chunks.popleft()
            over = self._size - MAX_OUTPUT
            self._size -= min(len(lost), over)
            if over < len(lost):
                self._chunks.appendleft((old, lost[over:]))
            self.cut = True

    @property
    def chunks(self) -> list[tuple[Stream, bytes]]:
        """What is kept."""
        return list(self._chunks)


class Run(msgspec.Struct, kw_only=True):
    """What one bin/detect did: `code` is None where it did not run, `error` says why it gave no answer."""

    code: int | None
    held: Held = msgspec.field(default_factory=Held)
    error: str = ""
    plan: DetectPlan | None = None
    _said: Said | None = None

    @property
    def said(self) -> Said:
        """Its output, taken apart."""
        if self._said is None:
            self._said = said(self.held.chunks)
        return self._said

    @property
    def why(self) -> str:
        """The reason for an answer that is not yes."""
        if not self.error and self.code == FAIL:
            return self.said.reason or "bin/detect gave no reason (exit 100)"
        return self.error

    @property
    def terse(self) -> bool:
        """It said no and its reason, nothing else."""
        return not self.error and self.code == FAIL and self.said.terse


def ending(ended: Exit, held: Held) -> str:
    """What kept a bin/detect from answering; empty when it answered, with 0 or 100."""
    if ended.error:
        return f"bin/detect did not start: {ended.error}"
    if ended.timed_out:
        return "bin/detect took too long"
    if ended.signal is not None:
        return f"bin/detect was ended by signal {ended.signal}"
    if ended.code in {PASS, FAIL}:
        return ""
    lines = said(held.chunks).lines
    return f"exit {ended.code}: {lines[-1]}" if lines else f"bin/detect ended with exit {ended.code} and no message"


def status(run: Run, problems: Sequence[Problem], *, optional: bool) -> Status:
    """What a run, and the problems its plan met, make of a member."""
    if run.error:
        # An optional member that was made for another target is just left out (TGT-06).
        return "skipped" if optional and run.code is None else "errored"
    if run.code == FAIL:
        return "skipped" if optional else "failed"
    if problems:
        return "skipped" if optional else "unmet"
    return "passed"
