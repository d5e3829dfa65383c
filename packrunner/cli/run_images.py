"""The run images that image extensions can choose from: the base's own, the store's, those of layouts and archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.bases.recipes import VARIANTS
from packrunner.errors import GenerateError, UsageError
from packrunner.images.transfer import parse_locator, read_image
from packrunner.lifecycle.analyze import RunImage
from packrunner.lifecycle.suiting import check_platforms
from packrunner.lifecycle.targets import RunTarget, fill_distro

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.bases import Base
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore


class RunImages:
    """See `lifecycle.extending.RunImages`."""

    def __init__(self, base: Base, store: LocalStore, *, own: RunTarget, os_release: Callable[[], bytes]) -> None:
        self._base = base
        self._store = store
        self._own = own
        self._os_release = os_release

    @property
    def names(self) -> frozenset[str]:
        """Those that the builder offers."""
        return frozenset(self._base.run_image_name(variant) for variant in VARIANTS)

    def find(self, name: str) -> RunImage:
        """A run image by the name in a FROM; one of the base's is made when it is not there yet."""
        for variant in VARIANTS:
            if name == self._base.run_image_name(variant):
                return self.described(self._base.run_image(variant), name)
        try:
            return self.described(read_image(parse_locator(name), self._store), name)
        except UsageError as error:
            raise GenerateError(
                f"an extension chooses the run image {name}, which is not here",
                slug="run-image-unreachable",
                cause="images come from the builder, the local store, layouts and archives; registries come next",
                tries=(*(f"FROM {known}" for known in sorted(self.names)), "FROM oci:/DIR"),
            ) from error

    def is_fixed(self, name: str) -> bool:
        """Whether a name that means another image one day would be noticed before the next build: not for paths."""
        return parse_locator(name).kind == "store"

    def described(self, image: Image, name: str) -> RunImage:
        """The run image with the platform that it is for."""
        return RunImage(image=image, name=name, reference=f"{name}@{image.digest}", target=self.target_of(image, name))

    def target_of(self, image: Image, shown: str) -> RunTarget:
        """What an image is for; a distribution that its labels do not name is the build image's (TGT-07).

        Raises UsageError, slug `run-image-platform`, for one that is not for the build image's platform (IMG-03).
        """
        name, version = (image.labels.get(f"io.buildpacks.base.distro.{part}", "") for part in ("name", "version"))
        found = RunTarget(image.os, image.architecture, image.variant, name, version)
        check_platforms(self._own, found, name=shown)
        return found if name and version else fill_distro(found, self._os_release())
