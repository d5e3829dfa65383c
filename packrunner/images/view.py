"""The files of an image, read from the trees of its layers as if they were one: whiteouts, opaque directories, links.

Nothing of it is trusted: trees are touched through `confined` only, and a link leads wherever it would lead inside
of the image, never out of it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from packrunner.confined import Kind, Root
from packrunner.errors import UnsafeArchiveError
from packrunner.images.treewrite import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LINKS = 40


class _Place(msgspec.Struct, frozen=True):
    """What a path leads to: its path without links, and the trees that have it, uppermost first."""

    path: str
    kind: Kind
    trees: tuple[Root, ...]


class View:
    """The image whose trees are `lowers`, lowest first; a context manager. Paths are absolute, or from the root.

    Raises UnsafeArchiveError (`unsafe-tree`) for links that never end, files that are not regular where they are
    read, and sizes over the limit.
    """

    def __init__(self, lowers: Sequence[str]) -> None:
        self._held = ExitStack()
        # Trees do not change while they are held.
        self._known: dict[str, _Place | None] = {}
        try:
            roots = [self._held.enter_context(Root.open(path)) for path in reversed(lowers)]
        except BaseException:
            self.close()
            raise
        self._top = _Place("", "dir", _down_to_opaque(roots, ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the trees; a second time does nothing."""
        self._held.close()

    def read(self, path: str, *, limit: int = 4 << 20) -> bytes | None:
        """The content of a file of at most `limit` bytes; None where there is none."""
        found = self._find(path)
        return None if found is None or found.kind == "dir" else found.trees[0].read(found.path, limit=limit)

    def resolve(self, path: str) -> str | None:
        """The path of a file or directory without links on the way; None where nothing is."""
        found = self._find(path)
        return None if found is None else f"/{found.path}"

    def kind(self, path: str) -> Kind | None:
        """What a path leads to, at the end of all links; None where nothing is."""
        found = self._find(path)
        return None if found is None else found.kind

    def names(self, path: str) -> list[str]:
        """What is in a directory, sorted; nothing where there is none."""
        found = self._find(path)
        if found is None or found.kind != "dir":
            return []
        names = {entry.name for tree in found.trees for entry in tree.names(found.path)}
        return sorted(name for name in names if self._child(found, name) is not None)

    def directory(self, path: str) -> str | None:
        """The host path of a directory that is in one layer only, as it is; None where it is not.

        No link is on the way to it, and no other layer adds to it or takes from it.
        """
        found = self._find(path)
        if found is None or found.kind != "dir" or f"/{found.path}" != path or len(found.trees) != 1:
            return None
        return f"{found.trees[0].path}/{found.path}"

    def _find(self, path: str) -> _Place | None:
        way = [self._top]
        todo = list(reversed(path.split("/")))
        links = 0
        while todo:
            name = todo.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                way = way[:-1] or way
                continue
            found = self._child(way[-1], name)
            if found is None or (todo and found.kind not in {"dir", "link"}):
                return None
            if found.kind != "link":
                way.append(found)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise UnsafeArchiveError(f"{path} cannot be followed", slug="unsafe-tree", cause="too many links")
            target = found.trees[0].link(found.path) or ""
            if target.startswith("/"):
                way = [self._top]
            todo += reversed(target.split("/"))
        return way[-1]

    def _child(self, above: _Place, name: str) -> _Place | None:
        if above.kind != "dir":
            return None
        path = f"{above.path}/{name}" if above.path else name
        if path not in self._known:
            self._known[path] = _look(above, path)
        return self._known[path]


def _look(above: _Place, path: str) -> _Place | None:
    """What is at `path` in the directory `above`; a link is not followed."""
    directories: list[Root] = []
    for tree in above.trees:
        kind = tree.kind(path)
        if kind is None:
            continue
        if kind == "dir":
            directories.append(tree)
            continue
        if not directories and kind != "other":
            return _Place(path, kind, (tree,))
        break  # a whiteout, or a file that the directory above it hides
    return _Place(path, "dir", _down_to_opaque(directories, path)) if directories else None


def _down_to_opaque(trees: Sequence[Root], path: str) -> tuple[Root, ...]:
    """The trees whose directory shows: an opaque one hides those below it."""
    shown: list[Root] = []
    for tree in trees:
        shown.append(tree)
        if tree.has_mark(path, OPAQUE, b"y"):
            break
    return tuple(shown)
