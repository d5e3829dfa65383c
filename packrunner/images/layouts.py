"""Images in a directory of OCI layouts, one image a layout: <dir>/<registry>/<repository>/<tag> (EXP-35)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from packrunner.errors import CorruptError, PackrunnerError
from packrunner.images.blobs import VerifiedReader, buffered
from packrunner.images.layout import Directory, parse_place
from packrunner.images.layout_write import write_layout
from packrunner.images.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.images.image import Image
    from packrunner.images.layout import Blobs
    from packrunner.names import Digest


class Layouts:
    """The directory at `root`, for the phases' `-layout-dir`. Nothing of an image is copied to read it."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._places: dict[Digest, str] = {}

    def path(self, reference: str) -> str:
        """The layout of an image; a reference of the form `path@digest` is one already (RES-04)."""
        path, at, _ = reference.rpartition("@")
        if at and os.path.isabs(path):
            return path
        return os.path.join(self.root, Reference.parse(reference).layout_path)

    def read(self, reference: str) -> Image | None:
        """The image; None where there is no such layout. Raises CorruptError (`image-format`), UsageError."""
        path = self.path(reference)
        if not os.path.isfile(os.path.join(path, "index.json")):
            return None
        image = parse_place(Directory(path), "")
        _, at, digest = reference.rpartition("@")
        if at and image.digest != digest:
            raise CorruptError(
                f"the image at {path} is another one now",
                slug="image-moved",
                cause=f"it has the digest {image.digest}, and {digest} was recorded",
                tries=("run the phases again, from analyze on",),
            )
        for layer in image.layers:
            self._places[layer.blob.digest] = os.path.join(path, "blobs", "sha256", layer.blob.digest.hex)
        return image

    def open(self, digest: Digest) -> BinaryIO:
        """A blob of an image that was read, verified at its end."""
        path = self._places[digest]
        try:
            return buffered(VerifiedReader(path, digest, lambda: None))
        except OSError as e:
            raise CorruptError(
                f"a layer is missing from the image layout: {digest.short}", slug="image-format", at=path
            ) from e

    def check_write(self, name: str) -> str | None:
        """Why a layout could not be made there; None when it can be (RES-06)."""
        place = self.path(name)
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        return None if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written to"

    def pinned(self, name: str, image: Image) -> str:
        """`path@digest`."""
        return f"{self.path(name)}@{image.digest}"

    def recorded(self, name: str, image: Image) -> str:
        """`name@digest`: the path would tie the image to this machine."""
        return f"{name.partition('@')[0]}@{image.digest}"

    def write(self, image: Image, names: Sequence[str], blobs: Blobs) -> tuple[Image, dict[str, str]]:
        """Write the image to every name's layout; what could not be written, and why (EXP-32)."""
        failed: dict[str, str] = {}
        for name in names:
            reference = Reference.parse(name)
            try:
                write_layout(self.path(name), image, _Both(blobs, self), reference.identifier)
            except PackrunnerError as e:
                failed[name] = e.brief
        return image, failed


class _Both:
    """Blobs of a store, and of images that were read."""

    def __init__(self, first: Blobs, layouts: Layouts) -> None:
        self._first = first
        self._layouts = layouts

    def has(self, digest: Digest, size: int | None = None) -> bool:
        return self._first.has(digest, size)

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes."""
        return self._first.open(digest) if self.has(digest) else self._layouts.open(digest)
