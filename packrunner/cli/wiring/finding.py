"""Where images come from that a command names: files, this machine's store, a Docker engine, registries."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, BinaryIO

from packrunner.cli.wiring import places
from packrunner.errors import UsageError
from packrunner.events import Noted, StepDone, StepProgress, StepStarted
from packrunner.images.manifest import parse_platform

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from packrunner.cli.wiring.delivering import DaemonImages
    from packrunner.cli.wiring.reach import Reach
    from packrunner.cli.wiring.registries import Registries
    from packrunner.events import Reporter
    from packrunner.images.image import Descriptor, Image, Layer
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.wishes import PullPolicy
    from packrunner.names import Digest

DAEMON = "docker:"
"""Before the name of an image that is a Docker engine's."""
OWN = "localhost/packrunner/"
"""Before the names of images that packrunner makes itself; no registry has them."""


class Finder:
    """Finds images by name under one pull policy; what came from a registry is in the store under its name then.

    `here_only` says what to do about an image that is not here, where the policy is to ask nobody else. For another
    `platform` than this machine's, which the registries know too, nothing gets a name: it would hide the machine's own.
    """

    def __init__(
        self,
        images: LocalStore,
        registries: Registries,
        reporter: Reporter,
        *,
        policy: PullPolicy,
        daemon: Callable[[], DaemonImages],
        here_only: str = "--pull-policy if-not-present",
        platform: str = "",
    ) -> None:
        self._images = images
        self._registries = registries
        self._reporter = reporter
        self._policy = policy
        self._daemon = daemon
        self._here_only = here_only
        self._platform = platform
        self._asked: dict[str, Image | None] = {}
        self.blobs: dict[Digest, Descriptor] = {}
        """Layers of images that were only looked at, by diff id: what their registry has need not be made again."""
        self.moving = False
        """Whether an image was looked up where a change of it would not be seen without asking again."""

    def read(self, reference: str) -> Image:
        """The image; hold the store's lease until it is used. Raises UsageError (`unknown-image`), NetworkError."""
        found = self.find(reference)
        if found is None:
            where = "in the store" if self._policy == "never" else "in the store or in its registry"
            raise UsageError(
                f"there is no image {reference}",
                slug="unknown-image",
                cause=f"it was looked for {where}",
                tries=(self._here_only,) if self._policy == "never" else ("packrunner images",),
            )
        return found

    def find(self, reference: str) -> Image | None:
        """The image, its blobs in the store; None where there is none."""
        if reference not in self._asked:
            self._asked[reference] = self._find(reference)
        return self._asked[reference]

    def peek(self, reference: str) -> Image | None:
        """The image, but of one that only a registry has no layers: they can be had by `layer`."""
        if not is_name(reference):
            return self.find(reference)
        here = self.here(reference)
        if self._policy == "never" or (here and self._policy == "if-not-present"):
            return here
        self.moving = self.moving or self._policy == "always"
        there = self._registries.client.read(reference)
        if there:
            self.blobs.update({layer.diff_id: layer.blob for layer in there.layers})
        return there if there and not _same(here, there) else here

    def layer(self, layer: Layer) -> BinaryIO:
        """The stored bytes of a layer of an image that was looked at in a registry."""
        return self._registries.client.open(layer.blob.digest)

    def _find(self, reference: str) -> Image | None:
        if reference.startswith(DAEMON):
            return self._from_daemon(reference.removeprefix(DAEMON))
        if not is_name(reference):
            return places.read_image(reference, self._images, self._platform)
        here = self.here(reference)
        fits = here and (self._policy == "if-not-present") and not self._is_of_another(here, reference)
        if reference.startswith(OWN) or self._policy == "never" or fits:
            return here
        self.moving = self.moving or self._policy == "always"
        return self._pulled(reference, here)

    def _is_of_another(self, here: Image, reference: str) -> bool:
        """Whether an image that is here is for another platform than the one asked for, and its registry is known."""
        host, slash, _ = reference.partition("/")
        known = bool(slash) and ("." in host or ":" in host or host == "localhost")
        wanted = parse_platform(self._platform)
        return bool(self._platform) and known and (here.os, here.architecture) != (wanted.os, wanted.architecture)

    def here(self, reference: str) -> Image | None:
        """The image in this machine's store; None where it has none."""
        name, at, digest = reference.partition("@")
        stored = self._images.read(digest if at and name else reference, parse_platform(self._platform))
        return stored.image if stored else None

    def _pulled(self, reference: str, here: Image | None) -> Image | None:
        """The registry's image; where it has none, or the same, the one that is here."""
        began = time.monotonic()
        client = self._registries.client
        there = client.read(reference)
        if there is None or _same(here, there):
            return here
        self._reporter.emit(StepStarted(phase="pull", subject=_subject(reference)))
        image = client.pull(reference, self._images, progress=self._progress)
        self._images.write(image, () if "@" in reference or self._platform else (reference,))
        self._done(reference, image, began)
        return image

    def _from_daemon(self, name: str) -> Image | None:
        """The image of a Docker engine, copied into the store once for each of its versions."""
        self.moving = True
        began = time.monotonic()
        daemon = self._daemon()
        facts = daemon.inspect(name)
        if facts is None:
            return None
        kept = f"{OWN}docker/{name.partition('@')[0].rpartition('/')[2]}"
        stored = self._images.read(kept)
        if stored and facts.get("Id") in {stored.image.config.digest, stored.digest}:
            return stored.image
        self._reporter.emit(StepStarted(phase="pull", subject=_subject(name)))
        image = daemon.read(name, self._images)
        if image is not None:
            self._images.write(image, (kept,))
            self._done(name, image, began)
        return image

    def _progress(self, done: int, total: int) -> None:
        from packrunner.console.units import size

        self._reporter.emit(StepProgress(detail=f"{size(done)} of {size(total)}", done=done, total=total))

    def _done(self, reference: str, image: Image, began: float) -> None:
        from packrunner.console.units import number, size

        detail = f"{number(len(image.layers), 'layer')}, {size(image.size)}"
        spent = time.monotonic() - began
        self._reporter.emit(StepDone(phase="pull", subject=_subject(reference), detail=detail, seconds=spent))
        self._reporter.emit(Noted(text=f"{reference} is {image.digest}"))


def _subject(reference: str) -> str:
    from packrunner.console.units import shorten_middle

    return shorten_middle(reference, 19)


def _same(here: Image | None, there: Image) -> bool:
    """Whether it is one image: by its configuration, as layers may be compressed there and not here."""
    return here is not None and here.config.digest == there.config.digest


def is_name(reference: str) -> bool:
    """Whether a registry may have it: it is no file, no engine's image and no bare digest."""
    from packrunner.images.transfer import parse_locator

    if reference.startswith((DAEMON, "sha256:")) or parse_locator(reference).kind != "store":
        return False
    from packrunner.images.reference import Reference

    try:
        Reference.parse(reference)
    except UsageError:
        return False
    return True


def configured(images: LocalStore, stack: ExitStack, reporter: Reporter, *, within: Reach | None = None) -> Finder:
    """What finds images for a command without flags about it; `within` is as configured unless given."""
    from packrunner import config
    from packrunner.cli.wiring import engines, reach
    from packrunner.cli.wiring.registries import Registries

    policy = config.resolve("pull-policy", environ=os.environ, config=config.load()).value
    registries = Registries(stack, reporter, within or reach.configured())
    return Finder(images, registries, reporter, policy=policy, daemon=engines.daemons(stack))
