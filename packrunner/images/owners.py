"""Whose the files of an image are, by its layers' own headers: unpacked trees of ordinary users cannot say it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.images.extract import Limits
from packrunner.images.inflate import Ahead, Inflow
from packrunner.images.tarread import Tape, TarReader

if TYPE_CHECKING:
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore


def of(image: Image, store: LocalStore) -> dict[str, tuple[int, int]]:
    """The owner and group of every file that is not root's, by path. Raises CorruptError and StoreError."""
    owners: dict[str, tuple[int, int]] = {}
    limits = Limits()
    for layer in image.layers:
        what = f"the layer {layer.diff_id.short}"
        with store.open(layer.blob.digest) as stream:
            inflow = Inflow(stream, what, limit=limits.bytes, ratio=limits.ratio, digest=None, diff_id=None)
            with Ahead(inflow.pieces()) as pieces:
                for member in TarReader(Tape(pieces), what):
                    path = os.fsdecode(os.path.normpath(b"/" + member.name)).lstrip("/")
                    owners[path] = (member.uid, member.gid)
    return {path: ids for path, ids in owners.items() if ids != (0, 0)}
