"""An image into one repository: layers first, then the configuration, the manifest, and tags last (REG-29).

Layers that are stored uncompressed are compressed on the way, unless the registry has what they were compressed to
before.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from packrunner.disk import disk_error, write_all
from packrunner.images.compress import MEDIA_TYPES, Compression, Kind
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.images.manifest import JSON_LIMIT, LAYER_TAR
from packrunner.images.registry.client import Client, Scope
from packrunner.images.registry.failures import Failure
from packrunner.images.registry.transport import Data
from packrunner.images.registry.upload import Upload, cancel, has_blob, mount
from packrunner.images.registry.workers import Progress, run_all
from packrunner.images.several import Several, small_blobs, top
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.images.compress import Compressor
    from packrunner.images.registry.memory import Memory


_STEP = 1 << 20
_SOURCES = 2  # to ask for a mount: each costs a request


class Sent(msgspec.Struct):
    """What was done, added up."""

    sent: int = 0
    layers_sent: int = 0
    layers_there: int = 0


class Push:
    """One image on its way into one repository.

    `open_blob` gives the bytes of a layer as stored here; `known_at` repositories, with registries, that have a blob.
    """

    def __init__(
        self,
        client: Client,
        repository: str,
        *,
        memory: Memory,
        compressor: Callable[[], Compressor],
        open_blob: Callable[[Digest], BinaryIO],
        known_at: Callable[[Digest], Sequence[str]],
        stop: Callable[[], None],
    ) -> None:
        self._client = client
        self._scope = Scope(repository=repository, action="push")
        self._memory = memory
        self._compressor = compressor
        self._open = open_blob
        self._known_at = known_at
        self._stop = stop
        self._lock = threading.Lock()
        self._place = f"{client.registry}/{repository}"
        self.done = Sent()

    def run(
        self, image: Image, tags: Sequence[str], compression: Compression, progress: Callable[[int, int], None]
    ) -> tuple[Image, dict[str, Failure]]:
        """The image as the registry has it, and for each tag that could not be written why. Raises Failure."""
        kind: Kind | None = None if compression == "none" else _kind(image, compression)
        expected = self._expected(image, kind)
        there = expected is not None and self._has_manifest(expected)
        if expected is None or not there:
            expected = self._send(image, kind, progress)
        else:
            self.done.layers_there = len(expected.layers)
        names = tags or (() if there else (str(expected.digest),))
        return expected, self.tag(expected, names)

    def _expected(self, image: Image, kind: Kind | None) -> Image | None:
        """The image as it would be there, where every layer was compressed before."""
        found: dict[Digest, Descriptor] = {}
        for layer in _uncompressed(image, kind):
            blob = self._memory.compressed(layer.diff_id, kind) if kind else None
            if blob is None:
                return None
            found[layer.diff_id] = blob
        return image.with_blobs(found)

    def _has_manifest(self, image: Image) -> bool:
        target = self._client.path(self._scope.repository, f"manifests/{image.digest}")
        headers = {"Accept": image.manifest.media_type}
        with self._client.request("HEAD", target, self._scope, headers=headers) as answer:
            return answer.status == 200

    def _send(self, image: Image, kind: Kind | None, progress: Callable[[int, int], None]) -> Image:
        layers = {layer.blob.digest: layer for layer in image.layers}
        total = Progress(sum(layer.blob.size for layer in layers.values()))
        found: dict[Digest, Descriptor] = {}
        plain = {layer.blob.digest for layer in _uncompressed(image, kind)}

        def work(layer: Layer) -> Callable[[], None]:
            def one() -> None:
                chosen = kind if layer.blob.digest in plain else None
                blob = self._layer(layer, chosen, total)
                if chosen:
                    with self._lock:
                        found[layer.diff_id] = blob
                self._memory.add_source(blob.digest, self._place)

            return one

        # The largest first: they take longest.
        ordered = sorted(layers.values(), key=lambda layer: -layer.blob.size)
        run_all(
            [work(layer) for layer in ordered],
            self._client.settings.connections,
            self._stop,
            lambda: progress(total.done, total.total),
        )
        pushed = image.with_blobs(found)
        self._config(pushed)
        return pushed

    def _layer(self, layer: Layer, kind: Kind | None, total: Progress) -> Descriptor:
        """Make the registry have a layer; what it has."""
        known = self._memory.compressed(layer.diff_id, kind) if kind else layer.blob
        if known and self._there(known):
            total.add(layer.blob.size)
            return known
        with self._memory.spool() as file:
            blob = self._spooled(layer, kind, file)
            if kind:
                self._memory.remember(layer.diff_id, kind, blob)
            if blob != known and self._there(blob):
                total.add(layer.blob.size)
                return blob
            scale = layer.blob.size / max(1, blob.size)
            self._upload(blob, file.fileno(), lambda size: total.add(int(size * scale)))
        with self._lock:
            self.done.layers_sent += 1
        return blob

    def _spooled(self, layer: Layer, kind: Kind | None, file: BinaryIO) -> Descriptor:
        """Write the layer, compressed if it shall be, to a file."""
        made, size = hashlib.sha256(), 0
        with self._open(layer.blob.digest) as stream:
            pieces = self._compressor().pieces(stream, kind) if kind else iter(lambda: stream.read(_STEP), b"")
            for piece in pieces:
                try:
                    write_all(file.fileno(), piece)
                except OSError as error:
                    raise disk_error(error, self._memory.directory) from error
                made.update(piece)
                size += len(piece)
        digest = Digest("sha256:" + made.hexdigest())
        return Descriptor(digest=digest, size=size, media_type=MEDIA_TYPES[kind] if kind else layer.blob.media_type)

    def _there(self, blob: Descriptor) -> bool:
        """Whether the repository has the blob, by itself or by a mount now."""
        if has_blob(self._client, self._scope, blob) or any(
            self._mounted(blob, source) for source in self._sources(blob)
        ):
            with self._lock:
                self.done.layers_there += 1
            return True
        return False

    def _sources(self, blob: Descriptor) -> list[str]:
        """Repositories of the same registry that should have the blob."""
        places = [place.partition("/") for place in self._known_at(blob.digest)]
        own = self._scope.repository
        found = [path for registry, _, path in places if registry == self._client.registry and path != own]
        return list(dict.fromkeys(found))[:_SOURCES]

    def _mounted(self, blob: Descriptor, source: str) -> bool:
        """Any refusal means that it has to be sent (REG-27)."""
        try:
            answer = mount(self._client, self._scope.repository, blob, source)
        except Failure as failure:
            if failure.kind in {"auth", "denied"}:
                return False
            raise
        if answer is None:
            return True
        with answer:
            cancel(self._client, self._scope, answer)
        return False

    def _upload(self, blob: Descriptor, fd: int, heard: Callable[[int], None]) -> None:
        upload = Upload(self._client, self._scope.repository, blob, fd, heard)
        try:
            upload.run()
        finally:
            with self._lock:
                self.done.sent += upload.sent

    def _config(self, image: Image) -> None:
        if has_blob(self._client, self._scope, image.config):
            return
        with self._memory.spool() as file:
            write_all(file.fileno(), image.config_bytes())
            self._upload(image.config, file.fileno(), lambda _: None)

    def tag(self, what: Image | Several, tags: Sequence[str]) -> dict[str, Failure]:
        """Write the manifest, or the index, under every tag that does not mean it already."""
        digest, media_type = what.digest, top(what).media_type
        data = small_blobs(what)[digest]
        failed: dict[str, Failure] = {}
        for tag in tags:
            try:
                if tag != digest and self._means(tag, media_type, data):
                    continue
                self._put(tag, media_type, data)
            except Failure as failure:
                failed[tag] = failure
        return failed

    def _means(self, tag: str, media_type: str, data: bytes) -> bool:
        """Whether a tag means this already; what counts is the manifest itself (REG-05)."""
        target = self._client.path(self._scope.repository, f"manifests/{tag}")
        with self._client.request("GET", target, self._scope, headers={"Accept": media_type}) as answer:
            return answer.status == 200 and answer.small(JSON_LIMIT) == data

    def _put(self, tag: str, media_type: str, data: bytes) -> None:
        target = self._client.path(self._scope.repository, f"manifests/{tag}")
        headers = {"Content-Type": media_type}
        body = Data(data)
        with self._client.request("PUT", target, self._scope, headers=headers, body=body) as answer:
            if answer.status not in {200, 201, 202}:
                raise self._client.refusal(answer, self._scope, f"the manifest of {self._scope.repository}:{tag}")


def _uncompressed(image: Image, kind: Kind | None) -> list[Layer]:
    """The layers to compress."""
    return [layer for layer in image.layers if kind and layer.blob.media_type == LAYER_TAR]


def _kind(image: Image, compression: Kind) -> Kind:
    """Docker's own manifests know gzip only."""
    return "gzip" if image.is_docker else compression
