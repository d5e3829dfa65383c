"""Where in a TOML file something is, for messages: neither tomllib nor msgspec tell it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_HEADER = re.compile(r"\s*(?P<open>\[\[?)\s*(?P<name>[^\]#]+?)\s*\]")
_KEY = re.compile(r"""\s*(?P<name>[A-Za-z0-9_."'\s-]+?)\s*=""")
_ANY = "[...]"


class Document(msgspec.Struct, frozen=True):
    """A file as it was read, for messages: its text, and what it is called."""

    text: str
    where: str

    def at(self, key: str) -> str:
        """Where a key is."""
        return place(self.text, key, self.where)


def place(text: str, key: str, where: str) -> str:
    """`order.toml:3, key order[0].group[1].id`: where in the text of a file a key is, for a message."""
    line = _line(text, key)
    return f"{where}:{line}, key {key}" if line else f"{where}, key {key}"


def _line(text: str, key: str) -> int:
    """The line of a key, or of the table that lacks it; 0 where that cannot be told.

    tomllib tells no positions. Headers and keys at the start of a line are enough: what is inside of inline tables
    and arrays is on the line of the key that has them.
    """
    wanted, best, depth = key + ".", 0, 0
    counts: dict[str, int] = {}
    table, quote = "", ""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if quote:
            quote = "" if line.count(quote) % 2 else quote
            continue
        header, entry = _HEADER.match(line), _KEY.match(line)
        here = ""
        if header:
            here = table = _table(header["name"], counts, array=header["open"] == "[[")
        elif entry:
            here = ".".join(filter(None, (table, _bare(entry["name"]))))
        fits = wanted.startswith((here + ".", here + "[")) or here == f"{key}[0]"
        if here and fits and len(here) > depth:
            best, depth = number, len(here)
        quote = next((q for q in ('"""', "'''") if line.count(q) % 2), "")
    return best


def _table(name: str, counts: dict[str, int], *, array: bool) -> str:
    """The path of a table with the numbers of the arrays that it is in; each `[[...]]` counts its array on."""
    path = ""
    parts = _bare(name).split(".")
    for i, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if array and i == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def _bare(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def numbered(table: Any, kind: Any, path: str) -> str:
    """The path of msgspec's error with numbers: `order[...].id` becomes `order[3].id`, the first that is wrong."""
    while _ANY in path:
        above = path.partition(_ANY)[0]
        entries = _get(table, above)
        if not isinstance(entries, list):
            return path
        low, high = 0, len(entries) - 1
        while low < high:
            middle = (low + high) // 2
            if _converts(_with(table, above, entries[: middle + 1]), kind):
                low = middle + 1
            else:
                high = middle
        path = path.replace(_ANY, f"[{low}]", 1)
    return path


def _converts(table: Any, kind: Any) -> bool:
    try:
        msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _steps(path: str) -> list[str | int]:
    parts = re.findall(r"[^.\[\]]+|\[\d+\]", path)
    return [int(part[1:-1]) if part.startswith("[") else part for part in parts]


def _get(table: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _with(table: Any, path: str, value: Any) -> Any:
    """The table with another value at `path`, its own left alone."""
    steps = _steps(path)
    if not steps:
        return value
    new = top = table.copy()
    for step in steps[:-1]:
        new[step] = new[step].copy()
        new = new[step]
    new[steps[-1]] = value
    return top
