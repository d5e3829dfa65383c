"""Images in registries, by reference: read, pull, push, and what the lifecycle asks of a place for images."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from packrunner.errors import PackrunnerError
    from packrunner.images.image import Image
    from packrunner.images.layout import Blobs
    from packrunner.images.registry.credentials import Logins
    from packrunner.images.registry.settings import RegistrySettings
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

Compression = Literal["gzip", "zstd", "none"]


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What a push did. `image` is the image as the registry has it: its layers are compressed, its digest another.

    `sent` is in bytes; `layers_sent` and `layers_there` count layers; `failed` says of each name that could not be
    written why.
    """

    image: Image
    digest: Digest
    written: tuple[str, ...]
    sent: int
    layers_sent: int
    layers_there: int
    failed: Mapping[str, PackrunnerError]


def unheard(done: int, total: int) -> None:
    """Nobody wants to know how far a transfer is."""


class Registry:
    """Registries; also a `lifecycle.repository.Repository`. A context manager, which ends its connections.

    `directory` is where compressed layers are remembered, and kept while they are sent; "" remembers nothing.

    Raises NetworkError (transient): `registry-unreachable`, `registry-throttled`; RegistryError: `registry-auth`,
    `registry-denied`, `registry-answer`, `registry-tls`, `offline`; CorruptError: `registry-corrupt`, `image-format`;
    UsageError: `name`, `unknown-image`.
    """

    def __init__(self, settings: RegistrySettings, logins: Logins, *, directory: str = "") -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def read(self, reference: str) -> Image | None:
        """The image for the settings' platform, None where there is none; no layer is fetched."""
        raise NotImplementedError

    def open(self, digest: Digest) -> BinaryIO:
        """A blob of an image that was read, verified at its end."""
        raise NotImplementedError

    def pull(self, reference: str, store: LocalStore, *, progress: Callable[[int, int], None] = unheard) -> Image:
        """The image, its blobs in the store; hold `store.lease()` until it is used or has a name.

        `progress` hears of the bytes that came and of all that are to come. Raises UsageError (`unknown-image`).
        """
        raise NotImplementedError

    def push(
        self,
        image: Image,
        names: Sequence[str],
        blobs: Blobs,
        *,
        compression: Compression = "gzip",
        progress: Callable[[int, int], None] = unheard,
    ) -> Pushed:
        """Write the image under every name, its layers in `blobs` or in images that were read."""
        raise NotImplementedError

    def check_read(self, name: str) -> str | None:
        """Why the image could not be read; None when it can be, or could be if it were there (RES-06)."""
        raise NotImplementedError

    def check_write(self, name: str) -> str | None:
        """Why the image could not be written under this name; None when it can be (RES-06)."""
        raise NotImplementedError

    def pinned(self, name: str, image: Image) -> str:
        """`name@digest` (RES-04)."""
        raise NotImplementedError

    def recorded(self, name: str, image: Image) -> str:
        """`name@digest` (EXP-22)."""
        raise NotImplementedError

    def write(self, image: Image, names: Sequence[str], blobs: Blobs) -> dict[str, str]:
        """Push; what could not be written, and why (EXP-32)."""
        raise NotImplementedError
