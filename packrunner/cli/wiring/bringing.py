"""Buildpacks from elsewhere: images by the finder, addresses by HTTP; see catalog/elsewhere.py."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner.catalog.places import plain
from packrunner.cli.wiring import places
from packrunner.disk import disk_error, temporary, write_all
from packrunner.errors import NetworkError, UsageError
from packrunner.events import Noted, StepDone, StepStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.cli.wiring.finding import Finder
    from packrunner.cli.wiring.registries import Registries
    from packrunner.cli.wiring.transferring import Transfer
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.lifecycle.wishes import PullPolicy

_MOST = 1 << 30
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Bringing:
    """Brings buildpacks for one command; the caller holds the store's lease, and closes `snapshots`."""

    def __init__(self, finder: Finder, registries: Registries, snapshots: Snapshots, reporter: Reporter) -> None:
        self._finder = finder
        self._registries = registries
        self._snapshots = snapshots
        self._reporter = reporter

    def image(self, reference: str) -> Image:
        """An image of this machine, an engine or a registry."""
        return self._finder.read(reference)

    def holds(self, name: str) -> bool:
        """Whether this machine's store has an image of this name."""
        try:
            return self._finder.here(name) is not None
        except UsageError:  # it cannot be the name of one
            return False

    def lowers(self, image: Image) -> Sequence[str]:
        """Its unpacked layers."""
        return self._snapshots.lowers(image)

    def download(self, address: str, digest: str = "") -> tuple[str, str]:
        """What is at an address, as a file, with its digest; with `digest`, what was fetched once is not again."""
        folder = os.path.join(stage_dir(), "downloads")
        kept = os.path.join(folder, digest.removeprefix("sha256:"))
        if digest and os.path.isfile(kept):
            os.utime(kept)  # prune goes by this
            return kept, digest
        began = time.monotonic()
        shown = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
        self._reporter.emit(StepStarted(phase="fetch", subject=shown))
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            new = os.path.join(folder, temporary("download"))
            try:
                size, found = self._receive(address, new)
                kept = os.path.join(folder, found.removeprefix("sha256:"))
                os.rename(new, kept)
            finally:
                if os.path.lexists(new):
                    os.unlink(new)
        except OSError as error:
            raise disk_error(error, folder) from error
        from packrunner.console import units

        self._reporter.emit(
            StepDone(phase="fetch", subject=shown, detail=units.size(size), seconds=time.monotonic() - began)
        )
        if not digest:
            self._reporter.emit(Noted(text=f"{plain(address)}#sha256={found.removeprefix('sha256:')} would keep it"))
        return kept, found

    def _receive(self, address: str, path: str) -> tuple[int, str]:
        from packrunner.images.registry.failures import Failure
        from packrunner.images.registry.transport import Ask, Transport

        transport = Transport(self._registries.settings)
        fd = os.open(path, _CREATE, 0o600)
        try:
            with transport.send(Ask(method="GET", url=address)) as answer:
                if answer.status != 200:
                    raise _refused(address, answer.status)
                hashed, size = hashlib.sha256(), 0
                for piece in answer.pieces():
                    size += len(piece)
                    if size > _MOST:
                        raise UsageError(f"{plain(address)} has more than {_MOST >> 20} MB", slug="buildpack-locator")
                    hashed.update(piece)
                    write_all(fd, piece)
        except Failure as failure:
            raise failure.error() from failure
        finally:
            os.close(fd)
            transport.close()
        return size, f"sha256:{hashed.hexdigest()}"


def _refused(address: str, status: int) -> NetworkError | UsageError:
    brief = f"{plain(address)} cannot be fetched"
    if status >= 500 or status == 429:
        return NetworkError(brief, slug="buildpack-address", cause=f"the server answers with status {status}")
    return UsageError(brief, slug="buildpack-address", cause=f"the server answers with status {status}")


class Opened:
    """The stage of a command that composes, and what can be staged into it from elsewhere.

    `folder` is the platform as directories for several platforms are named.
    """

    def __init__(self, stack: ExitStack, transfer: Transfer, policy: PullPolicy, *, folder: str) -> None:
        from packrunner.catalog.elsewhere import Elsewhere
        from packrunner.catalog.selection import CatalogSettings
        from packrunner.catalog.stage import Stage

        self.snapshots = places.snapshots()
        stack.callback(self.snapshots.close)
        finder = transfer.finder(policy)
        self.finder = finder
        self.reach = Bringing(finder, transfer.registries, self.snapshots, transfer.reporter)
        settings = CatalogSettings(stage_dir=stage_dir())
        self.builtin_dir = settings.builtin_dir
        self.sdk_dir, self.programs_dir = settings.sdk_dir, settings.programs_dir
        self.stage = Stage(
            settings.stage_dir,
            sdk_dir=settings.sdk_dir,
            programs_dir=settings.programs_dir,
            platform=folder,
        )
        self.elsewhere = Elsewhere(self.stage, settings.stage_dir, self.reach)


def tell_strangers(staged: Iterable[StagedBuildpack], reporter: Reporter, *, always: bool = False) -> None:
    """Note keys of descriptors that mean nothing; packrunner's own are tested for that."""
    from packrunner.catalog.builtin import NAMESPACE
    from packrunner.catalog.validate import strangers

    for one in staged:
        for text in () if one.id.startswith(NAMESPACE) else strangers(one):
            reporter.emit(Noted(text=text, always=always))


def stage_dir() -> str:
    """Where buildpacks are staged."""
    return os.path.join(paths.cache_dir(), "stage")
