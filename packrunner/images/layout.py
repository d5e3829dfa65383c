"""OCI image layouts: directories of blobs with an index (image-layout of the OCI image specification)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol, cast

from packrunner.disk import disk_error
from packrunner.errors import CorruptError, UsageError
from packrunner.images.image import (
    Descriptor,
    Image,
    Layer,
    digest_of,
    parse_descriptor,
    parse_image,
)
from packrunner.images.inflate import Inflow
from packrunner.images.manifest import (
    JSON_LIMIT,
    REF_NAME,
    DescriptorFile,
    IndexFile,
    ManifestFile,
    PlatformFile,
    read_json,
    this_platform,
)
from packrunner.images.several import INDEXES, Several, choose, listed_images

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from packrunner.images.blobs import BlobWriter
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

LAYOUT_FILE = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
CONTAINERD_NAME = "io.containerd.image.name"
NESTED = 3
RATIO = 1000
"""How many bytes a layer may unpack to for each stored one: layers of zeros are real."""
LARGEST = 1 << 40
STEP = 1 << 20


class Place(Protocol):
    """Where a layout's files are: a directory or an archive."""

    path: str

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """The bytes of a file. Raises CorruptError when it is not there, or no regular file (ARC-42)."""


class Blobs(Protocol):
    """Where the bytes of layers come from."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there."""

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, verified at their end."""


class Directory:
    """A layout on the disk."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, name: str) -> BinaryIO:
        """The bytes of a file, which may not be a link."""
        path = os.path.join(self.path, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as e:
            raise CorruptError(f"{self.path} has no {name}", slug="image-format", at=path) from e
        except OSError as e:
            raise disk_error(e, path) from e
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise CorruptError(f"{path} is no regular file", slug="image-format", at=path)
        return os.fdopen(fd, "rb", buffering=STEP)


def read_layout(path: str, tag: str, store: LocalStore, platform: PlatformFile | None = None) -> Image:
    """The image in the layout at `path`; see transfer.read_image."""
    return read_place(directory(path), tag, store, platform)


def directory(path: str) -> Directory:
    """The layout that should be at `path`. Raises UsageError, slug `unknown-image`."""
    if not os.path.isdir(path):
        raise UsageError("there is no image layout", slug="unknown-image", cause="it is not a directory", at=path)
    return Directory(path)


def names_in(path: str) -> list[str]:
    """The tags of a layout; not of what has none. Raises CorruptError (`image-format`)."""
    index = read_json(read_small(Directory(path), "index.json"), IndexFile, where=path)
    return [name for item in index.manifests if (name := (item.annotations or {}).get(REF_NAME))]


def read_place(place: Place, tag: str, store: LocalStore, platform: PlatformFile | None = None) -> Image:
    """The image in a layout for a platform, this machine's unless given, its blobs copied into the store."""
    image = parse_place(place, tag, platform)
    for layer in image.layers:
        import_layer(place, blob_name(layer.blob.digest), layer, store)
    return image


def parse_place(place: Place, tag: str, platform: PlatformFile | None = None) -> Image:
    """The image in a layout, its layers not looked at."""
    index = read_json(read_small(place, "index.json"), IndexFile, where=f"{place.path}, index.json")
    return _image(place, _manifest(place, _chosen(place, index, tag), platform or this_platform(), 0))


def parse_all(place: Place, tag: str) -> Image | Several:
    """What is in a layout under a tag, for every platform, its layers not looked at."""
    index = read_json(read_small(place, "index.json"), IndexFile, where=f"{place.path}, index.json")
    entry = _chosen(place, index, tag)
    data = blob_bytes(place, parse_descriptor(entry, where=place.path))
    if entry.media_type not in INDEXES:
        return _image(place, data)
    listed = listed_images(read_json(data, IndexFile, where=place.path))
    images = tuple(_image(place, _manifest(place, one, one.platform or this_platform(), 1)) for one in listed)
    return Several(images=images, original=data)


def _image(place: Place, manifest: bytes) -> Image:
    listed = read_json(manifest, ManifestFile, where=place.path)
    if listed.config is None:
        raise CorruptError(f"{place.path} has a manifest that is none", slug="image-format")
    config = blob_bytes(place, parse_descriptor(listed.config, where=place.path))
    return parse_image(manifest, config, where=place.path)


def tag_to_replace(place: Place, tag: str, *, others_stay: bool) -> str:
    """The tag, perhaps "", of the entry that is meant. Raises UsageError where replacing it would lose other images."""
    index = read_json(read_small(place, "index.json"), IndexFile, where=f"{place.path}, index.json")
    entry = _chosen(place, index, tag)
    if entry.media_type in INDEXES:
        raise shared(place.path, "images for several platforms under one tag")
    if len(index.manifests) > 1 and not others_stay:
        raise shared(place.path, f"{len(index.manifests)} images")
    return (entry.annotations or {}).get(REF_NAME, "")


def shared(path: str, what: str) -> UsageError:
    """The error for an image that cannot be replaced alone."""
    return UsageError(
        f"the image in {path} cannot be replaced: others would be lost",
        slug="image-shared",
        cause=f"it holds {what}",
        tries=("--tag NAME, which leaves it alone and stores the new image here",),
    )


def read_small(place: Place, name: str) -> bytes:
    """A file of JSON."""
    with place.open(name) as file:
        data = file.read(JSON_LIMIT + 1)
    if len(data) > JSON_LIMIT:
        raise CorruptError(f"{place.path} has a {name} of more than {JSON_LIMIT} bytes", slug="image-format")
    return data


def import_layer(place: Place, name: str, layer: Layer, store: LocalStore) -> None:
    """Copy a layer's blob into the store; both of its digests are checked on the way (ARC-29)."""
    if store.has(layer.blob.digest, layer.blob.size):
        return
    with place.open(name) as file, store.new_blob() as blob:
        verify(Tee(file, blob, layer.blob.size), place.path, layer.blob.digest, layer.diff_id)
        blob.commit(layer.blob.media_type)


def verify(stream: Tee, what: str, digest: Digest | None, diff_id: Digest) -> None:
    """Read a layer to its end, comparing digests of the bytes as they are and of the uncompressed tar."""
    inflow = Inflow(cast("BinaryIO", stream), what, limit=LARGEST, ratio=RATIO, digest=digest, diff_id=diff_id)
    for _ in inflow.pieces():
        pass


class Tee:
    """Reads a file and writes it to a blob, up to the size that was announced."""

    def __init__(self, file: BinaryIO, blob: BlobWriter, size: int) -> None:
        self._file = file
        self._blob = blob
        self._left = size

    def read(self, size: int) -> bytes:
        """Some more bytes."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise CorruptError("a layer is longer than its manifest says", slug="image-format")
        self._blob.write(data)
        return data


def blob_name(digest: Digest) -> str:
    """A blob's path in a layout."""
    return f"blobs/sha256/{digest.hex}"


def _chosen(place: Place, index: IndexFile, tag: str) -> DescriptorFile:
    """The entry for a tag; without one, the only entry."""
    items = [item for item in index.manifests if not tag or (item.annotations or {}).get(REF_NAME) == tag]
    names = sorted({(item.annotations or {}).get(REF_NAME, "") for item in index.manifests} - {""})
    if not items:
        raise UsageError(
            f"{place.path} has no image {tag}" if tag else f"{place.path} has no image",
            slug="unknown-image",
            cause=f"it has {', '.join(names)}" if names else None,
        )
    if len(items) > 1:
        raise UsageError(
            f"{place.path} has {len(items)} images: name one",
            slug="ambiguous-image",
            tries=tuple(f"{place.path}:{name}" for name in names[:5]),
        )
    return items[0]


def _manifest(place: Place, item: DescriptorFile, platform: PlatformFile, depth: int) -> bytes:
    data = blob_bytes(place, parse_descriptor(item, where=place.path))
    if item.media_type not in INDEXES:
        return data
    if depth >= NESTED:
        raise CorruptError(f"{place.path} has indexes within indexes within indexes", slug="image-format")
    entry = choose(read_json(data, IndexFile, where=place.path), platform, place.path)
    return _manifest(place, entry, platform, depth + 1)


def blob_bytes(place: Place, blob: Descriptor) -> bytes:
    """The bytes of a small blob, verified."""
    data = read_small(place, blob_name(blob.digest))
    if digest_of(data) != blob.digest or len(data) != blob.size:
        raise CorruptError(
            f"{place.path} has a damaged blob", slug="image-format", cause=f"its bytes are not {blob.digest}"
        )
    return data
