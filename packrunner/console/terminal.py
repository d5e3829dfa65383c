"""What a stream can show, decided once per stream: colour, width, motion, and which characters.

Colour and motion are separate: FORCE_COLOR colours a pipe, and never makes it move.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

ColorChoice = Literal["auto", "always", "never"]

PROSE_WIDTH = 100
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
Style = Literal["bold", "dim", "red", "green", "yellow", "blue", "magenta", "cyan"]


def wants_color(choice: ColorChoice, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """`--color`, then NO_COLOR, then FORCE_COLOR and CLICOLOR_FORCE, then whether the stream is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in {"", "0", "false"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and environ.get("TERM") != "dumb"


def wants_motion(environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether lines may be redrawn: a terminal that can, and no CI."""
    return is_terminal and environ.get("TERM") != "dumb" and not environ.get("CI")


def _terminal_width(stream: TextIO, environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or PROSE_WIDTH
    except (OSError, ValueError):
        return PROSE_WIDTH


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about one stream; `width` is for prose and rows (at most 100), `table_width` for tables."""

    color: bool = False
    motion: bool = False
    is_terminal: bool = False
    table_width: int = PROSE_WIDTH
    ellipsis: str = "..."

    @property
    def width(self) -> int:
        """Columns for prose, 20 to 100."""
        return max(20, min(self.table_width, PROSE_WIDTH))

    @classmethod
    def of(cls, stream: TextIO | None, environ: Mapping[str, str], color: ColorChoice = "auto") -> Terminal:
        """Look at a stream, which may be closed (None)."""
        if stream is None:
            return cls()
        try:
            is_terminal = stream.isatty()
        except ValueError:
            is_terminal = False
        try:
            "\u2026".encode(getattr(stream, "encoding", None) or "ascii")
            ellipsis = "\u2026"
        except (UnicodeEncodeError, LookupError):
            ellipsis = "..."
        return cls(
            color=wants_color(color, environ, is_terminal=is_terminal),
            motion=wants_motion(environ, is_terminal=is_terminal),
            is_terminal=is_terminal,
            table_width=_terminal_width(stream, environ),
            ellipsis=ellipsis,
        )

    def paint(self, text: str, style: Style) -> str:
        """The text in a style, reset at its end; unchanged without colour."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text else text


class Stream(Protocol):
    """What a Writer needs of a file."""

    def write(self, text: str, /) -> int:
        """Take text."""

    def flush(self) -> None:
        """Hand it on."""


class Writer:
    """A stream that may be closed, full or gone: writing never raises, and after the first failure is given up."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.used = False

    def write(self, text: str) -> None:
        """Write and flush."""
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None
            else:
                self.used = True

    def line(self, text: str = "") -> None:
        """Write one line."""
        self.write(text + "\n")
