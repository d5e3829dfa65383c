"""The image store of this machine: an OCI image layout, an index of names, and nothing that a crash can tear.

    oci-layout, version   what this is; a newer version is refused untouched (STO-19)
    index.json            names and manifests, replaced as a whole under index.lock; index.backup is its copy
    blobs/sha256/<hex>    manifests, configurations, layers: whole or absent
    tables/<hex>          the layer writer's tables; losing one costs a full write
    tmp/                  blobs in the making
    quarantine/           damaged blobs, out of everybody's way until prune

A blob is synced before it gets its name, and names before the index refers to them. Whoever adds blobs that nothing
refers to yet holds `lease`; `prune` waits until nobody does.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from packrunner.disk import FileLock, disk_error, temporary
from packrunner.errors import CorruptError, UsageError
from packrunner.images.blobs import BlobWriter, VerifiedReader, buffered, missing_blob
from packrunner.images.files import Files, replace_file
from packrunner.images.image import Descriptor, Image, digest_of, parse_digest, parse_image
from packrunner.images.ledger import Ledger
from packrunner.images.manifest import JSON_LIMIT, LAYER_TAR, IndexFile, ManifestFile, read_json
from packrunner.images.several import (
    Several,
    blobs,
    chosen,
    chosen_or_first,
    images_of,
    listed_images,
    small_blobs,
    top,
)
from packrunner.images.sweep import Sweep
from packrunner.names import Digest, ImageName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from packrunner.images.index import Index
    from packrunner.images.manifest import PlatformFile

log = logging.getLogger(__name__)

_TABLE_LIMIT = 1 << 30
_WAIT = 30.0
_SHORTEST = 4


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the store. `name` has its tag; it is "" for an image that has none. `written_at`: since 1970."""

    name: str
    digest: Digest
    image: Image
    written_at: float


