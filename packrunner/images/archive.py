"""Image archives: an OCI layout in a tar (`oci-archive:`), and what `docker save` writes and `docker load` reads."""

from __future__ import annotations

import dataclasses
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from packrunner.disk import disk_error, sync_directory, temporary
from packrunner.errors import UsageError
from packrunner.images import tar
from packrunner.images.image import (
    Descriptor,
    Image,
    Layer,
    digest_of,
    image_from_config,
    parse_descriptor,
    parse_image,
)
from packrunner.images.layout import (
    CONTAINERD_NAME,
    LAYOUT,
    LAYOUT_FILE,
    STEP,
    Tee,
    blob_name,
    import_layer,
    read_place,
    read_small,
    shared,
    tag_to_replace,
    verify,
)
from packrunner.images.layout_write import blob_pieces, index_json, tag_notes
from packrunner.images.manifest import LAYER_GZIP, LAYER_TAR, REF_NAME, IndexFile, ManifestFile, SavedImage, read_json
from packrunner.images.several import Several, blobs, small_blobs
from packrunner.images.tarfiles import Archive
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.manifest import PlatformFile
    from packrunner.images.store import LocalStore

_SAVED = "manifest.json"


def read_oci_archive(path: str, tag: str, store: LocalStore, platform: PlatformFile | None = None) -> Image:
    """The image in an archived layout; see transfer.read_image."""
    with Archive(path) as archive:
        return read_place(archive, tag, store, platform)


def read_docker_archive(path: str, name: str, store: LocalStore) -> Image:
    """The image in what `docker save` wrote; see transfer.read_image.

    Where the archive has OCI's files too, the image's manifest is kept from there, and so its digest.
    """
    with Archive(path) as archive:
        saved = read_json(read_small(archive, _SAVED), tuple[SavedImage, ...], where=f"{path}, {_SAVED}")
        chosen = _chosen(path, saved, name)
        config = read_small(archive, chosen.config)
        found = _from_layout(archive, config)
        if found:
            for layer in found.layers:
                import_layer(archive, blob_name(layer.blob.digest), layer, store)
            return found
        unknown = [Descriptor(digest=digest_of(b""), size=0) for _ in chosen.layers]
        image = image_from_config(config, unknown, where=path)
        layers = [
            _import(archive, entry, layer, store) for entry, layer in zip(chosen.layers, image.layers, strict=True)
        ]
        return dataclasses.replace(image, layers=tuple(layers))


def _chosen(path: str, saved: tuple[SavedImage, ...], name: str) -> SavedImage:
    wanted = ImageName.parse(name).tagged if name else ""
    found = [image for image in saved if not wanted or wanted in (image.repo_tags or ())]
    names = [tag for image in saved for tag in image.repo_tags or ()]
    if not found:
        raise UsageError(
            f"{path} has no image {name}".rstrip(), slug="unknown-image", cause=f"it has {', '.join(names) or 'none'}"
        )
    if len(found) > 1:
        raise UsageError(
            f"{path} has {len(found)} images: name one",
            slug="ambiguous-image",
            tries=tuple(f"docker-archive:{path}:{tag}" for tag in names[:5]),
        )
    return found[0]


def _from_layout(archive: Archive, config: bytes) -> Image | None:
    """The image with this configuration from the archive's OCI files, if it has them."""
    if not archive.has(LAYOUT_FILE) or not archive.has("index.json"):
        return None
    wanted = digest_of(config)
    index = read_json(read_small(archive, "index.json"), IndexFile, where=f"{archive.path}, index.json")
    for item in index.manifests:
        blob = parse_descriptor(item, where=archive.path)
        if not archive.has(blob_name(blob.digest)):
            continue
        manifest = read_small(archive, blob_name(blob.digest))
        listed = read_json(manifest, ManifestFile, where=archive.path)
        if listed.config and listed.config.digest == wanted and digest_of(manifest) == blob.digest:
            image = parse_image(manifest, config, where=archive.path)
            if all(archive.has(blob_name(layer.blob.digest)) for layer in image.layers):
                return image
    return None


def _import(archive: Archive, entry: str, layer: Layer, store: LocalStore) -> Layer:
    """A layer of unknown digest, gzipped or not, checked against its diff id."""
    size = archive.size(entry)
    if store.has(layer.diff_id, size):
        return msgspec.structs.replace(layer, blob=Descriptor(digest=layer.diff_id, size=size))
    with archive.open(entry) as file:
        kind = LAYER_GZIP if file.read(2) == b"\x1f\x8b" else LAYER_TAR
    with archive.open(entry) as file, store.new_blob() as blob:
        verify(Tee(file, blob, size), archive.path, None, layer.diff_id)
        return msgspec.structs.replace(layer, blob=blob.commit(kind))


