""".dockerignore: what of an application is left out where its project file says nothing (PRJ-03).

Not the language of `.gitignore`: a pattern is anchored at the top unless it begins with `**/`, a slash at either end
means nothing, and of the lines that mean a path, or a directory above it, the last one counts. So `!` brings back what
is in a directory that an earlier line left out.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = ".dockerignore"


class Pattern(msgspec.Struct, frozen=True):
    """One line; `back` is one with `!`, which brings back what it means."""

    text: str
    back: bool = False


def read(data: bytes, *, where: str) -> tuple[Pattern, ...]:
    """The patterns of a file. Raises UsageError, slug `pattern`, naming the line that is wrong."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where} is not UTF-8", slug="pattern", at=f"{where}:{number}") from error
    found: list[Pattern] = []
    for number, line in enumerate(text.splitlines(), 1):
        back = line.strip().startswith("!")
        pattern = line.strip().removeprefix("!").strip()
        if line.startswith("#") or not (pattern or back):
            continue
        pattern = posixpath.normpath("/" + pattern).lstrip("/")
        try:
            _expression(pattern)
        except re.error as error:
            raise _unreadable(line, str(error), f"{where}:{number}") from error
        if back and not pattern:
            raise _unreadable(line, "it brings back nothing", f"{where}:{number}")
        if pattern:
            found.append(Pattern(pattern, back))
    return tuple(found)


class Matcher:
    """Whether patterns leave out a path."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        # The last line counts: from the end, lines of one kind together.
        self._runs: list[tuple[bool, re.Pattern[str]]] = []
        run: list[str] = []
        ordered = list(patterns)[::-1]
        for i, one in enumerate(ordered):
            run.append(_expression(one.text).pattern)
            if i == len(ordered) - 1 or ordered[i + 1].back != one.back:
                self._runs.append((one.back, re.compile("|".join(run), re.DOTALL)))
                run = []
        self.brings_back = any(back for back, _ in self._runs)

    def __call__(self, path: str) -> bool:
        """Whether the path, relative and with `/`, is left out."""
        for back, expression in self._runs:
            if expression.match(path):
                return not back
        return False


def _expression(pattern: str) -> re.Pattern[str]:
    """What a pattern means: a path, and all that is below it.

    What stands between two `**`, or two `*` of a name, is looked for once, and the first place is kept (`(?>`): a later
    one would leave less for what follows. So no pattern takes exponential time.
    """
    if re.search(r"\*\*/?\Z", pattern):
        pattern = re.sub(r"(\*\*/?)+\Z", "", pattern)
        end = r".+\Z"
    else:
        end = r"(?:/.*)?\Z"
    first, *others = ("/".join(map(_name, run.split("/"))) for run in re.split(r"\*\*/?", pattern))
    inner = [f"(?>(?:.*?/)??{run})" for run in others[:-1]]
    return re.compile("".join([first, *inner, *(f"(?:.*/)?{run}" for run in others[-1:]), end]), re.DOTALL)


def _name(text: str) -> str:
    first, *others = _split(text)
    inner = [f"(?>[^/]*?{part})" for part in others[:-1]]
    return "".join([first, *inner, *(f"[^/]*{part}" for part in others[-1:])])


def _split(text: str) -> list[str]:
    """Expressions for what stands between the stars of a name."""
    parts = [""]
    at = 0
    while at < len(text):
        char, rest = text[at], text[at + 1 :]
        at += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "[^/]"
        elif char == "[":
            end = text.find("]", at + (2 if rest.startswith("^") else 1))
            if end < 0:
                raise re.error("a [ without its ]")
            inner = re.sub(r"([\[&|~])", r"\\\1", text[at:end])
            parts[-1] += f"(?!/)[{inner}]"
            at = end + 1
        elif char == "\\":
            if not rest:
                raise re.error("a \\ with nothing after it")
            parts[-1] += re.escape(rest[0])
            at += 1
        else:
            parts[-1] += re.escape(char)
    return parts


def _unreadable(line: str, why: str, at: str) -> UsageError:
    return UsageError(
        f"{NAME}: the line {line.strip()!r} cannot be read",
        slug="pattern",
        cause=why,
        at=at,
        tries=("remove the line, or write exclude = [...] below [io.buildpacks] in project.toml",),
    )
