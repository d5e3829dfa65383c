"""Images out of a Docker engine's own store and into it."""

from __future__ import annotations

import logging
import os
import tempfile
from typing import TYPE_CHECKING, Any

from packrunner.disk import disk_error
from packrunner.errors import EngineError
from packrunner.images.archive import docker_archive, read_docker_archive
from packrunner.images.blobs import missing_blob
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from packrunner.images.dockerd import Dockerd, DockerHost
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore

_log = logging.getLogger(__name__)


class Daemon:
    """The images of one engine. Raises what Dockerd raises."""

    def __init__(self, dockerd: Dockerd) -> None:
        self._dockerd = dockerd

    @property
    def host(self) -> DockerHost:
        """Where the engine is."""
        return self._dockerd.host

    @property
    def api(self) -> Any:
        """The SDK's low-level client; use it inside `translated`."""
        return self._dockerd.api

    def check(self) -> None:
        """See that the engine is still there, as far as that can be told without asking it."""
        self._dockerd.check()

    def translated(self) -> AbstractContextManager[None]:
        """What the SDK raises inside, as EngineError."""
        return self._dockerd.translated()

    def has(self, reference: str) -> bool:
        """Whether there is such an image."""
        return self.inspect(reference) is not None

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """What the engine says of an image; None where it has none of this name or id."""
        from docker.errors import NotFound

        api = self.api
        with self.translated():
            try:
                found: dict[str, Any] = api.inspect_image(reference)
            except NotFound:
                return None
        return found

    def read(self, reference: str, store: LocalStore) -> Image | None:
        """An image by name or id, its blobs in the store; None where the engine has none.

        Hold `store.lease()` until it is used or has a name. Raises CorruptError for bytes that are not what they should
        be.
        """
        if not self.has(reference):
            return None
        folder = os.path.dirname(store.root)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".packrunner-save-") as file:
                with self.translated():
                    for piece in self.api.get_image(reference):
                        file.write(piece)
                file.flush()
                return read_docker_archive(file.name, "", store)
        except OSError as e:
            raise disk_error(e, folder) from e

    def load(self, image: Image, names: Sequence[str], store: LocalStore) -> str:
        """Put an image whose layers are in the store into the engine under `names`; its id there.

        An engine on this machine pulls it from us, and so only what it lacks; others, and those that refuse, get all.
        """
        tagged = [ImageName.parse(name).tagged for name in names]
        found, passing = self._known(image), ""
        if found is None:
            from packrunner.images.plain import without_zstd

            # An engine that cannot have a layer tries for more than a minute.
            for layer in image.layers:
                if not store.has(layer.blob.digest, layer.blob.size):
                    raise missing_blob(layer.blob.digest, store.blob_path(layer.blob.digest))
            image = without_zstd(image, store)
        if found is None and self._dockerd.is_local:
            found, passing = self._pulled(image, store)
        if found is None:
            found = self._archived(image, tagged, store)
        with self.translated():
            for name in tagged:
                repository, _, tag = name.rpartition(":")
                self.api.tag(found, repository, tag, force=True)
            if passing:
                self.api.remove_image(passing, noprune=True)
        return found

    def _known(self, image: Image) -> str | None:
        """The image's id, if it is there: the digest of its configuration or, with containerd's store, its own."""
        for digest in (image.config.digest, image.digest):
            found = self.inspect(str(digest))
            if found:
                return str(found["Id"])
        return None

    def _pulled(self, image: Image, store: LocalStore) -> tuple[str | None, str]:
        """Let the engine pull from a registry of ours: the image's id and its name there; None where it does not."""
        from packrunner.images.serve import served

        with served(image, store) as here:
            try:
                with self.translated():
                    answers = list(self.api.pull(here.repository, tag=str(image.digest), stream=True, decode=True))
            except EngineError as e:
                if e.slug != "docker-api":
                    raise
                answers = [{"error": e.cause}]
        refused = next((str(answer["error"]) for answer in answers if "error" in answer), "")
        if refused:
            _log.info("the Docker engine does not pull from %s: %s", here.repository, refused)
            return None, ""
        return self._known(image), f"{here.repository}@{image.digest}"

    def _archived(self, image: Image, tagged: Sequence[str], store: LocalStore) -> str:
        with self.translated():
            for answer in self.api.load_image(docker_archive(image, store, *tagged)):
                if "error" in answer:
                    raise EngineError(
                        "the Docker engine did not take the image", slug="docker-api", cause=str(answer["error"])[:2000]
                    )
        found = self._known(image)
        if found is None:
            raise EngineError(
                "the Docker engine took the image, and has another one now",
                slug="docker-api",
                cause=f"it has none with the id {image.config.digest} or {image.digest}",
            )
        return found
