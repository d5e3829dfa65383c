"""Buildpacks that are not directories of this machine: packages, archives, addresses, git repositories (DST-09).

What comes from elsewhere is put below the stage directory by the digest of what it is, and staged from there:

<stage dir>/unpacked/<sha256 of the archive>/    <stage dir>/git/<sha256 of repository and commit>/
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from packrunner.catalog.check import kind_of
from packrunner.errors import CorruptError, UnsafeArchiveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.places import Place
    from packrunner.catalog.stage import Stage, StagedBuildpack
    from packrunner.images.image import Image


class Reach(Protocol):
    """How far a command can reach for buildpacks."""

    def image(self, reference: str) -> Image:
        """An image of this machine, an engine or a registry, its blobs in the store. Raises UsageError."""

    def holds(self, name: str) -> bool:
        """Whether this machine's store has an image of this name."""

    def lowers(self, image: Image) -> Sequence[str]:
        """Its unpacked layers, which stay as long as the command."""

    def download(self, address: str, digest: str = "") -> tuple[str, str]:
        """What is at an address, as a file of this machine, with its digest; `digest` is the one it should have.

        Raises NetworkError, UsageError (`buildpack-address`).
        """


class Elsewhere:
    """Brings buildpacks here and stages them; `inputs` are the files of this machine that decide what they are.

    `images` are the images that were read by a name, with their digests: under that name another may be found later.
    `moving`: something came from an address where it may be replaced at any time.
    """

    def __init__(self, stage: Stage, stage_dir: str, reach: Reach | None) -> None:
        self._stage = stage
        self._stage_dir = stage_dir
        self._reach = reach
        self.inputs: dict[str, None] = {}
        self.images: dict[str, str] = {}
        self.moving = False

    def stage(self, place: Place) -> tuple[StagedBuildpack, ...]:
        """The buildpack that was meant, then those that its package has beside it.

        Raises UsageError (`buildpack-locator`, `unknown-buildpack`, `unknown-image`, `not-a-package`, and what staging
        raises), CorruptError, UnsafeArchiveError, NetworkError.
        """
        match place.kind:
            case "image":
                return self._package(place.text, place.path)
            case "file":
                path = os.path.abspath(place.path)
                self.inputs[path] = None
                return self._file(place.text, path)
            case "address":
                return self._file(place.text, self.fetch(place))
            case "git":
                # Most builds take nothing from elsewhere, and none of what archives need.
                from packrunner.catalog import archives

                return self._directory(archives.checkout(place, self._stage_dir), place.text)
            case _:
                raise ValueError(place.kind)

    def fetch(self, place: Place) -> str:
        """What is at an address, as a file of this machine. Raises UsageError (`buildpack-checksum`), NetworkError."""
        path, digest = self._reached(place.text).download(place.path, place.digest)
        if place.digest and place.digest != digest:
            raise UsageError(
                f"{place.text} is not what was expected",
                slug="buildpack-checksum",
                cause=f"its SHA-256 is {digest}, and {place.digest} was asked for",
                tries=("look at what has changed there before you take the new checksum",),
            )
        self.moving = self.moving or not place.digest
        return path

    def _file(self, shown: str, path: str) -> tuple[StagedBuildpack, ...]:
        from packrunner.catalog import archives

        if archives.is_image(path):
            return self._package(shown, f"oci-archive:{path}")
        return self._directory(archives.unpack(path, self._stage_dir, shown=shown), shown)

    def _directory(self, path: str, shown: str) -> tuple[StagedBuildpack, ...]:
        return (self._stage.add(path, kind_of(path), shown=shown),)

    def _package(self, shown: str, reference: str) -> tuple[StagedBuildpack, ...]:
        from packrunner.catalog.packaged import stage_all

        reach = self._reached(shown)
        image = reach.image(reference)
        if ":/" not in reference and not reference.startswith("docker:"):
            self.images[reference] = str(image.digest)
        try:
            lowers = reach.lowers(image)
        except (CorruptError, UnsafeArchiveError) as error:
            error.at = error.at or shown
            raise
        entry, others = stage_all(image, lowers, where=shown, stage=self._stage)
        return (entry, *others)

    def _reached(self, text: str) -> Reach:
        if self._reach is None:
            raise UsageError(
                f"{text} cannot be read here",
                slug="buildpack-locator",
                cause="this command takes buildpacks from directories alone",
                tries=("unpack it, and name the directory: --buildpack ./DIR",),
            )
        return self._reach
