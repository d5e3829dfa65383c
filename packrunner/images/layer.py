"""The one reproducible layer writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packrunner.images.image import Layer
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A host directory that becomes `target` in the image; the directory itself gets an entry (unless "/").

    Everything in it belongs to uid:gid, whoever owns it here (EXP-08); `owners` overrides by path relative to the
    tree ("" is its root). `upper` is an overlay's upper directory, merged over `source`. `skip` names entries at the top.
    `only` and `exclude` are paths relative to the tree: a directory takes all below it; the parents of `only` are
    written too (EXP-12 to EXP-15).
    """

    source: str
    target: str
    uid: int
    gid: int
    upper: str | None = None
    skip: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    owners: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dir:
    """A directory entry, such as a parent of a tree."""

    target: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file from `data`, or from the host's file `source`."""

    target: str
    data: bytes | None = None
    source: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link to `to`, stored verbatim."""

    target: str
    to: str
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """`changed` counts the entries written anew; `tables` has each tree's scan (as fingerprint.scan gives), by source."""

    layer: Layer
    spliced: bool
    unchanged: bool
    changed: int
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, bytes] = field(default_factory=dict)


def write_layer(
    store: LocalStore, parts: Sequence[Tree | Dir | File | Link], *, created_by: str, previous: Digest | None = None
) -> WrittenLayer:
    raise NotImplementedError
