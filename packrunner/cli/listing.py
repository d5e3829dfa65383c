"""The images of a store as rows, for people and for programs."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.cli.reference import short
from packrunner.console import layout, units
from packrunner.console.machine import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.console.terminal import Terminal
    from packrunner.images.image import Image
    from packrunner.images.store import StoredImage


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One image; sizes in bytes, `unique` of layers that no other image has."""

    name: str
    digest: str
    platform: str
    size: int
    unique: int
    written_at: float
    blobs: frozenset[tuple[str, int]]

    def to_json(self) -> dict[str, Any]:
        """The row as JSON's own types."""
        return {
            "name": self.name,
            "digest": self.digest,
            "platform": self.platform,
            "size": self.size,
            "unique": self.unique,
            "built": timestamp(self.written_at),
        }

    def tabbed(self) -> str:
        """Full values, separated by tabs."""
        return "\t".join(str(value) for value in self.to_json().values())


def platform(image: Image) -> str:
    """`linux/amd64`, `linux/arm64/v8`."""
    return "/".join(part for part in (image.os, image.architecture, image.variant) if part)


def blobs(image: Image) -> frozenset[tuple[str, int]]:
    """An image's layers: (digest, size)."""
    return frozenset((layer.blob.digest, layer.blob.size) for layer in image.layers)


def rows(stored: Iterable[StoredImage]) -> list[Row]:
    """Rows, newest first."""
    images = list(stored)
    used = Counter(blob for image in {i.digest: i.image for i in images}.values() for blob in blobs(image))
    found = [
        Row(
            name=stored.name,
            digest=stored.digest,
            platform=platform(stored.image),
            size=sum(size for _, size in blobs(stored.image)),
            unique=sum(blob[1] for blob in blobs(stored.image) if used[blob] == 1),
            written_at=stored.written_at,
            blobs=blobs(stored.image),
        )
        for stored in images
    ]
    return sorted(found, key=lambda r: (-r.written_at, r.name))


def table(found: list[Row], terminal: Terminal, *, full: bool = False, now: float | None = None) -> list[str]:
    """The table for a terminal: PLATFORM and UNIQUE give way first, then names are cut in the middle."""
    if not found:
        return ["No images yet. Make one: packrunner build"]
    now = time.time() if now is None else now
    columns = ["NAME", "DIGEST", "PLATFORM", "SIZE", "UNIQUE", "BUILT"]
    cells = [
        {
            "NAME": short(row.name) or "(no name)",
            "DIGEST": row.digest if full else units.short(row.digest),
            "PLATFORM": row.platform,
            "SIZE": units.size(row.size),
            "UNIQUE": units.size(row.unique),
            "BUILT": units.age(now - row.written_at),
        }
        for row in found
    ]
    width = terminal.table_width
    for optional in ("PLATFORM", "UNIQUE"):
        if _width(columns, cells) > width:
            columns.remove(optional)
    excess = _width(columns, cells) - width
    if excess > 0:
        longest = max(len(row["NAME"]) for row in cells)
        limit = max(8, longest - excess)
        cells = [row | {"NAME": units.shorten_middle(row["NAME"], limit, ellipsis=terminal.ellipsis)} for row in cells]
    right = frozenset(i for i, name in enumerate(columns) if name in {"SIZE", "UNIQUE"})
    lines = layout.table(tuple(columns), [tuple(row[name] for name in columns) for row in cells], right=right)
    everything = frozenset[tuple[str, int]]().union(*(row.blobs for row in found))
    total = f"{units.number(len(found), 'image')}, {units.size(sum(size for _, size in everything))} on disk"
    return [*lines, total]


def _width(columns: list[str], cells: list[dict[str, str]]) -> int:
    return sum(max(len(name), *(len(row[name]) for row in cells)) + 3 for name in columns) - 3
