"""What a layer is made of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A host directory that becomes `target` in the image; the directory itself gets an entry (unless at "/").

    Everything in it belongs to uid:gid, whoever owns it here (EXP-08); `owners` overrides by path relative to the
    tree ("" is its root). `upper` is an overlay's upper directory, merged over `source`. `skip` names entries at the
    top. `only` and `exclude` are paths relative to the tree: a directory takes all below it; the parents of `only`
    are written too (EXP-12 to EXP-15). `table` is the fingerprint of `source`, taken a moment ago with `skip`: with
    it, what the previous layer has already need not be looked at again.
    """

    source: str
    target: str
    uid: int
    gid: int
    upper: str | None = None
    skip: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    owners: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    table: bytes | None = None


class Dir(msgspec.Struct, frozen=True, kw_only=True):
    """A directory entry, such as a parent of a tree."""

    target: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A regular file from `data`, or from the host's regular file `source` (not a link)."""

    target: str
    data: bytes | None = None
    source: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A symbolic link to `to`, stored verbatim."""

    target: str
    to: str
    uid: int = 0
    gid: int = 0


Part = Tree | Dir | File | Link


def relative(target: str) -> str:
    """An absolute path in the image as the archive names it: "" is the root. Raises ExportError (`image-path`)."""
    plain = target.strip("/")
    parts = plain.split("/")
    if not target.startswith("/") or "\0" in target or (plain and not {"", ".", ".."}.isdisjoint(parts)):
        raise ExportError(f"{target!r} is not a plain absolute path in an image", slug="image-path")
    return plain


def check(parts: Sequence[Part]) -> None:
    """Refuse parts that would put two entries under one name (ARC-35). Raises ExportError (`duplicate-entry`)."""
    seen: set[str] = set()
    for part in parts:
        target = relative(part.target)
        if target in seen:
            raise _duplicate(part.target)
        seen.add(target)
    trees = [part for part in parts if isinstance(part, Tree)]
    for tree in trees:
        top = relative(tree.target)
        beneath = top + "/" if top else ""
        for target in seen:
            if target != top and target.startswith(beneath) and _has(tree, target[len(beneath) :]):
                raise _duplicate("/" + target)


def _has(tree: Tree, path: str) -> bool:
    return any(os.path.lexists(os.path.join(root, path)) for root in (tree.source, tree.upper) if root)


def _duplicate(target: str) -> ExportError:
    return ExportError(f"a layer would have two entries for {target}", slug="duplicate-entry")
