"""An extended run image between two phases: `<extended>/run/<digest>/`, an OCI layout of what is new (EXT-15).

The extender writes it, the exporter reads it. Buildpacks run in between, and may have written there too: what is read
is taken beneath its directory only, and counts by its digest.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.errors import ExportError
from packrunner.images.image import descriptor_json, digest_of, parse_image
from packrunner.names import Digest

if TYPE_CHECKING:
    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.extend import ExtendResult

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def write(done: ExtendResult, extended: str, store: LocalStore) -> str:
    """Write the image and its new layers below the directory `extended`; the path of its layout."""
    image = done.image
    place = f"run/{image.digest}"
    index = {"schemaVersion": 2, "manifests": [descriptor_json(image.manifest)]}
    files = {
        "oci-layout": _LAYOUT,
        "index.json": msgspec.json.encode(index, order="deterministic"),
        _blob(image.digest): image.manifest_bytes(),
        _blob(image.config.digest): image.config_bytes(),
    }
    with Root.open(extended) as root:
        root.remove("run")
        root.makedirs(f"{place}/blobs/sha256")
        for name, data in files.items():
            root.write(f"{place}/{name}", data)
    for layer in done.layers:
        _copy(layer, os.path.join(extended, place, _blob(layer.blob.digest)), store)
    return os.path.join(extended, place)


def read(extended: str, below: Image, store: LocalStore) -> Image | None:
    """The image that was written there, its layers in the store; None where there is none.

    `below` is the run image that it extends. Raises ExportError for a layout that is not of such an image, and
    UnsafeArchiveError.
    """
    with Root.open(extended) as root:
        found = [entry.name for entry in root.names("run") if entry.kind == "dir"]
        if not found:
            return None
        where = f"{os.path.basename(extended)}/run/{found[0]}"
        digest = Digest.parse(found[0])
        place = f"run/{digest}"
        manifest = _checked(root, place, digest, where)
        config = _checked(root, place, _config_of(manifest, where), where)
        image = parse_image(manifest, config, where=where)
        count = len(below.layers)
        if [layer.diff_id for layer in image.layers[:count]] != [layer.diff_id for layer in below.layers]:
            raise _wrong(where, "it is not an extension of the run image")
        for layer in image.layers[count:]:
            _take(root, place, layer, where, store)
    return image


def _take(root: Root, place: str, layer: Layer, where: str, store: LocalStore) -> None:
    if store.has(layer.blob.digest, layer.blob.size):
        return
    with store.new_blob() as blob:
        there = root.copy(f"{place}/{_blob(layer.blob.digest)}", blob.write, limit=layer.blob.size)
        if not there or blob.digest != layer.blob.digest:
            raise _wrong(where, f"the layer {layer.blob.digest.short} is missing, or not what its digest says")
        blob.commit()


def _checked(root: Root, place: str, digest: Digest, where: str) -> bytes:
    data = root.read(f"{place}/{_blob(digest)}")
    if data is None or digest_of(data) != digest:
        raise _wrong(where, f"{digest.short} is missing, or not what its digest says")
    return data


class _Manifest(msgspec.Struct, frozen=True):
    config: _Config


class _Config(msgspec.Struct, frozen=True):
    digest: str


def _config_of(manifest: bytes, where: str) -> Digest:
    try:
        return Digest.parse(msgspec.json.decode(manifest, type=_Manifest).config.digest)
    except msgspec.DecodeError as error:
        raise _wrong(where, "its manifest cannot be read") from error


def _copy(layer: Layer, path: str, store: LocalStore) -> None:
    """Copied, not linked: what buildpacks may write to must not be the store's."""
    try:
        with store.open(layer.blob.digest) as source, open(path, "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise disk_error(error, path) from error


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _wrong(where: str, cause: str) -> ExportError:
    return ExportError("the extended run image cannot be used", slug="extended-image", cause=cause, at=where)
