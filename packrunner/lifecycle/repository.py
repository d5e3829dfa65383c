"""Where a platform keeps its images: what the phases ask of a registry, a daemon or a directory of layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

from packrunner.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.images.image import Image
    from packrunner.images.layout import Blobs
    from packrunner.names import Digest


class _NoBlobs:
    def has(self, digest: Digest, size: int | None = None) -> bool:
        del digest, size
        return False

    def open(self, digest: Digest) -> BinaryIO:
        raise CorruptError(f"there is no layer {digest.short}", slug="store-missing")


NO_BLOBS = _NoBlobs()
"""For images all of whose layers are in images that were read."""


class Repository(Protocol):
    """Images by reference."""

    def read(self, reference: str) -> Image | None:
        """The image, None where there is none; its blobs can be opened from then on. Raises StoreError, UsageError."""

    def open(self, digest: Digest) -> BinaryIO:
        """A blob of an image that was read."""

    def check_write(self, name: str) -> str | None:
        """Why the image could not be written under this name; None when it can be (RES-06)."""

    def pinned(self, name: str, image: Image) -> str:
        """The reference of analyzed.toml, which cannot move: `path@digest` in a layout (RES-04)."""

    def recorded(self, name: str, image: Image) -> str:
        """The reference that the image's label keeps for rebasing (EXP-22)."""

    def write(self, image: Image, names: Sequence[str], blobs: Blobs) -> tuple[Image, Mapping[str, str]]:
        """Save the image under every name, its layers in `blobs` or in images that were read.

        Gives the image as it is there, whose layers may be compressed, and why names could not be written.
        """
