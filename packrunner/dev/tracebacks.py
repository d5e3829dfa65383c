"""What an application writes, line by line; a Python traceback is held for a moment, in case it is its last words.

When the application ends then, only what says why is shown: the last place in its own files, and the error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HELD = 0.3
"""How long, in seconds, a traceback may wait for the end of its process."""
_BEGINNING = "Traceback (most recent call last):"
_FRAME = re.compile(r'\s*File "([^"]+)", line \d+')
_MOST = 8


class Lines:
    """The lines of one process."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"
        self._held: list[str] = []
        self._whole = False

    @property
    def holding(self) -> bool:
        """Whether lines wait for `crashed` or `release`."""
        return bool(self._held)

    def feed(self, line: str) -> list[str]:
        """The lines that can be shown now that this one came."""
        if line.startswith(_BEGINNING):
            # Of several, each is the reason for the next.
            earlier, self._held, self._whole = self._held, [line], False
            return earlier
        if not self._held:
            return [line]
        if self._whole and line.strip():
            return [*self.release(), line]
        self._held.append(line)
        # The error itself is the first line that is not indented; Python may add notes below.
        self._whole = self._whole or not line.startswith((" ", "\t"))
        return []

    def release(self) -> list[str]:
        """What was held."""
        held, self._held, self._whole = self._held, [], False
        return held

    def crashed(self) -> tuple[str, ...]:
        """The process has ended: what to show of its last words; nothing where all of them have been shown."""
        held = self.release()
        return self._shortened(held) if held else ()

    def _shortened(self, held: Sequence[str]) -> tuple[str, ...]:
        frames = [i for i, line in enumerate(held) if _FRAME.match(line)]
        own = [i for i in frames if self._is_own(held[i])]
        if not frames:
            return tuple(held[-_MOST:])
        start = (own or frames)[-1]
        end = next((i for i in frames if i > start), len(held))
        errors = [line for line in held[frames[-1] + 1 :] if line[:1].strip()]
        place = [line.replace(self._root, "") for line in held[start:end] if line[:1].isspace()][:2]
        return tuple([*place, *(errors or held[-1:])][:_MOST])

    def _is_own(self, line: str) -> bool:
        found = _FRAME.match(line)
        return found is not None and found[1].startswith(self._root)
