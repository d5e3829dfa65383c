"""Values of `-e` and `--publish`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def pairs(items: Iterable[str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE`, or `NAME` with its value here (left out where it has none). Raises UsageError."""
    merged: dict[str, str] = {}
    for text in items:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(
                "a value without a name does not name a variable",
                slug="env",
                tries=("write NAME=VALUE, or NAME to pass the value that NAME has here",),
            )
        if equals:
            merged[name] = value
        elif name in environ:
            merged[name] = environ[name]
    return tuple(merged.items())


def ports(text: str) -> tuple[int, int]:
    """`8080:8000`, or `8000` for both. Raises UsageError."""
    host, _, inside = text.partition(":")
    numbers = tuple(int(p) if p.isascii() and p.isdigit() and len(p) < 6 else 0 for p in (host, inside or host))
    if not all(0 < n < 65536 for n in numbers):
        raise UsageError(
            f"{text!r} is not a pair of ports",
            slug="publish",
            cause="it has to be HOST:PORT, two numbers from 1 to 65535",
            tries=("--publish 8080:8000",),
        )
    return (numbers[0], numbers[1])
