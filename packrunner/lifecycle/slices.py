"""The application cut into layers by buildpacks' slices (EXP-12 - EXP-15).

Patterns are those of Go's filepath.Match, on paths relative to the application: `*` and `?` stop at `/`, nothing is
recursive, and a directory that matches takes all below it.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packrunner.formats.layer import Slice
    from packrunner.images.layer import Tree

_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")


def cut(app: Tree, slices: Sequence[Slice]) -> tuple[Tree | None, ...]:
    """One tree a slice, in order, and one with the rest; None for a slice that nothing is left for.

    What several slices match belongs to the first. Raises ExportError for a pattern that is none.
    """
    if not slices:
        return (app,)
    paths = list(app_paths(app))
    taken: frozenset[str] = frozenset()
    trees: list[Tree | None] = []
    for part in slices:
        found = matches(part.paths, paths, app_dir=app.target)
        left = frozenset(p for p in found if not _below(p, taken))
        trees.append(msgspec.structs.replace(app, only=left, exclude=app.exclude | taken) if left else None)
        taken |= found
    return (*trees, msgspec.structs.replace(app, exclude=app.exclude | taken))


def matches(patterns: Iterable[str], paths: Iterable[str], *, app_dir: str) -> frozenset[str]:
    """The paths that one of the patterns matches; absolute patterns count from `app_dir` (EXP-14)."""
    plain = [p for p in (_relative(pattern, app_dir) for pattern in patterns) if p is not None]
    expressions = [re.compile(translate(p), re.DOTALL) for p in plain]
    return frozenset(path for path in paths if any(e.fullmatch(path) for e in expressions))


def translate(pattern: str) -> str:
    """A pattern of Go's filepath.Match as a regular expression. Raises ExportError for a malformed one."""
    out: list[str] = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        i += 1
        if c == "*":
            out.append("[^/]*")
        elif c == "?":
            out.append("[^/]")
        elif c == "[":
            text, i = _character_class(pattern, i)
            out.append(text)
        elif c == "\\":
            if i == len(pattern):
                raise _malformed(pattern)
            out.append(re.escape(pattern[i]))
            i += 1
        else:
            out.append(re.escape(c))
    return "".join(out)


def _character_class(pattern: str, i: int) -> tuple[str, int]:
    """A class whose `[` ends before `i`, and the position after its `]`."""
    negated = pattern[i : i + 1] == "^"
    i += negated
    ranges: list[str] = []
    while not (ranges and pattern[i : i + 1] == "]"):
        low, i = _class_character(pattern, i)
        high = low
        if pattern[i : i + 1] == "-":
            high, i = _class_character(pattern, i + 1)
        # A range that ends before it starts matches nothing, in Go.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if negated:
        # Go's negated classes match every character but these; a separator cannot be asked for.
        return (f"[^/{inside}]" if inside else "[^/]"), i + 1
    return (f"(?!/)[{inside}]" if inside else r"(?!)"), i + 1


def _class_character(pattern: str, i: int) -> tuple[str, int]:
    c = pattern[i : i + 1]
    if c in {"", "-", "]"}:
        raise _malformed(pattern)
    if c == "\\":
        i += 1
        c = pattern[i : i + 1]
    if not c or i + 1 >= len(pattern):
        raise _malformed(pattern)
    return c, i + 1


def _malformed(pattern: str) -> ExportError:
    return ExportError(
        f"{pattern!r} is not a pattern for files",
        slug="slice-pattern",
        cause="patterns of [[slices]] follow Go's filepath.Match: * ? [a-z] [^a-z] and \\ before a special character",
    )


def _relative(pattern: str, app_dir: str) -> str | None:
    """The pattern relative to the application; None for one that points elsewhere."""
    if pattern.startswith("/"):
        clean = posixpath.normpath(pattern)
        if clean != app_dir and not clean.startswith(app_dir + "/"):
            return None
        pattern = clean[len(app_dir) + 1 :]
    clean = posixpath.normpath(pattern)
    if clean == ".." or clean.startswith("../"):
        return None
    # The directory itself: all that is in it.
    return "*" if clean == "." else clean


def _below(path: str, taken: frozenset[str]) -> bool:
    if path in taken:
        return True
    at = path.rfind("/")
    while at > 0:
        if path[:at] in taken:
            return True
        at = path.rfind("/", 0, at)
    return False


def app_paths(app: Tree) -> Iterator[str]:
    """Every path of the application as it is after the build: the upper tree of an overlay counts over the lower."""
    pending = [("", True)]
    while pending:
        base, in_lower = pending.pop()
        lower = _entries(app.source, base) if in_lower and not _opaque(app, base) else {}
        upper = _entries(app.upper, base) if app.upper else {}
        for name in sorted(lower.keys() | upper.keys()):
            path = base + name
            mode = upper.get(name, lower.get(name, 0))
            whiteout = stat.S_ISCHR(mode)
            if whiteout or (not base and name in app.skip) or path in app.exclude:
                continue
            yield path
            if stat.S_ISDIR(mode):
                # A lower link or file under an upper directory is hidden, and must not be walked through.
                pending.append((f"{path}/", stat.S_ISDIR(lower.get(name, 0))))


def _entries(tree: str, base: str) -> dict[str, int]:
    try:
        with os.scandir(os.path.join(tree, base)) as found:
            return {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in found}
    except FileNotFoundError:
        return {}


def _opaque(app: Tree, base: str) -> bool:
    """Whether a directory of the upper tree hides all of the lower one's at its place."""
    for name in _OPAQUE if app.upper and base else ():
        try:
            if os.getxattr(os.path.join(app.upper or "", base), name) == b"y":
                return True
        except OSError:
            continue  # not in the upper tree, or not marked
    return False
