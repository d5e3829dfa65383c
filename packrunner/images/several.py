"""Images for several platforms under one name: an index of the OCI image specification, and which image is whose."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.errors import UsageError
from packrunner.images.image import Descriptor, Image, descriptor_json, digest_of
from packrunner.images.manifest import DOCKER_INDEX, INDEX, DescriptorFile, IndexFile, PlatformFile, this_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.names import Digest

INDEXES = frozenset({INDEX, DOCKER_INDEX})
MOST = 64
"""Images that are read of one index."""
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Several:
    """Images under one name, each for a platform of its own; `original` are the bytes that they were read from."""

    images: tuple[Image, ...]
    original: bytes | None = field(default=None, repr=False)

    @cached_property
    def data(self) -> bytes:
        """The index as stored."""
        if self.original is not None:
            return self.original
        listed = [
            {**descriptor_json(one.manifest), "platform": platform_json(one)}
            for one in sorted(self.images, key=shown_platform)
        ]
        return msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})

    @property
    def digest(self) -> Digest:
        """The digest of the index."""
        return digest_of(self.data)

    @property
    def descriptor(self) -> Descriptor:
        """The index as another one lists it."""
        kind = msgspec.json.decode(self.data).get("mediaType", INDEX)
        return Descriptor(digest=self.digest, size=len(self.data), media_type=kind)


def images_of(what: Image | Several) -> tuple[Image, ...]:
    """The images that something is."""
    return what.images if isinstance(what, Several) else (what,)


def top(what: Image | Several) -> Descriptor:
    """What a name means: a manifest or an index."""
    return what.descriptor if isinstance(what, Several) else what.manifest


def small_blobs(what: Image | Several) -> dict[Digest, bytes]:
    """The blobs that are no layers: configurations, manifests, the index."""
    found = {}
    for image in images_of(what):
        found[image.config.digest] = image.config_bytes()
        found[image.manifest.digest] = image.manifest_bytes()
    if isinstance(what, Several):
        found[what.digest] = what.data
    return found


def blobs(what: Image | Several) -> Iterator[Descriptor]:
    """All blobs, each after those that it needs."""
    for image in images_of(what):
        yield from (layer.blob for layer in image.layers)
        yield from (image.config, image.manifest)
    if isinstance(what, Several):
        yield what.descriptor


def platform_json(image: Image) -> dict[str, Any]:
    """Whom an image is for, as an index says it."""
    found = {"architecture": image.architecture, "os": image.os, "variant": image.variant}
    return {key: value for key, value in found.items() if value}


def shown_platform(of: Image | PlatformFile) -> str:
    """`linux/arm64/v8`."""
    return "/".join(filter(None, (of.os, of.architecture, of.variant)))


def choose(index: IndexFile, platform: PlatformFile, where: str) -> DescriptorFile:
    """The entry for a platform; else one that is for any (REG-22). Raises UsageError, slug `unknown-image`."""
    wanted = (platform.os, platform.architecture)
    fitting = [
        item
        for item in index.manifests
        if item.platform and (item.platform.os, item.platform.architecture) == wanted
        if not platform.variant or item.platform.variant in {"", platform.variant}
    ]
    exact = [item for item in fitting if item.platform and item.platform.variant == platform.variant]
    for item in (*exact, *fitting, *(item for item in index.manifests if item.platform is None)):
        return item
    raise UsageError(
        f"{where} has no image for {shown_platform(platform)}", slug="unknown-image", cause=f"it has {_there(index)}"
    )


def chosen(images: tuple[Image, ...], platform: PlatformFile | None, where: str) -> Image:
    """The image for a platform, this machine's unless given; the only one is taken whoever it is for.

    Raises UsageError, slug `unknown-image`.
    """
    if len(images) == 1:
        return images[0]
    listed = tuple(
        DescriptorFile(media_type="", digest=str(number), size=0, platform=PlatformFile(**platform_json(one)))
        for number, one in enumerate(images)
    )
    found = choose(IndexFile(schema_version=2, manifests=listed), platform or this_platform(), where)
    return images[int(found.digest)]


def chosen_or_first(images: tuple[Image, ...]) -> Image:
    """The image for this machine, to be shown; another one where there is none."""
    with suppress(UsageError):
        return chosen(images, None, "")
    return images[0]


def _there(index: IndexFile) -> str:
    there = sorted({shown_platform(item.platform) for item in index.manifests if item.platform})
    text = ", ".join(there[:_SHOWN])
    return "".join(char if char.isprintable() else " " for char in text)[:300] or "none"


def listed_images(index: IndexFile) -> list[DescriptorFile]:
    """The entries that are images: not what others attach to them, whose platform is `unknown`."""
    found = [item for item in index.manifests if not item.platform or item.platform.os != "unknown"]
    return found[:MOST]
