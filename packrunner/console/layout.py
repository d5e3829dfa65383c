"""Rows in their columns: two spaces, phase (8), subject (20), detail, and a value right-aligned at column 88.

In a terminal too narrow for a row the detail is cut, never the subject, the reason in brackets at the end of the
detail, or the value. In a pipe nothing is cut: what does not fit goes to the next line.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from packrunner.console import units

if TYPE_CHECKING:
    from packrunner.console.terminal import Terminal

RIGHT = 88
SUBJECT = 12
DETAIL = 32


def row(
    phase: str, subject: str, detail: str, value: str, terminal: Terminal, *, indent: int = SUBJECT, cut: bool = False
) -> list[str]:
    """One step or layer as a line, or a few; `cut` shortens to one line."""
    right = min(RIGHT, terminal.width)
    head = f"  {phase:<8}  " if phase else " " * SUBJECT
    head = head[:SUBJECT].ljust(indent)
    start = max(DETAIL, indent + len(subject) + 2)
    room = right - start - (len(value) + 1 if value else 0)
    first, rest = _fit(detail, room, terminal, cut=cut)
    left = f"{head}{subject}".ljust(start) + first
    gap = " " * max(1, right - len(left) - len(value))
    line = _painted(head, subject, left, terminal)
    lines = [line + gap + terminal.paint(value, "dim") if value else line.rstrip()]
    return lines + [" " * min(DETAIL, right // 2) + more for more in rest]


def _painted(head: str, subject: str, left: str, terminal: Terminal) -> str:
    return head + terminal.paint(subject, "bold") + left[len(head) + len(subject) :]


def _fit(detail: str, room: int, terminal: Terminal, *, cut: bool) -> tuple[str, list[str]]:
    if not detail.strip():
        return "", []
    if len(detail) <= room:
        return detail, []
    if not cut:
        wrapped = textwrap.wrap(detail, max(room, 20), break_long_words=False, break_on_hyphens=False)
        return (wrapped[0], wrapped[1:]) if room >= len(wrapped[0]) else ("", wrapped)
    text, bracket, reason = detail.rpartition(" (")
    if not bracket or not reason.endswith(")"):
        return units.shorten(detail, room, ellipsis=terminal.ellipsis), []
    reason = f"({reason}"
    if len(reason) + 8 <= room:
        return f"{units.shorten(text, room - len(reason) - 1, ellipsis=terminal.ellipsis)} {reason}", []
    return units.shorten(text, room, ellipsis=terminal.ellipsis), [reason]


def wrap(text: str, terminal: Terminal, *, indent: int = 2, lead: int = 0) -> list[str]:
    """Prose in lines no wider than the terminal or 100; words, and what can be pasted, are never broken."""
    lines = textwrap.wrap(
        text,
        terminal.width,
        initial_indent=" " * lead,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return lines or [" " * lead]


def foreign(text: str, terminal: Terminal, *, indent: int = SUBJECT, cut: bool = False) -> str:
    """A line of somebody else's output below our step."""
    if cut:
        text = units.shorten(text, terminal.width - indent - 2, ellipsis=terminal.ellipsis)
    return " " * indent + terminal.paint(f"| {text}", "dim")


def table(heading: tuple[str, ...], rows: list[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Aligned columns, three spaces apart; columns in `right` are aligned at their end."""
    widths = [max(len(line[i]) for line in (heading, *rows)) for i in range(len(heading))]
    lines = []
    for line in (heading, *rows):
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        lines.append("   ".join(cells).rstrip())
    return lines
