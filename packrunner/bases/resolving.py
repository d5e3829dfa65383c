"""Making a lock: signed Release files, the package lists that they name, and the packages of every image from those."""

from __future__ import annotations

import logging
import lzma
import os
import zlib
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases import download, release
from packrunner.bases.lock import Lock, LockedIndex, LockedPackage
from packrunner.bases.packages import Package, Universe, parse_clauses
from packrunner.bases.resolve import resolve
from packrunner.errors import CorruptError, NetworkError, PackrunnerError, UsageError
from packrunner.events import StepProgress, Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packrunner.bases.apt_sources import Archive, Archives
    from packrunner.bases.blueprint import Blueprint
    from packrunner.bases.download import Network
    from packrunner.bases.recipes import Suite
    from packrunner.bases.release import IndexFile, Release
    from packrunner.events import Reporter

_LOG = logging.getLogger(__name__)
_MAX_RELEASE = 8 << 20
_MAX_INDEX = 1 << 30
_PAUSES = (2.0, 5.0)
"""How long to wait, in seconds, for another machine of a mirror to answer."""


class Resolver(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to make a lock; `directory` keeps package lists while they are read, `now` is in seconds."""

    archives: Archives
    network: Network
    directory: str
    keyring: str
    reporter: Reporter
    now: Callable[[], float]

    def lock(self, blueprint: Blueprint, architecture: str, seen: Mapping[str, float]) -> Lock:
        """The lock of today; `seen` has the date of the newest Release seen of each suite.

        Raises NetworkError, CorruptError, and UsageError where the archive has nothing for the architecture, or not
        what a team asks for (`builder-package`).
        """
        suite = blueprint.suite
        try:
            indexes = self._indexes(suite, architecture, seen)
        except NetworkError as error:
            if error.slug != "download-gone":
                raise
            # The archive was renewed between its Release and its lists: once more from the start.
            indexes = self._indexes(suite, architecture, seen)
        universe = Universe()
        for index, file in indexes:
            universe.add_list(self._content(index, file), index.archive)
        packages: dict[str, Package] = {}
        images: dict[str, tuple[str, ...]] = {}
        _check_asked(blueprint, universe)
        for image, recipe in blueprint.images.items():
            chosen = resolve(recipe, universe)
            images[image] = tuple(package.name for package in chosen)
            packages |= {package.name: package for package in chosen}
        for index, _ in indexes:
            os.unlink(os.path.join(self.directory, index.sha256))
        return Lock(
            reference=suite.reference,
            architecture=architecture,
            resolved_at=self.now(),
            indexes=tuple(index for index, _ in indexes),
            packages=tuple(_locked(packages[name]) for name in sorted(packages)),
            images=images,
            recipe=blueprint.recipe,
        )

    def _indexes(
        self, suite: Suite, architecture: str, seen: Mapping[str, float]
    ) -> list[tuple[LockedIndex, IndexFile]]:
        wanted: tuple[tuple[Archive, str], ...] = (
            ("main", suite.codename),
            ("main", f"{suite.codename}-updates"),
            ("security", f"{suite.codename}-security"),
        )
        found: list[tuple[LockedIndex, IndexFile]] = []
        files: list[download.Wanted] = []
        for archive, name in wanted:
            self.reporter.emit(StepProgress(detail=f"reading package lists: {name}"))
            published = self._release(archive, name, seen.get(name, 0.0))
            if published is None:
                self._missing(suite, name)
                continue
            file = release.packages_index(published, architecture)
            found.append((LockedIndex(archive=archive, suite=name, sha256=file.sha256, date=published.date), file))
            files.append(self._wanted(archive, name, published, file))
        total = sum(file.size for file in files)
        # Equal lists (of two empty suites) are one file.
        download.fetch(
            list({file.sha256: file for file in files}.values()),
            self.directory,
            self.network,
            lambda _, done: self.reporter.emit(StepProgress(detail="reading package lists", done=done, total=total)),
        )
        return found

    def _release(self, archive: Archive, suite: str, seen: float) -> Release | None:
        """The suite's Release; None where no root has any. Of the machines behind one name some are behind, too."""
        roots = self.archives.of(archive)
        pauses = _PAUSES if any(not root.startswith("file:") for root in roots) else ()
        for pause in pauses:
            try:
                return self._first_release(roots, suite, seen)
            except NetworkError as error:
                if error.slug != "debian-stale":
                    raise
            self.network.sleep(pause)
        return self._first_release(roots, suite, seen)

    def _first_release(self, roots: Sequence[str], suite: str, seen: float) -> Release | None:
        """That of the first root that has one to believe."""
        failure: PackrunnerError | None = None
        for root in roots:
            url = f"{root}/dists/{suite}/InRelease"
            try:
                read = download.read_text(self.network, [url], name=f"{suite}'s Release", limit=_MAX_RELEASE)
                if read is None:
                    continue
                verified = release.verify(read[0], keyring=self.keyring, at=url)
                published = release.parse(verified, at=url)
                release.check(published, suite, now=self.now(), seen=seen, at=url)
                return published
            except PackrunnerError as error:
                _LOG.debug("%s is no use: %s", url, error)
                failure = failure or error
        if failure:
            raise failure
        return None

    def _missing(self, suite: Suite, name: str) -> None:
        if name == suite.codename:
            raise NetworkError(
                f"no {suite.reference} ({suite.codename}) where Debian packages come from",
                slug="debian-mirror",
                cause=f"{self.archives.origin} leads to {', '.join(self.archives.main)}",
                tries=("PACKRUNNER_DEBIAN_MIRROR=https://<your Debian mirror>/debian packrunner build",),
            )
        self.reporter.emit(
            Warned(
                text=f"no {name} where Debian packages come from: {suite.reference} is made without",
                hint="give two addresses in debian-mirror, the security archive's second",
            )
        )

    def _wanted(self, archive: Archive, suite: str, published: Release, file: IndexFile) -> download.Wanted:
        directory, _, name = file.path.rpartition("/")
        # By hash, so that a mirror renewed this moment still has the list that the Release means.
        place = f"{directory}/by-hash/SHA256/{file.sha256}" if published.by_hash else f"{directory}/{name}"
        return download.Wanted(
            name=f"the package list of {suite}",
            sha256=file.sha256,
            size=file.size,
            urls=tuple(f"{root}/dists/{suite}/{place}" for root in self.archives.of(archive)),
        )

    def _content(self, index: LockedIndex, file: IndexFile) -> bytes:
        with open(os.path.join(self.directory, index.sha256), "rb") as stored:
            data = stored.read()
        try:
            if file.path.endswith(".xz"):
                return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data, _MAX_INDEX)
            return zlib.decompressobj(wbits=31).decompress(data, _MAX_INDEX)
        except (lzma.LZMAError, zlib.error) as error:
            raise CorruptError(
                f"the package list of {index.suite} cannot be decompressed", slug="debian-index"
            ) from error


