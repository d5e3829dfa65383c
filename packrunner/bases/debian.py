"""Making Debian bases: one process at a time resolves, fetches and makes, whichever asks first; the others wait.

Imported only when something must be made.
"""

from __future__ import annotations

import functools
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner import certificates
from packrunner.bases import marker
from packrunner.bases.apt_sources import find_archives
from packrunner.bases.download import Network
from packrunner.bases.installed import Installed, changes
from packrunner.bases.lock import home, lock_path, read_lock
from packrunner.bases.making import Maker
from packrunner.bases.release import KEYRING
from packrunner.bases.resolving import Resolver
from packrunner.disk import FileLock, disk_error, write_atomic
from packrunner.errors import CorruptError, NetworkError, PackrunnerError
from packrunner.events import Noted, StepDone, StepStarted, Warned
from packrunner.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.bases.apt_sources import Archives
    from packrunner.bases.base import BaseSettings, Tools
    from packrunner.bases.blueprint import Blueprint
    from packrunner.bases.installed import Change
    from packrunner.bases.lock import Lock
    from packrunner.images.store import LocalStore

_MAX_THREADS = 4
_USUAL = ("build", "python")


def prepare(
    blueprint: Blueprint,
    images: Sequence[str],
    settings: BaseSettings,
    tools: Tools,
    *,
    lock: Lock | None = None,
    given: bool = False,
) -> Lock:
    """Make the images that are missing; resolves the packages first where `lock` is None and none is written yet.

    A lock that is `given` from elsewhere is the one that is followed, and kept for, from then on.
    """
    with _alone(blueprint, settings, tools) as here:
        if lock and given:
            _Preparation(blueprint, settings, tools).follow(lock)
        # Whoever held it may have done all of it.
        lock = lock or read_lock(lock_path(settings.data_dir, blueprint.key, settings.architecture))
        missing = list(images)
        if lock:
            missing = [one for one in images if not marker.is_ready(here, lock.digest, one, tools.store)]
            if not missing:
                return lock
        return _Preparation(blueprint, settings, tools).run(lock, missing)


def gather(blueprint: Blueprint, settings: BaseSettings, tools: Tools) -> Lock:
    """The lock that builds use, or a new one, with the packages of every image downloaded."""
    with _alone(blueprint, settings, tools):
        lock = read_lock(lock_path(settings.data_dir, blueprint.key, settings.architecture))
        return _Preparation(blueprint, settings, tools).gather(lock)


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """The locks before and after, and the images that are made of the newer one; `old` is None where there was none."""

    old: Lock | None
    new: Lock
    images: tuple[str, ...]

    def changes(self, image: str) -> tuple[Change, ...]:
        """What became of an image's packages."""
        return changes(_installed(self.old, image), _installed(self.new, image))


def _installed(lock: Lock | None, image: str) -> dict[str, Installed]:
    return {
        package.name: Installed(version=package.version, source=package.name, security=package.archive == "security")
        for package in (lock.of(image) if lock and image in lock.images else ())
    }


def update(blueprint: Blueprint, settings: BaseSettings, tools: Tools, *, dry_run: bool = False) -> Update:
    """Resolve the packages anew, and make the images that the old lock had; with `dry_run` only resolve.

    The new lock replaces the old one last: until then, and after any failure, builds use the old base.
    """
    with _alone(blueprint, settings, tools) as here:
        try:
            old = read_lock(lock_path(settings.data_dir, blueprint.key, settings.architecture))
        except CorruptError:
            old = None  # renewing it is the way out
        made = tuple(one for one in blueprint.images if old and marker.read(here, old.digest, one)) or _usual(blueprint)
        new = _Preparation(blueprint, settings, tools).renew(old, made, dry_run=dry_run)
        if not dry_run:
            rename(blueprint, new, settings, tools.store)
        return Update(old=old, new=new, images=made)


def _usual(blueprint: Blueprint) -> tuple[str, ...]:
    """What builds need at once: of our own not every run image, of a team's all."""
    return _USUAL if blueprint.own else tuple(blueprint.images)


def rename(blueprint: Blueprint, lock: Lock, settings: BaseSettings, store: LocalStore) -> None:
    """Let the names of images mean those of the lock: they may have been made before, and another since."""
    here = home(settings.data_dir, blueprint.key, settings.architecture)
    for image, name in blueprint.names.items():
        found = marker.stored(here, lock.digest, image, store)
        if found:
            store.write(found, [name])


@contextmanager
def _alone(blueprint: Blueprint, settings: BaseSettings, tools: Tools) -> Iterator[str]:
    """The base's directory, where no other process makes anything meanwhile."""
    here = home(settings.data_dir, blueprint.key, settings.architecture)
    try:
        os.makedirs(here, mode=0o700, exist_ok=True)
    except OSError as error:
        raise disk_error(error, here) from error

    def notice() -> None:
        text = f"waiting for another packrunner, which is making {blueprint.suite.reference} or another base"
        tools.reporter.emit(Noted(text=text, always=True))

    with FileLock(os.path.join(settings.directory, "lock"), notice=notice):
        yield here


