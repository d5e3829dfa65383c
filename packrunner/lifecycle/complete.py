"""Layers that an image takes over from one that only a registry has: fetched into the store, and only those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.images.image import Descriptor
from packrunner.images.inflate import Inflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore

_LARGEST = 64 << 30
_RATIO = 400


def complete(image: Image, store: LocalStore, stored: Callable[[Layer], BinaryIO]) -> Image:
    """The image with all layers in the store; `stored` gives the bytes of one that is not, as its registry has them.

    They are kept uncompressed, as all layers that are made here, so that the image is the same on every machine.
    Raises CorruptError for bytes that are not the layer, and what `stored` raises.
    """
    fetched = {
        layer.diff_id: _fetch(layer, store, stored)
        for layer in image.layers
        if not store.has(layer.blob.digest, layer.blob.size)
    }
    return image.with_blobs(fetched) if fetched else image


def _fetch(layer: Layer, store: LocalStore, stored: Callable[[Layer], BinaryIO]) -> Descriptor:
    if store.has(layer.diff_id):
        return Descriptor(digest=layer.diff_id, size=os.stat(store.blob_path(layer.diff_id)).st_size)
    what = f"the layer {layer.diff_id.short}"
    with stored(layer) as stream, store.new_blob() as blob:
        inflow = Inflow(stream, what, limit=_LARGEST, ratio=_RATIO, digest=layer.blob.digest, diff_id=layer.diff_id)
        for piece in inflow.pieces():
            blob.write(piece)
        return blob.commit()
