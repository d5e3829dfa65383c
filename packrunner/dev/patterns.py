"""Which paths a rule means: `*` and `?` stay within a name, a name `**` stands for any number of directories.

Patterns are anchored, and case counts. `tests/patterns.json` is the table of cases for this and for the reloader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

ANY = "**"


def matches(pattern: str, path: str) -> bool:
    """Whether `pattern` means `path`, which is relative, with `/`; `public/**` means `public` too."""
    return _fits(pattern.split("/"), path.split("/"), ANY, _name_fits)


def _name_fits(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    return _fits(pattern, name, "*", _letter_fits)


def _letter_fits(wanted: str, letter: str) -> bool:
    return wanted in {"?", letter}


def _fits(pattern: Sequence[T], text: Sequence[T], star: T, same: Callable[[T, T], bool]) -> bool:
    """Match one by one; what does not fit is given to the latest star, so that no pattern takes more than |p| * |t|."""
    p = t = 0
    after_star = retry = -1
    while t < len(text):
        if p < len(pattern) and pattern[p] == star:
            p += 1
            after_star, retry = p, t
        elif p < len(pattern) and same(pattern[p], text[t]):
            p += 1
            t += 1
        elif after_star >= 0:
            retry += 1
            p, t = after_star, retry
        else:
            return False
    return all(rest == star for rest in pattern[p:])