class _Preparation:
    """One step on the screen, from the package lists to the images."""

    def __init__(self, blueprint: Blueprint, settings: BaseSettings, tools: Tools) -> None:
        self._blueprint = blueprint
        self._reference = blueprint.suite.reference
        self._settings = settings
        self._tools = tools
        self._downloads = os.path.join(settings.directory, "downloads")
        self._home = home(settings.data_dir, blueprint.key, settings.architecture)

    def run(self, lock: Lock | None, images: Sequence[str]) -> Lock:
        began = time.monotonic()
        reporter = self._tools.reporter
        reporter.emit(StepStarted(phase="base", subject=self._reference))
        checked = "signatures checked"
        if lock is None:
            lock = self._resolve()
            self._keep(lock)
        else:
            checked = f"as locked on {time.strftime('%Y-%m-%d', time.gmtime(lock.resolved_at))}"
            self._say_if_damaged(lock, images)
        count, size = self._make(lock, images)
        detail = f"{count} packages, {size / 1e6:.1f} MB, {checked}"
        reporter.emit(StepDone(phase="base", subject=lock.reference, detail=detail, seconds=time.monotonic() - began))
        return lock

    def follow(self, lock: Lock) -> None:
        path = lock_path(self._settings.data_dir, self._blueprint.key, self._settings.architecture)
        try:
            kept = read_lock(path)
        except CorruptError:
            kept = None
        if kept != lock:
            write_atomic(path, lock.to_json(), sync=True)

    def gather(self, lock: Lock | None) -> Lock:
        began = time.monotonic()
        self._tools.reporter.emit(StepStarted(phase="base", subject=self._reference))
        if lock is None:
            lock = self._resolve()
            self._keep(lock)
        count, size = self._fetched(self._maker(lock), tuple(self._blueprint.images))
        detail = f"{count} packages, {size / 1e6:.1f} MB"
        seconds = time.monotonic() - began
        self._tools.reporter.emit(StepDone(phase="base", subject=lock.reference, detail=detail, seconds=seconds))
        return lock

    def renew(self, old: Lock | None, images: Sequence[str], *, dry_run: bool) -> Lock:
        began = time.monotonic()
        self._tools.reporter.emit(StepStarted(phase="base", subject=self._reference))
        lock = self._resolve()
        same = old is not None and old.digest == lock.digest
        detail = "package lists read, signatures checked"
        if not dry_run:
            missing = [one for one in images if not marker.is_ready(self._home, lock.digest, one, self._tools.store)]
            if missing:
                count, size = self._make(lock, missing)
                detail = f"{count} packages, {size / 1e6:.1f} MB, signatures checked"
            # Also where it is the same: it is of today again.
            self._keep(lock)
        detail = f"nothing newer, {detail}" if same else detail
        seconds = time.monotonic() - began
        self._tools.reporter.emit(StepDone(phase="base", subject=lock.reference, detail=detail, seconds=seconds))
        return lock

    def _make(self, lock: Lock, images: Sequence[str]) -> tuple[int, int]:
        maker = self._maker(lock)
        done = self._fetched(maker, images)
        for image in images:
            maker.make(image)
        return done

    def _maker(self, lock: Lock) -> Maker:
        return Maker(
            home=self._home,
            downloads=self._downloads,
            blueprint=self._blueprint,
            lock=lock,
            store=self._tools.store,
            snapshots=self._tools.snapshots,
            engine=self._tools.engine,
            reporter=self._tools.reporter,
            threads=max(2, min(_MAX_THREADS, os.cpu_count() or 2)),
        )

    def _fetched(self, maker: Maker, images: Sequence[str]) -> tuple[int, int]:
        try:
            return maker.fetch(images, self._reach)
        except NetworkError as error:
            raise self._explained(error) from error

    def _explained(self, error: NetworkError) -> PackrunnerError:
        """Mirrors drop superseded versions; nothing but a new lock helps then."""
        if error.slug != "download-gone":
            return error
        return NetworkError(
            f"a package that {self._reference} is locked to is no longer to be had",
            slug="download-gone",
            cause=f"{error.brief}; mirrors keep only the newest version",
            tries=(f"packrunner builder update {self._reference}",)
            if self._blueprint.own
            else ("packrunner builder lock", "a debian-mirror that keeps old versions, as Debian's snapshots do"),
        )

    def _say_if_damaged(self, lock: Lock, images: Sequence[str]) -> None:
        if "build" in images and "top" in marker.read(self._home, lock.digest, "build"):
            text = f"the unpacked {lock.reference} was damaged or changed: it is made again"
            self._tools.reporter.emit(Warned(text=text))

    def _resolve(self) -> Lock:
        archives, network = self._reach()
        settings = self._settings
        resolver = Resolver(
            archives=archives,
            network=network,
            directory=self._downloads,
            keyring=settings.keyring or KEYRING,
            reporter=self._tools.reporter,
            now=settings.now,
        )
        return resolver.lock(self._blueprint, settings.architecture, _read_seen(settings.directory))

    def _keep(self, lock: Lock) -> None:
        settings = self._settings
        seen = _read_seen(settings.directory)
        seen |= {index.suite: max(index.date, seen.get(index.suite, 0.0)) for index in lock.indexes}
        write_atomic(
            os.path.join(settings.directory, "seen.json"), json.dumps(seen, sort_keys=True).encode(), sync=True
        )
        path = lock_path(settings.data_dir, self._blueprint.key, settings.architecture)
        write_atomic(path, lock.to_json(), sync=True)

    def _reach(self) -> tuple[Archives, Network]:
        settings = self._settings
        network = Network(
            proxies=Proxies.find(settings.environ, root=settings.root),
            context=functools.cache(lambda: certificates.context(settings.certificates, settings.environ)),
            offline=settings.offline,
            sleep=settings.sleep,
        )
        return find_archives(settings.mirror, root=settings.root), network


def _read_seen(directory: str) -> dict[str, float]:
    """Dates of the newest Release files seen. A lost file only means that an older one is not noticed once."""
    try:
        with open(os.path.join(directory, "seen.json"), "rb") as file:
            content = json.load(file)
        return {str(suite): float(date) for suite, date in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