class LocalStore:
    """The store at `root`, which is made by the first write. Any number of processes may use it at once.

    Raises StoreError: `disk`, `disk-full`, `store-version`, `locked`; CorruptError: `store-corrupt`, `store-missing`,
    `store-index`.
    """

    def __init__(self, root: str, *, files: Files | None = None) -> None:
        self.root = root
        self._files = files or Files()
        self._blobs = os.path.join(root, "blobs", "sha256")
        self._ledger = Ledger(root, self._files)

    @property
    def index_path(self) -> str:
        """The file that says which name means which manifest."""
        return self._ledger.path

    def read(self, reference: str, platform: PlatformFile | None = None) -> StoredImage | None:
        """An image by name, digest, or a part of its digest that only it begins with; None when there is none.

        Of those for several platforms it is that for `platform`, this machine's unless given; its digest is that of
        what the name means. Raises UsageError (`unknown-image`) where there are only others.
        """
        name, digest, written_at = self._meant(reference)
        if digest is None:
            return None
        image = chosen(images_of(self._named(digest)), platform, reference)
        return StoredImage(name=name, digest=digest, image=image, written_at=written_at)

    def read_all(self, reference: str) -> Image | Several | None:
        """What a name or digest means, for every platform; None when there is nothing."""
        _, digest, _ = self._meant(reference)
        return None if digest is None else self._named(digest)

    def _meant(self, reference: str) -> tuple[str, Digest | None, float]:
        """The name, digest and time of what a reference means."""
        index = self._ledger.load()
        ref = None
        with suppress(UsageError):
            ref = index.get(ImageName.parse(reference).tagged)
        digest = ref.manifest.digest if ref else self._resolve(index, reference)
        ref = ref or next((ref for ref in index.refs if ref.manifest.digest == digest), None)
        return (ref.name, digest, float(ref.written_at)) if ref else ("", digest, 0.0)

    def write(self, image: Image | Several, names: Sequence[str] = ()) -> Digest:
        """Keep the image, whose layers are in the store, and let `names` mean it. Gives its digest.

        Those for several platforms have one name together, and an index, whose digest it is. The store's own index is
        written last, so no name ever means something incomplete (STO-02).
        """
        tagged = [ImageName.parse(name).tagged for name in names]
        with self.lease():
            for one in images_of(image):
                for layer in one.layers:
                    if not self.has(layer.blob.digest, layer.blob.size):
                        raise missing_blob(layer.blob.digest, self.blob_path(layer.blob.digest))
            for data in small_blobs(image).values():
                self.add(data)
            manifest = top(image)
            with self._ledger.lock(_WAIT):
                index = self._ledger.load()
                refs = [index.get(name) for name in tagged]
                if any(ref is None or ref.manifest.digest != manifest.digest for ref in refs):
                    for name in tagged:
                        index = index.put(name, manifest)
                    self._ledger.save(index)
        return manifest.digest

    def remove(self, name: str) -> bool:
        """Forget a name; says whether it was known. Its blobs stay until `prune` (STO-20)."""
        tagged = ImageName.parse(name).tagged
        if not os.path.isdir(self.root):
            return False
        with self._ledger.lock(_WAIT):
            index = self._ledger.load()
            if index.get(tagged) is None:
                return False
            self._ledger.save(index.drop(tagged))
        return True

    def list(self) -> list[StoredImage]:
        """Every named image, by name; one that is damaged is left out with a warning in the log."""
        images: list[StoredImage] = []
        for ref in self._ledger.load().refs:
            digest = ref.manifest.digest
            try:
                image = chosen_or_first(images_of(self._named(digest)))
            except CorruptError as e:
                log.warning("%s: %s", ref.name, e)
                continue
            images.append(StoredImage(name=ref.name, digest=digest, image=image, written_at=float(ref.written_at)))
        return images

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there; an empty one, or one of another size, is not (STO-14)."""
        try:
            st = os.lstat(self.blob_path(digest))
        except OSError:
            return False
        return stat.S_ISREG(st.st_mode) and st.st_size > 0 and size in (None, st.st_size)

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, verified at their end: CorruptError then, and the blob is set aside (STO-13)."""
        path = self.blob_path(digest)
        try:
            return buffered(VerifiedReader(path, digest, lambda: self.quarantine(digest)))
        except FileNotFoundError as e:
            raise missing_blob(digest, path) from e
        except OSError as e:
            raise disk_error(e, path) from e

    def blob_path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return os.path.join(self._blobs, digest.hex)

    def add(self, data: bytes, media_type: str = LAYER_TAR) -> Descriptor:
        """Keep some bytes as a blob."""
        digest = digest_of(data)
        if self.has(digest, len(data)):
            return Descriptor(digest=digest, size=len(data), media_type=media_type)
        with self.new_blob() as blob:
            blob.write(data)
            return blob.commit(media_type)

    def new_blob(self) -> BlobWriter:
        """A blob to write: a context manager that leaves nothing behind without `commit`."""
        self._ledger.prepare()
        beside = self._at("tmp", temporary("blob"))
        return BlobWriter(self._files, beside, lambda name: os.path.join(self._blobs, name), self.lease())

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Nothing is pruned meanwhile (STO-08). The kernel ends the lease of a process that dies (STO-10)."""
        self._ledger.prepare()
        with FileLock(self._at("lease.lock"), shared=True, timeout=_WAIT):
            yield

    def read_table(self, digest: Digest) -> bytes | None:
        """The layer writer's table for a stored layer."""
        try:
            with open(self._at("tables", digest.hex), "rb") as file:
                return file.read(_TABLE_LIMIT)
        except OSError:
            return None

    def write_table(self, digest: Digest, data: bytes) -> None:
        """Keep a table. It checks itself when read, so it is not synced."""
        replace_file(self._files, self._at("tables", digest.hex), data, sync=False)

    def quarantine(self, digest: Digest) -> None:
        """Set a damaged blob aside, so that it counts as absent."""
        log.warning("blob %s is damaged and is set aside", digest)
        try:
            self._files.mkdir(self._at("quarantine"))
            self._files.rename(self.blob_path(digest), self._at("quarantine", digest.hex))
        except FileNotFoundError:
            return
        except OSError as e:
            raise disk_error(e, self.blob_path(digest)) from e

    def prune(
        self,
        *,
        keep: Callable[[], Iterable[Digest]] = tuple,
        dry_run: bool = False,
        notice: Callable[[], None] | None = None,
        timeout: float | None = _WAIT,
    ) -> int:
        """Remove what no name and nothing in `keep` needs; gives the bytes that went (or would, with `dry_run`).

        `keep` is asked once nobody else uses the store: digests of blobs, such as layers of build caches.
        """
        if not os.path.isdir(self.root):
            return 0
        with FileLock(self._at("lease.lock"), timeout=timeout, notice=notice), self._ledger.lock(_WAIT):
            sweep = Sweep(self.root, self._files, dry_run=dry_run)
            return sweep.run(self._reachable(self._ledger.load()) | {digest.hex for digest in keep()})

    def repair(self) -> tuple[str, ...]:
        """Replace an unreadable index by its copy, or by an empty one; says what was done (STO-04)."""
        if not os.path.isdir(self.root):
            return ()
        with self._ledger.lock(_WAIT):
            return self._ledger.repair()

    def check(self) -> tuple[str, ...]:
        """Read every blob of every image; says what is damaged or missing, one line each."""
        found = []
        for ref in self._ledger.load().refs:
            try:
                for layer in (layer for image in images_of(self._named(ref.manifest.digest)) for layer in image.layers):
                    with self.open(layer.blob.digest) as stream:
                        while stream.read(1 << 20):
                            pass
            except CorruptError as e:
                found.append(f"{ref.name}: {e.brief}")
        return tuple(found)

    def _at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def _resolve(self, index: Index, reference: str) -> Digest | None:
        """The manifest that a digest, or the beginning of one, means."""
        text = reference.removeprefix("sha256:")
        if len(text) < _SHORTEST or not set(text) <= set("0123456789abcdef"):
            return None
        found = {ref.manifest.digest for ref in index.refs if ref.manifest.digest.hex.startswith(text)}
        if len(found) > 1:
            raise UsageError(
                f"{reference} is the beginning of {len(found)} images' digests",
                slug="ambiguous-image",
                tries=tuple(f"{digest.short}" for digest in sorted(found)),
            )
        if found:
            return found.pop()
        whole = Digest("sha256:" + text)
        return whole if len(text) == 64 and self.has(whole) and self._is_manifest(whole) else None

    def _is_manifest(self, digest: Digest) -> bool:
        try:
            self._named(digest)
        except CorruptError:
            return False
        return True

    def _named(self, digest: Digest) -> Image | Several:
        """What is stored under a digest: an image, or an index of images for several platforms."""
        data = self._json(digest)
        if read_json(data, ManifestFile, where=digest.short).manifests is None:
            return self._image(digest, data)
        listed = listed_images(read_json(data, IndexFile, where=digest.short))
        children = [parse_digest(one.digest, where=digest.short) for one in listed]
        if not children:
            raise CorruptError(f"{digest.short} in the image store is an index of nothing", slug="image-format")
        return Several(images=tuple(self._image(one, self._json(one)) for one in children), original=data)

    def _image(self, digest: Digest, manifest: bytes) -> Image:
        listed = read_json(manifest, ManifestFile, where=digest.short)
        if listed.config is None:
            raise CorruptError(f"{digest.short} in the image store is no image manifest", slug="image-format")
        config = self._json(parse_digest(listed.config.digest, where=digest.short))
        return parse_image(manifest, config, where=digest.short)

    def _json(self, digest: Digest) -> bytes:
        with self.open(digest) as stream:
            data = stream.read(JSON_LIMIT + 1)
            if len(data) > JSON_LIMIT:
                raise CorruptError(f"{digest.short} is too large for a manifest", slug="image-format")
            stream.read(1)
        return data

    def _reachable(self, index: Index) -> set[str]:
        """Names of the blobs that images need."""
        needed: set[str] = set()
        for ref in index.refs:
            needed.add(ref.manifest.digest.hex)
            try:
                what = self._named(ref.manifest.digest)
            except CorruptError as e:
                log.warning("%s: %s", ref.name, e)
                continue
            needed.update(blob.digest.hex for blob in blobs(what))
        return needed
