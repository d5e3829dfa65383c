"""Which paths a rule means: `*` and `?` stay within a name, a name `**` stands for any number of directories.

Patterns are anchored, and case counts. `tests/patterns.json` is the table of cases for this and for the reloader.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = "**"


def matches(pattern: str, path: str) -> bool:
    """Whether `pattern` means `path`, which is relative, with `/`; `public/**` means `public` too."""
    return _compiled(pattern).match(path + "/") is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression for a path with `/` at its end.

    What stands between two stars is looked for once, and the first place is kept (`(?>`): a later one would leave less
    for what follows. So no pattern takes exponential time.
    """
    first, *others = _runs(pattern.split("/"))
    parts = [first]
    for i, run in enumerate(others):
        names = "(?:[^/]+/)*"
        parts.append(f"{names}{run}" if i == len(others) - 1 else f"(?>{names}?{run})")
    return re.compile("".join(parts) + r"\Z", re.DOTALL)


def _runs(names: list[str]) -> Iterator[str]:
    """What stands between the names `**`."""
    run = ""
    for name in names:
        if name == ANY:
            yield run
            run = ""
        else:
            run += _name(name) + "/"
    yield run


def _name(name: str) -> str:
    first, *others = ("".join("[^/]" if c == "?" else re.escape(c) for c in part) for part in name.split("*"))
    inner = [f"(?>[^/]*?{part})" for part in others[:-1]]
    return "".join([first, *inner, *(f"[^/]*{part}" for part in others[-1:])])
