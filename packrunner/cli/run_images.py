"""The run images of a build: the builder's own, the store's, those of layouts and archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.errors import GenerateError, NetworkError, RefusedError, UsageError
from packrunner.formats.platform import RunTarget, fill_distro
from packrunner.images.reference import nearest, same_image
from packrunner.images.transfer import parse_locator
from packrunner.lifecycle.analyze import RunImage
from packrunner.lifecycle.suiting import check_platforms

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.catalog.builder import Builder
    from packrunner.formats.run import RunImageEntry
    from packrunner.images.image import Image


class RunImages:
    """See `lifecycle.extending.RunImages`. `read` gives an image by whatever names one, or raises UsageError."""

    def __init__(self, builder: Builder, read: Callable[[str], Image], *, os_release: Callable[[], bytes]) -> None:
        self._builder = builder
        self._read = read
        self._os_release = os_release

    @property
    def names(self) -> frozenset[str]:
        """Those that the builder offers."""
        return frozenset(name for entry in self._builder.run_images for name in entry.names)

    def find(self, name: str) -> RunImage:
        """A run image by the name in a FROM; one of a recipe's is made when it is not there yet."""
        try:
            return self.described(self._builder.find_run_image(name) or self._read(name), name)
        except (UsageError, NetworkError, RefusedError) as error:
            if error.slug == "run-image-platform":
                raise
            here = "it is neither in the local store nor in its registry"
            raise GenerateError(
                f"an extension chooses the run image {name}, which is not here",
                slug="run-image-unreachable",
                cause=here if isinstance(error, UsageError) else error.brief,
                tries=(*(f"FROM {known}" for known in sorted(self.names)), "FROM oci:/DIR"),
            ) from error

    def is_fixed(self, name: str) -> bool:
        """Whether a name that means another image one day would be noticed before the next build: not for paths."""
        return parse_locator(name).kind == "store"

    def described(self, image: Image, name: str) -> RunImage:
        """The run image with the platform that it is for; of one that the builder offers, its other names (EXP-22)."""
        entry = self._entry(name)
        return RunImage(
            image=image,
            name=entry.image if entry else name,
            reference=f"{name}@{image.digest}",
            target=self.target_of(image, name),
            mirrors=entry.mirrors if entry else (),
        )

    def target_of(self, image: Image, shown: str) -> RunTarget:
        """What an image is for; a distribution that its labels do not name is the build image's (TGT-07).

        Raises UsageError, slug `run-image-platform`, for one that is not for the build image's platform (IMG-03).
        """
        name, version = (image.labels.get(f"io.buildpacks.base.distro.{part}", "") for part in ("name", "version"))
        found = RunTarget(image.os, image.architecture, image.variant, name, version)
        check_platforms(self._builder.target, found, name=shown)
        return found if name and version else fill_distro(found, self._os_release())

    def _entry(self, name: str) -> RunImageEntry | None:
        known = (e for e in self._builder.run_images if any(same_image(one, name) for one in e.names))
        return next(known, None)


def default(builder: Builder, output: str) -> tuple[Image, str]:
    """The builder's own run image and the name it was found by: that on the output's registry first (RES-05).

    Raises UsageError (`builder-run-image`) where the builder names none, or none can be had; where a registry did not
    answer, its NetworkError.
    """
    entry = next(iter(builder.run_images), None)
    if entry is None:
        raise UsageError(
            f"{builder.reference} names no run image",
            slug="builder-run-image",
            tries=("--run-image NAME, what the image goes on",),
        )
    silent: NetworkError | None = None
    for name in nearest(entry.names, output):
        try:
            image = builder.find_run_image(name)
        except NetworkError as error:
            silent = silent or error
            continue
        if image is not None:
            return image, name
    raise silent or UsageError(
        f"the run image of {builder.reference} is not here",
        slug="builder-run-image",
        cause=f"looked for were {', '.join(entry.names)}",
        tries=("--run-image NAME, or oci:DIR, for another one",),
    )
