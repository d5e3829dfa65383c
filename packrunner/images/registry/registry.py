"""Images in registries, by reference: read, pull, push, and what the lifecycle asks of a place for images."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from packrunner.errors import PackrunnerError, UsageError
from packrunner.images.reference import Reference
from packrunner.images.registry.client import Client, Scope
from packrunner.images.registry.failures import Failure
from packrunner.images.registry.manifests import ACCEPT, fetch_all, fetch_image
from packrunner.images.registry.memory import Memory
from packrunner.images.registry.pull import Held, fetch_layer, held_pieces, reader
from packrunner.images.registry.push import Push
from packrunner.images.registry.transport import Transport
from packrunner.images.registry.upload import cancel
from packrunner.images.registry.workers import Progress, run_all
from packrunner.images.several import Several, images_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self, TypeVar

    from packrunner.images.compress import Compression, Compressor
    from packrunner.images.image import Image, Layer
    from packrunner.images.layout import Blobs
    from packrunner.images.registry.credentials import Logins
    from packrunner.images.registry.settings import RegistrySettings
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

    T = TypeVar("T")


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What a push did. `image` is the image as the registry has it: its layers are compressed, its digest another.

    Of those for several platforms it is the first, and `digest` that of their index.

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

    Raises NetworkError (transient): `registry-unreachable`, `registry-throttled`; RefusedError: `registry-auth`,
    `registry-denied`, `registry-refused`, `registry-answer`, `registry-tls`, `offline`; CorruptError:
    `registry-corrupt`, `image-format`; UsageError: `name`, `unknown-image`, `ca-cert`, `client-cert`.
    """

    def __init__(self, settings: RegistrySettings, logins: Logins, *, directory: str = "") -> None:
        self._settings = settings
        self._logins = logins
        self._transport = Transport(settings)
        self._memory = Memory(directory)
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._held: dict[Digest, Held] = {}
        self._compressor: Compressor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()
        if self._compressor:
            self._compressor.close()

    def read(self, reference: str) -> Image | None:
        """The image for the settings' platform, None where there is none; no layer is fetched."""
        parsed = Reference.parse(reference)
        platform = self._settings.platform
        image = self._first(parsed, lambda client, path: fetch_image(client, path, parsed.identifier, platform))
        return self._keep(image, self._places(parsed)) if image else None

    def holds(self, name: str, digest: str) -> bool:
        """Whether the registry itself, and not a mirror, has just this manifest under the name."""
        parsed = Reference.parse(name)
        client = self._client(parsed.registry)
        target = client.path(parsed.repository, f"manifests/{parsed.identifier}")
        scope = Scope(repository=parsed.repository, action="pull")
        with _errors(), client.request("HEAD", target, scope, headers={"Accept": ACCEPT}) as answer:
            if answer.status not in {200, 404}:
                raise client.refusal(answer, scope, f"the manifest of {name}")
            return answer.status == 200 and answer.header("docker-content-digest") == digest

    def open(self, digest: Digest) -> BinaryIO:
        """A blob of an image that was read, verified at its end."""
        return reader(held_pieces(self._held[digest]))

    def pull(self, reference: str, store: LocalStore, *, progress: Callable[[int, int], None] = unheard) -> Image:
        """The image, its blobs in the store; hold `store.lease()` until it is used or has a name.

        `progress` hears of the bytes that came and of all that are to come. Raises UsageError (`unknown-image`).
        """
        image = self.read(reference)
        if image is None:
            raise UsageError(f"there is no image {reference} in its registry", slug="unknown-image")
        missing = {
            layer.blob.digest: layer for layer in image.layers if not store.has(layer.blob.digest, layer.blob.size)
        }
        total = Progress(sum(layer.blob.size for layer in missing.values()))
        ordered = sorted(missing.values(), key=lambda layer: -layer.blob.size)
        with _errors():
            run_all(
                [self._fetch(layer, store, total) for layer in ordered],
                self._settings.connections,
                self._transport.close,
                lambda: progress(total.done, total.total),
            )
        parsed = Reference.parse(reference)
        for layer in image.layers:
            self._memory.add_source(layer.blob.digest, f"{parsed.registry}/{parsed.repository}")
        return image

    def read_all(self, reference: str) -> Image | Several | None:
        """What is there under a name, for every platform, None where there is nothing; no layer is fetched."""
        parsed = Reference.parse(reference)

        def fetch(client: Client, path: str) -> Image | Several | None:
            return fetch_all(client, path, parsed.identifier)

        return self._first(parsed, fetch)

    def _first(self, parsed: Reference, fetch: Callable[[Client, str], T]) -> T:
        """What a mirror has, or the registry itself."""
        places = self._places(parsed)
        with _errors():
            for client, repository in places[:-1]:
                try:
                    found = fetch(client, repository)
                except (Failure, PackrunnerError):  # whatever a mirror has: the registry itself decides (NET-09)
                    continue
                if found:
                    return found
            return fetch(*places[-1])

    def push(
        self,
        image: Image | Several,
        names: Sequence[str],
        blobs: Blobs,
        *,
        compression: Compression = "gzip",
        progress: Callable[[int, int], None] = unheard,
    ) -> Pushed:
        """Write the image under every name, its layers in `blobs` or in images that were read.

        Those for several platforms are written one after the other, then their index under the names.

        Raises what keeps all of them from being written; of what keeps one, `failed` tells.
        """
        groups: dict[tuple[str, str], list[tuple[str, Reference]]] = {}
        for name in names:
            parsed = Reference.parse(name)
            groups.setdefault((parsed.registry, parsed.repository), []).append((name, parsed))
        failed: dict[str, PackrunnerError] = {}
        pushed: Image | Several = image
        sent = layers_sent = layers_there = 0
        for (registry, repository), group in groups.items():
            push = self._push(registry, repository, blobs)
            try:
                with _errors():
                    pushed, refused = _run(push, image, _tags(group), compression, progress)
                    failed.update({name: refused[one.tag].error() for name, one in group if one.tag in refused})
            except PackrunnerError as error:
                failed.update(dict.fromkeys((name for name, _ in group), error))
            sent += push.done.sent
            layers_sent += push.done.layers_sent
            layers_there += push.done.layers_there
        if failed and len(failed) == len(names):
            raise next(iter(failed.values()))
        return Pushed(
            image=images_of(pushed)[0],
            digest=pushed.digest,
            written=tuple(name for name in names if name not in failed),
            sent=sent,
            layers_sent=layers_sent,
            layers_there=layers_there,
            failed=failed,
        )

    def check_read(self, name: str) -> str | None:
        """Why the image could not be read; None when it can be, or could be if it were there (RES-06)."""
        try:
            self.read(name)
        except PackrunnerError as error:
            return _told(error)
        return None

    def check_login(self, registry: str) -> None:
        """Try the login that there is for all of a registry. Raises RefusedError (`registry-auth`)."""
        client = self._client(registry)
        scope = Scope(repository="")
        with _errors(), client.request("GET", "/v2/", scope) as answer:
            if answer.status != 200:
                raise client.refusal(answer, scope, "a login")

    def check_write(self, name: str) -> str | None:
        """Why the image could not be written under this name; None when it can be (RES-06)."""
        error = self.refusal(name)
        return _told(error) if error else None

    def refusal(self, name: str) -> PackrunnerError | None:
        """The error that a push of this name would end with; None when it can be written.

        An upload is begun and given back: what a registry says to that is what it would say in the end.
        """
        parsed = Reference.parse(name)
        client = self._client(parsed.registry)
        scope = Scope(repository=parsed.repository, action="push")
        try:
            with _errors(), client.request("POST", client.path(parsed.repository, "blobs/uploads/"), scope) as answer:
                if answer.status not in {201, 202}:
                    raise client.refusal(answer, scope, "the start of an upload")
                cancel(client, scope, answer)
        except PackrunnerError as error:
            return error
        return None

    def pinned(self, name: str, image: Image) -> str:
        """`name@digest` (RES-04)."""
        return f"{name.partition('@')[0]}@{image.digest}"

    def recorded(self, name: str, image: Image) -> str:
        """`name@digest` (EXP-22)."""
        return self.pinned(name, image)

    def write(self, image: Image, names: Sequence[str], blobs: Blobs) -> tuple[Image, dict[str, str]]:
        """Push; the image as it is there, and what could not be written, and why (EXP-32)."""
        try:
            pushed = self.push(image, names, blobs)
        except PackrunnerError as error:
            return image, dict.fromkeys(names, _told(error))
        return pushed.image, {name: _told(error) for name, error in pushed.failed.items()}

    def _fetch(self, layer: Layer, store: LocalStore, total: Progress) -> Callable[[], None]:
        return lambda: fetch_layer(self._held[layer.blob.digest], layer, store, total.add)

    def _push(self, registry: str, repository: str, blobs: Blobs) -> Push:
        def opened(digest: Digest) -> BinaryIO:
            return blobs.open(digest) if blobs.has(digest) or digest not in self._held else self.open(digest)

        return Push(
            self._client(registry),
            repository,
            memory=self._memory,
            compressor=self._compressing,
            open_blob=opened,
            known_at=self._known_at,
            stop=self._transport.hang_up,
        )

    def _known_at(self, digest: Digest) -> list[str]:
        held = self._held.get(digest)
        read = [f"{client.registry}/{repository}" for client, repository in held.places] if held else []
        return [*read, *self._memory.sources(digest)]

    def _compressing(self) -> Compressor:
        from packrunner.images.compress import Compressor

        with self._lock:
            self._compressor = self._compressor or Compressor()
            return self._compressor

    def _keep(self, image: Image, places: tuple[tuple[Client, str], ...]) -> Image:
        for layer in image.layers:
            self._held[layer.blob.digest] = Held(layer.blob, places)
        return image

    def _places(self, reference: Reference) -> tuple[tuple[Client, str], ...]:
        """Mirrors, then the registry itself."""
        mirrors = self._settings.mirrors.get(reference.registry, ())
        return tuple((self._client(host), reference.repository) for host in (*mirrors, reference.registry))

    def _client(self, registry: str) -> Client:
        with self._lock:
            if registry not in self._clients:
                self._clients[registry] = Client(registry, self._transport, self._logins, self._settings)
            return self._clients[registry]


@contextmanager
def _errors() -> Iterator[None]:
    """Failures become errors."""
    try:
        yield
    except Failure as failure:
        raise failure.error() from failure


def _run(
    push: Push,
    what: Image | Several,
    tags: Sequence[str],
    compression: Compression,
    progress: Callable[[int, int], None],
) -> tuple[Image | Several, dict[str, Failure]]:
    """Push into one repository; what is there then, and for each tag that could not be written why."""
    if not isinstance(what, Several):
        return push.run(what, tags, compression, progress)
    there = [push.run(image, (), compression, progress)[0] for image in what.images]
    same = all(one.digest == image.digest for one, image in zip(there, what.images, strict=True))
    pushed = what if same else Several(images=tuple(there))
    return pushed, push.tag(pushed, tags or (str(pushed.digest),))


def _told(error: PackrunnerError) -> str:
    return f"{error.brief}: {error.cause}" if error.cause else error.brief


def _tags(group: list[tuple[str, Reference]]) -> list[str]:
    """The tags of the names; a name fixed by a digest has none."""
    return list(dict.fromkeys(one.tag for _, one in group if not one.digest))
