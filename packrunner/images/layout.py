"""OCI image layouts: directories of blobs with an index (image-layout of the OCI image specification)."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from packrunner.disk import disk_error, sync_directory, temporary, write_atomic
from packrunner.errors import CorruptError, StoreError, UsageError
from packrunner.images.image import (
    Descriptor,
    Image,
    Layer,
    descriptor_json,
    digest_of,
    parse_descriptor,
    parse_image,
)
from packrunner.images.inflate import Inflow
from packrunner.images.manifest import (
    INDEX,
    JSON_LIMIT,
    REF_NAME,
    DescriptorFile,
    IndexFile,
    ManifestFile,
    PlatformFile,
    read_json,
    this_platform,
)
from packrunner.images.several import INDEXES, Several, blobs, choose, listed_images, small_blobs, top

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from packrunner.images.blobs import BlobWriter
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

LAYOUT_FILE = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
CONTAINERD_NAME = "io.containerd.image.name"
_NESTED = 3
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
    notes = [(item.get("annotations") or {}).get(REF_NAME, "") for item in _existing(path)]
    return [name for name in notes if name]


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
    data = _blob_bytes(place, parse_descriptor(entry, where=place.path))
    if entry.media_type not in INDEXES:
        return _image(place, data)
    listed = listed_images(read_json(data, IndexFile, where=place.path))
    images = tuple(_image(place, _manifest(place, one, one.platform or this_platform(), 1)) for one in listed)
    return Several(images=images, original=data)


def _image(place: Place, manifest: bytes) -> Image:
    listed = read_json(manifest, ManifestFile, where=place.path)
    if listed.config is None:
        raise CorruptError(f"{place.path} has a manifest that is none", slug="image-format")
    config = _blob_bytes(place, parse_descriptor(listed.config, where=place.path))
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
    data = _blob_bytes(place, parse_descriptor(item, where=place.path))
    if item.media_type not in INDEXES:
        return data
    if depth >= _NESTED:
        raise CorruptError(f"{place.path} has indexes within indexes within indexes", slug="image-format")
    entry = choose(read_json(data, IndexFile, where=place.path), platform, place.path)
    return _manifest(place, entry, platform, depth + 1)


def _blob_bytes(place: Place, blob: Descriptor) -> bytes:
    data = read_small(place, blob_name(blob.digest))
    if digest_of(data) != blob.digest or len(data) != blob.size:
        raise CorruptError(
            f"{place.path} has a damaged blob", slug="image-format", cause=f"its bytes are not {blob.digest}"
        )
    return data


def write_layout(path: str, image: Image | Several, store: Blobs, tag: str) -> None:
    """Put the image into the layout at `path`, which is made or already one; other tags in it stay.

    Those for several platforms have one tag together. The tag "" is that of an image without one.

    Blobs come first and the index last, so a reader never sees a part.
    """
    old = _existing(path)
    directory = os.path.join(path, "blobs", "sha256")
    small = small_blobs(image)
    try:
        os.makedirs(directory, exist_ok=True)
        for blob in blobs(image):
            _put(os.path.join(directory, blob.digest.hex), blob, small, store)
        sync_directory(directory)
    except OSError as e:
        raise disk_error(e, path) from e
    if not os.path.exists(os.path.join(path, LAYOUT_FILE)):
        write_atomic(os.path.join(path, LAYOUT_FILE), LAYOUT, mode=0o644)
    kept = [item for item in old if (item.get("annotations") or {}).get(REF_NAME, "") != tag]
    index = index_json(image, tag_notes(tag), kept)
    write_atomic(os.path.join(path, "index.json"), index, mode=0o644, sync=True)
    _sweep(path, directory, [item for item in old if item not in kept], [*kept, descriptor_json(top(image))])


def tag_notes(tag: str) -> dict[str, str]:
    """The annotations of an entry with this tag."""
    return {REF_NAME: tag} if tag else {}


def index_json(
    image: Image | Several, annotations: dict[str, str], others: list[dict[str, Any]] | None = None
) -> bytes:
    """An index with the image, or the index of several, behind other entries."""
    entry: dict[str, Any] = {**descriptor_json(top(image)), "annotations": annotations}
    if isinstance(image, Image):
        entry["platform"] = {"architecture": image.architecture, "os": image.os}
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*(others or ()), entry]})


def blob_pieces(blob: Descriptor, small: Mapping[Digest, bytes], store: Blobs) -> Iterator[bytes]:
    """The bytes of one of an image's blobs, verified; `small` are those that are no layers."""
    if blob.digest in small:
        yield small[blob.digest]
    else:
        with store.open(blob.digest) as file:
            while piece := file.read(STEP):
                yield piece


def _existing(path: str) -> list[dict[str, Any]]:
    """The entries of the layout that is there. Raises UsageError for a directory that is something else."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return []
    except OSError as e:
        raise UsageError(f"{path} cannot be written", slug="output-exists", cause=os.strerror(e.errno or 0)) from e
    if not names:
        return []
    place = Directory(path)
    try:
        if LAYOUT_FILE not in names:
            raise CorruptError(f"{path} has no {LAYOUT_FILE}", slug="image-format")
        # Whoever died before the index was written left a layout without one.
        data = read_small(place, "index.json") if "index.json" in names else b'{"schemaVersion":2,"manifests":[]}'
        read_json(data, IndexFile, where=path)
        entries: list[dict[str, Any]] = msgspec.json.decode(data)["manifests"]
    except StoreError as e:
        raise UsageError(
            f"{path} exists and is no image layout",
            slug="output-exists",
            cause=e.brief,
            tries=(f"--output oci:{path}-image",),
        ) from e
    return entries


def _put(path: str, blob: Descriptor, small: Mapping[Digest, bytes], store: Blobs) -> None:
    with suppress(FileNotFoundError):
        st = os.lstat(path)
        if stat.S_ISREG(st.st_mode) and st.st_size == blob.size:
            return
    beside = os.path.join(os.path.dirname(path), temporary("blob"))
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            for piece in blob_pieces(blob, small, store):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) or 0 :]
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def _sweep(path: str, blobs: str, gone: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    """Remove blobs that only replaced images needed; nothing at all when a kept entry cannot be followed."""
    place = Directory(path)
    try:
        needed = {name for item in kept for name in _reach(place, item)}
        doomed = {name for item in gone for name in _reach(place, item)} - needed
    except (StoreError, UsageError):
        return
    for name in doomed:
        with suppress(OSError):
            os.unlink(os.path.join(blobs, name))


def _reach(place: Place, item: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Names of the blobs that an image needs, or those for several platforms."""
    found = msgspec.convert(item, DescriptorFile)
    blob = parse_descriptor(found, where=place.path)
    yield blob.digest.hex
    if found.media_type in INDEXES:
        if depth >= _NESTED:
            raise CorruptError(f"{place.path} has nested indexes", slug="image-format")
        for one in read_json(_blob_bytes(place, blob), IndexFile, where=place.path).manifests:
            yield from _reach(place, msgspec.to_builtins(one), depth + 1)
        return
    listed = read_json(_blob_bytes(place, blob), ManifestFile, where=place.path)
    for below in (listed.config, *(listed.layers or ())):
        if below:
            yield parse_descriptor(below, where=place.path).digest.hex
