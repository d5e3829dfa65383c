"""What a process writes while it starts: at the next start the same is no news, and only shown to those who want all.

Servers greet with some lines each time; between them a change's own line would be hard to find. Numbers in them (times,
process ids) do not count. After a start that went wrong everything is shown.
"""

from __future__ import annotations

import re
from collections import Counter

_NUMBER = re.compile(r"\d+")
_MOST = 200
_AFTERWARDS = 1.0
"""Seconds after a process is up in which it may still greet."""


class Greeting:
    """Of one process, which is starting."""

    def __init__(self) -> None:
        self._known: Counter[str] = Counter()
        self._heard: list[str] = []
        self._until: float | None = None

    def starting(self) -> None:
        """It is started again."""
        if self._until is not None:
            self._known = Counter(self._heard)
        self._heard, self._until = [], None

    def up(self, now: float) -> None:
        """It is up."""
        self._until = now + _AFTERWARDS

    def is_known(self, line: str, now: float) -> bool:
        """Whether the line was among those of the last start, as often as now."""
        if (self._until is not None and now > self._until) or len(self._heard) >= _MOST:
            return False
        plain = _NUMBER.sub("0", line)
        self._heard.append(plain)
        return self._heard.count(plain) <= self._known[plain]
