"""A cache that is an image in a registry: its layers are the cached ones, its label says whose (EXP-33).

Builders of other lifecycles read and write the same image, so nothing in it is trusted: every layer is verified by the
digest that the metadata names.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from packrunner.errors import CorruptError, ExportError, PackrunnerError
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.images.inflate import Inflow
from packrunner.lifecycle import cache_metadata
from packrunner.lifecycle.cache import CacheRecord
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.layout import Blobs
    from packrunner.lifecycle.repository import Repository

_LARGEST = 64 << 30
_RATIO = 400
_STEP = 1 << 20

log = logging.getLogger(__name__)


class CacheImage:
    """The image called `name` among `images`, read when it is first asked for."""

    def __init__(self, name: str, images: Repository) -> None:
        self.name = name
        self._images = images
        self._layers: dict[str, Layer] | None = None
        self._record = CacheRecord()

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.name

    def record(self) -> CacheRecord:
        """What is cached; an empty record where nothing can be read."""
        if self._layers is None:
            self._layers = {}
            try:
                image = self._images.read(self.name)
                if image is not None:
                    data = image.labels.get(cache_metadata.NAME, "").encode()
                    self._record = cache_metadata.decode(data, lambda _: 0)
                    self._layers = {layer.diff_id: layer for layer in image.layers}
            except (PackrunnerError, msgspec.DecodeError) as e:
                log.warning("the cache %s is not used: %s", self.name, e)
        return self._record

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the layer is there; its `size` is not known before it is read."""
        del size
        self.record()
        return digest in (self._layers or {})

    def open(self, digest: Digest) -> BinaryIO:
        """The layer's tar, uncompressed, verified at its end. Raises CorruptError, and what the registry raises."""
        self.record()
        layer = (self._layers or {}).get(digest)
        if layer is None:
            raise CorruptError(f"there is no layer {digest.short} in the cache", slug="store-missing")
        return io.BufferedReader(_Uncompressed(self._images.open(layer.blob.digest), layer), _STEP)

    def save(self, record: CacheRecord, layers: Blobs) -> None:
        """Replace what is cached. Raises ExportError and what the registry raises; the old state is there then."""
        sizes = {one.diff_id: one.size for buildpack in record.buildpacks for one in buildpack.layers.values()}
        image = Image(
            labels={cache_metadata.NAME: cache_metadata.encode(record).decode()},
            layers=tuple(
                _layer(Digest.parse(text), sizes.get(text), layers) for text in cache_metadata.digests(record)
            ),
        )
        _, failed = self._images.write(image, [self.name], layers)
        if failed:
            raise ExportError(
                f"the cache {self.name} could not be written", slug="image-write", cause="; ".join(failed.values())
            )


def _layer(digest: Digest, size: int | None, layers: Blobs) -> Layer:
    if size is None:
        size = 0
        with layers.open(digest) as file:
            while piece := file.read(_STEP):
                size += len(piece)
    return Layer(diff_id=digest, blob=Descriptor(digest=digest, size=size), created_by="packrunner cache")


class _Uncompressed(io.RawIOBase):
    """The tar in a layer, and its digest compared at the end."""

    def __init__(self, stream: BinaryIO, layer: Layer) -> None:
        super().__init__()
        what = f"the cached layer {layer.diff_id.short}"
        inflow = Inflow(stream, what, limit=_LARGEST, ratio=_RATIO, digest=layer.blob.digest, diff_id=layer.diff_id)
        self._stream = stream
        self._pieces: Iterator[bytes] = inflow.pieces()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # typeshed's Buffer is 3.12's
        """Read some bytes; 0 at the end, which is reached only by bytes that are right."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        view = memoryview(buffer)
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        """Let go of the stored layer."""
        self._stream.close()
        super().close()
