"""What a Procfile says, in the union of the dialects in use, with a warning for what only some of them accept.

A line is `name: command`. Names are letters, digits, `-` and `_`; `#` begins a comment line; a later line of the same
name wins. Byte order marks, CRLF and spaces around the name are put up with.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Warn = Callable[[int, str], None]

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def parse(text: str, warn: Warn) -> dict[str, str]:
    """The commands by process name, in the order of the lines; `warn` is given a line number and what is odd there."""
    processes: dict[str, str] = {}
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.rstrip(" \t\r")
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            continue
        pair = _pair(line, number, warn)
        if pair is None:
            continue
        name, command = pair
        if name in processes:
            warn(number, f"{name} is there twice; this line wins")
        processes[name] = command
    return processes


def _pair(line: str, number: int, warn: Warn) -> tuple[str, str] | None:
    before, colon, command = line.partition(":")
    name = before.strip(" \t")
    if not colon or not name or not _NAME.issuperset(name):
        warn(number, "not `name: command`, left out; names are letters, digits, - and _")
        return None
    if name != before:
        warn(number, f"spaces around the name {name}; other platforms refuse them")
    command = command.strip(" \t")
    if not command:
        warn(number, f"{name} has no command, left out")
        return None
    return name, command


def default_process(names: list[str]) -> str:
    """The process to start when none is asked for: web, else worker, else the only one; empty for none."""
    for wanted in ("web", "worker"):
        for name in names:
            if name.lower() == wanted:
                return name
    return names[0] if len(names) == 1 else ""
