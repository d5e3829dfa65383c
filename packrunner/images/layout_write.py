"""OCI image layouts, written: an image into a directory, beside the others that are there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.disk import disk_error, sync_directory, temporary, write_atomic
from packrunner.errors import CorruptError, StoreError, UsageError
from packrunner.images.image import Descriptor, Image, descriptor_json, parse_descriptor
from packrunner.images.layout import LAYOUT, LAYOUT_FILE, NESTED, STEP, Directory, blob_bytes, read_small
from packrunner.images.manifest import INDEX, REF_NAME, DescriptorFile, IndexFile, ManifestFile, read_json
from packrunner.images.several import INDEXES, Several, blobs, small_blobs, top

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.images.layout import Blobs, Place
    from packrunner.names import Digest


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
        if depth >= NESTED:
            raise CorruptError(f"{place.path} has nested indexes", slug="image-format")
        for one in read_json(blob_bytes(place, blob), IndexFile, where=place.path).manifests:
            yield from _reach(place, msgspec.to_builtins(one), depth + 1)
        return
    listed = read_json(blob_bytes(place, blob), ManifestFile, where=place.path)
    for below in (listed.config, *(listed.layers or ())):
        if below:
            yield parse_descriptor(below, where=place.path).digest.hex
