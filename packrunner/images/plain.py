"""Layers for readers that know no zstd: Docker engines before 23, and whatever reads what `docker save` writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.images.image import Descriptor
from packrunner.images.inflate import Inflow
from packrunner.images.layout import LARGEST, RATIO
from packrunner.images.manifest import LAYER_ZSTD

if TYPE_CHECKING:
    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore


def without_zstd(image: Image, store: LocalStore) -> Image:
    """The image with every zstd layer also in the store as its plain tar; hold the store's lease.

    Its configuration, and so Docker's id of it, stays; its manifest is another one. Raises CorruptError, StoreError.
    """
    squeezed = [layer for layer in image.layers if layer.blob.media_type == LAYER_ZSTD]
    return image.with_blobs({layer.diff_id: _plain(layer, store) for layer in squeezed})


def _plain(layer: Layer, store: LocalStore) -> Descriptor:
    if store.has(layer.diff_id):
        return Descriptor(digest=layer.diff_id, size=os.stat(store.blob_path(layer.diff_id)).st_size)
    with store.open(layer.blob.digest) as stream, store.new_blob() as blob:
        what = f"the layer {layer.diff_id.short}"
        for piece in Inflow(stream, what, limit=LARGEST, ratio=RATIO, digest=None, diff_id=layer.diff_id).pieces():
            blob.write(piece)
        return blob.commit()
