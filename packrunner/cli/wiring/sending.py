"""Where a build's image goes besides the local store: may it, has it, did it."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.cli.wiring import delivering
from packrunner.events import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from packrunner.cli.services import Known
    from packrunner.cli.wiring.delivering import DaemonImages
    from packrunner.cli.wiring.registries import Registries
    from packrunner.events import Reporter
    from packrunner.images.image import Descriptor, Image
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.names import Digest


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What went where: the image as its registry has it, its id in the engine; None and "" where it did not."""

    image: Image | None = None
    image_id: str = ""

    @property
    def digest(self) -> Digest | None:
        """The digest in the registry."""
        return self.image.digest if self.image else None

    @property
    def done(self) -> str:
        """What was done, for the last line."""
        words = ["Built", *(["pushed"] if self.image else []), *(["loaded"] if self.image_id else [])]
        return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))

    def facts(self) -> dict[str, str]:
        """What has to be there the next time; nothing where only the store has the image."""
        found = {"pushed": str(self.digest or ""), "loaded": self.image_id}
        return {name: value for name, value in found.items() if value}


class Sending:
    """Where the image of one request goes."""

    def __init__(
        self,
        request: BuildRequest,
        registries: Registries,
        images: LocalStore,
        reporter: Reporter,
        *,
        daemon: Callable[[], DaemonImages],
    ) -> None:
        self._request = request
        self._registries = registries
        self._images = images
        self._reporter = reporter
        self._daemon = daemon
        self.names = (request.name, *request.delivery.tags)

    def check(self) -> None:
        """Raise unless the image, and the cache, can be written to where they shall go (RES-06)."""
        kind, place = self._request.delivery.cache or ("", "")
        pushed = self.names if self._request.delivery.push else ()
        delivering.check(self._registries, (*pushed, *((place,) if kind == "image" else ())))
        if self._request.delivery.load:
            self._daemon().inspect(self._request.name)

    def outside(self, *, make: bool = True) -> OutsideCache | None:
        """The cache that other machines use too; a directory is made, or None where there is none yet."""
        import os

        from packrunner.cli import remembering
        from packrunner.disk import disk_error

        kind, place = self._request.delivery.cache or ("", "")
        if kind == "image":
            from packrunner.lifecycle.cache_image import CacheImage

            return CacheImage(place, self._registries.client)
        path = remembering.cache_directory(self._request)
        if not path:
            return None
        from packrunner.lifecycle.cache_dir import CacheDirectory

        if not make and not os.path.isdir(path):
            return None
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as e:
            raise disk_error(e, path) from e
        return CacheDirectory(path)

    def send(self, image: Image, blobs: Mapping[Digest, Descriptor] = MappingProxyType({})) -> Sent:
        """Send the image, which is in the store, to all that it shall go to.

        `blobs` are those that registries have of layers, by diff id: they are referred to and not made again (EXP-06).
        """
        there, image_id = None, ""
        if self._request.delivery.push:
            there = delivering.push(
                self._registries,
                image.with_blobs(blobs),
                self.names,
                self._images,
                compression=self._request.delivery.compression,
                reporter=self._reporter,
            ).image
        if self._request.delivery.load:
            image_id = delivering.load(self._daemon(), image, self.names, self._images, self._reporter)
        return Sent(image=there, image_id=image_id)

    def again(self, known: Known) -> str:
        """The result line where nothing changed here: what is missing elsewhere is sent again.

        "" where only a build helps: the cache of other machines is gone.
        """
        from packrunner.console.units import duration

        began = time.monotonic()
        kind, place = self._request.delivery.cache or ("", "")
        if kind == "image" and self._registries.client.read(place) is None:
            return ""
        facts: dict[str, Any] = known.record.facts
        stored = self._images.read(self._request.name)
        if stored is None:
            return ""
        missing = self._missing(facts["elsewhere"])
        if missing:
            self.check()
            with self._images.lease():
                self.send(stored.image)
        then = time.localtime(facts["when"])
        clock = time.strftime("%H:%M" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)
        state = "sent again" if missing else "kept here and there"
        text = f"Nothing changed since {clock} ({facts['summary']}): {state}, {duration(time.monotonic() - began)}"
        self._reporter.emit(Finished(text=text))
        return str(facts["result"])

    def _missing(self, elsewhere: dict[str, str]) -> bool:
        """Whether the image that was sent is not where it was sent to any more."""
        pushed, loaded = elsewhere.get("pushed"), elsewhere.get("loaded")
        if pushed:
            for name in self.names:
                if not self._registries.client.holds(name, pushed):
                    return True
        if loaded:
            for name in self.names:
                found = self._daemon().inspect(name)
                if found is None or found.get("Id") != loaded:
                    return True
        return False
