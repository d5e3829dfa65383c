"""Images out of a Docker engine's own store and into it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from packrunner.disk import disk_error
from packrunner.errors import EngineError
from packrunner.images.archive import docker_archive, read_docker_archive
from packrunner.names import ImageName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from packrunner.images.dockerd import Dockerd
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore


class Daemon:
    """The images of one engine. Raises what Dockerd raises."""

    def __init__(self, dockerd: Dockerd) -> None:
        self._dockerd = dockerd

    @property
    def api(self) -> Any:
        """The SDK's low-level client; use it inside `translated`."""
        return self._dockerd.api

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
        """Put an image whose layers are in the store into the engine under `names`; its id there."""
        tagged = [ImageName.parse(name).tagged for name in names]
        with self.translated():
            for answer in self.api.load_image(docker_archive(image, store, *tagged)):
                if "error" in answer:
                    raise EngineError(
                        "the Docker engine did not take the image", slug="docker-api", cause=str(answer["error"])[:2000]
                    )
        found = self.inspect(tagged[0])
        return str(found["Id"]) if found else ""
