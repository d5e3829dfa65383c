"""What a build works with: a build image, the run images that go with it, and perhaps buildpacks of its own.

A recipe (`bases.Base`) is one, and so is any image that somebody made to be a builder (`builder_image.ImageBuilder`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.catalog.carried import Carried
    from packrunner.engines.base import User
    from packrunner.formats.platform import RunTarget
    from packrunner.formats.run import RunImageEntry
    from packrunner.images.image import Image
    from packrunner.names import Digest


class Builder(Protocol):
    """A builder, open until `close`; nothing of it is removed from the disk meanwhile."""

    @property
    def reference(self) -> str:
        """What caches of applications go by: the same for every version of it."""

    @property
    def full_reference(self) -> str:
        """For people and records, fixed by a digest."""

    @property
    def digest(self) -> Digest:
        """Of the image, or of the lock that images are made from."""

    @property
    def user(self) -> User:
        """Who builds."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the build image, which may name its stack (STK-01)."""

    @property
    def build_env(self) -> Mapping[str, str]:
        """The environment that the build image gives (IMG-01, IMG-02)."""

    @property
    def operator(self) -> Mapping[str, bytes]:
        """The files of /cnb/build-config/env (IMG-08)."""

    @property
    def target(self) -> RunTarget:
        """What the build image is for (IMG-03)."""

    @property
    def platform_api(self) -> str:
        """The level at which phases and buildpacks meet (IMG-13)."""

    @property
    def run_images(self) -> tuple[RunImageEntry, ...]:
        """The run images that it names, the default one first (IMG-07)."""

    def find_run_image(self, name: str) -> Image | None:
        """One of those images, by its name or that of a mirror; None where there is no such image."""

    @property
    def image(self) -> Image | None:
        """The build image, where it is one of the store; None where there are only its trees."""

    def build_rootfs(self) -> tuple[str, ...]:
        """The build image's trees, lowest first, for SandboxSpec.rootfs."""

    @property
    def carried(self) -> Carried | None:
        """The buildpacks that are in the build image; None for a builder that works with the built-in ones."""

    @property
    def watched(self) -> tuple[str, ...]:
        """Host files and directories: as long as their fingerprints stay the same, so does the builder."""

    @property
    def images(self) -> tuple[str, ...]:
        """Names in the store of what it is: as long as they mean the same images, so does the builder."""

    def close(self) -> None:
        """Let go of the trees."""