def _check_asked(blueprint: Blueprint, universe: Universe) -> None:
    """Refuse a package that a team asks for and Debian has not, whatever else would be missing."""
    for asked, at in blueprint.places.items():
        if any(universe.has(relation.name) for clause in parse_clauses(asked) for relation in clause):
            continue
        # 4 ms that only a typo should cost, and a second to look at every name.
        from difflib import get_close_matches

        near = get_close_matches(asked, universe.names(asked[:2]), n=3)
        raise UsageError(
            f"{blueprint.suite.reference} has no package {asked}",
            slug="builder-package",
            at=at,
            cause=f"near it are {', '.join(near)}" if near else "",
            tries=tuple(f'"{name}"' for name in near[:1]),
        )


def _locked(package: Package) -> LockedPackage:
    return LockedPackage(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        sha256=package.sha256,
        size=package.size,
        path=package.path,
        archive=package.archive,
    )


def wanted(packages: Sequence[LockedPackage], archives: Archives) -> list[download.Wanted]:
    """How to fetch locked packages."""
    return [
        download.Wanted(
            name=f"{package.name} {package.version}",
            sha256=package.sha256,
            size=package.size,
            # Without a security archive these are asked for where they are not, and the error says so.
            urls=tuple(f"{root}/{package.path}" for root in archives.of(package.archive) or archives.main),
        )
        for package in packages
    ]