class _Entry(msgspec.Struct, frozen=True):
    name: str
    size: int
    blob: Descriptor | None = None
    data: bytes = b""


def write_oci_archive(path: str, image: Image | Several, store: LocalStore, tag: str) -> None:
    """Write the image, or those for several platforms, as an archived layout; see transfer.write_output."""
    entries = [*_blobs(image), _file("index.json", index_json(image, tag_notes(tag))), _file(LAYOUT_FILE, LAYOUT)]
    _write(path, _pieces(entries, image, store))


def replace_oci_archive(path: str, image: Image, store: LocalStore, tag: str) -> None:
    """Write the image in the place of the only one in an archived layout."""
    with Archive(path) as archive:
        tag = tag_to_replace(archive, tag, others_stay=False)
    write_oci_archive(path, image, store, tag)


def replace_docker_archive(path: str, image: Image, store: LocalStore, name: str) -> None:
    """Write the image in the place of the only one in what `docker save` wrote, under all of its names."""
    with Archive(path) as archive:
        saved = read_json(read_small(archive, _SAVED), tuple[SavedImage, ...], where=f"{path}, {_SAVED}")
    names = _chosen(path, saved, name).repo_tags or ()
    if len(saved) > 1:
        raise shared(path, f"{len(saved)} images")
    write_docker_archive(path, image, store, *names)


def write_docker_archive(path: str, image: Image, store: LocalStore, *names: str) -> None:
    """Write the image for `docker load`; see `docker_archive`."""
    _write(path, docker_archive(image, store, *names))


def docker_archive(image: Image, store: LocalStore, *names: str) -> Iterator[bytes]:
    """What `docker load` reads, in pieces: its own files and, where it knows them, OCI's.

    The latter know the first name only. zstd layers go in as plain ones; hold the store's lease.
    """
    from packrunner.images.plain import without_zstd

    image = without_zstd(image, store)
    tagged = [ImageName.parse(name).tagged for name in names]
    saved = [
        {
            "Config": blob_name(image.config.digest),
            "RepoTags": tagged or None,
            "Layers": [blob_name(layer.blob.digest) for layer in image.layers],
        }
    ]
    entries = [
        *_blobs(image),
        _file("index.json", index_json(image, _notes(tagged[0]) if tagged else {})),
        _file(_SAVED, msgspec.json.encode(saved)),
        _file(LAYOUT_FILE, LAYOUT),
    ]
    return _pieces(entries, image, store)


def _notes(tagged: str) -> dict[str, str]:
    repository, _, tag = tagged.rpartition(":")
    return {CONTAINERD_NAME: f"{_full(repository)}:{tag}", REF_NAME: tag}


def _full(repository: str) -> str:
    """A repository with the registry that Docker assumes."""
    first, slash, _ = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return repository
    return f"docker.io/{repository}" if slash else f"docker.io/library/{repository}"


def _file(name: str, data: bytes) -> _Entry:
    return _Entry(name, len(data), data=data)


def _blobs(image: Image | Several) -> list[_Entry]:
    found = {blob.digest: blob for blob in blobs(image)}
    return [_Entry(blob_name(digest), found[digest].size, found[digest]) for digest in sorted(found)]


def _write(path: str, pieces: Iterator[bytes]) -> None:
    _check_replaceable(path)
    beside = os.path.join(os.path.dirname(path), temporary(path))
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(fd, "wb", buffering=STEP) as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(fd)
            os.rename(beside, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(beside)
            raise
        sync_directory(os.path.dirname(path) or ".")
    except OSError as e:
        raise disk_error(e, path) from e


def _pieces(entries: list[_Entry], image: Image | Several, store: LocalStore) -> Iterator[bytes]:
    small = small_blobs(image)
    for name in (b"blobs/", b"blobs/sha256/"):
        yield tar.header(tar.DIRECTORY, name, mode=0o755, uid=0, gid=0)
    for entry in entries:
        yield tar.header(tar.FILE, entry.name.encode(), mode=0o644, uid=0, gid=0, size=entry.size)
        if entry.blob:
            yield from blob_pieces(entry.blob, small, store)
        else:
            yield entry.data
        yield tar.PADDING[entry.size % tar.BLOCK]
    yield tar.END


def _check_replaceable(path: str) -> None:
    """Only tar archives and empty files are replaced."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as e:
        raise UsageError(f"{path} cannot be replaced", slug="output-exists", cause=os.strerror(e.errno or 0)) from e
    try:
        st = os.fstat(fd)
        if stat.S_ISREG(st.st_mode) and (not st.st_size or os.pread(fd, 5, 257) == b"ustar"):
            return
    finally:
        os.close(fd)
    raise UsageError(
        f"{path} exists and is no archive", slug="output-exists", tries=(f"{path}.tar, or another name that is free",)
    )
