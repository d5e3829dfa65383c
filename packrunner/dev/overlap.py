"""Whether two patterns can mean the same path: what to know before rules are said without their order."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from packrunner.dev.patterns import ANY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


@lru_cache(maxsize=4096)
def meets(first: str, second: str) -> bool:
    """Whether there is a path that both patterns match."""
    return _meet(first.split("/"), second.split("/"), ANY, _names_meet)


def _names_meet(first: str, second: str) -> bool:
    return _meet(first, second, "*", _letters_meet)


def _letters_meet(first: str, second: str) -> bool:
    return first == second or "?" in {first, second}


def _meet(first: Sequence[T], second: Sequence[T], star: T, same: Callable[[T, T], bool]) -> bool:
    """Whether both can be written out to one text: reachable pairs of places in them, a row for each place of `first`.

    A star of one may stand for anything of the other, the other's star included.
    """
    row = _starting(second, star)
    for item in first:
        below = [row[0] and item == star]
        for column, other in enumerate(second):
            if star in {item, other}:
                fits = (item == star and row[column + 1]) or (other == star and below[column])
                fits = fits or (item == star and below[column]) or (other == star and row[column + 1])
            else:
                fits = row[column] and same(item, other)
            below.append(fits)
        row = below
    return row[-1]


def _starting(second: Sequence[T], star: T) -> list[bool]:
    row = [True]
    for other in second:
        row.append(row[-1] and other == star)
    return row
