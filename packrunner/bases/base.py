"""A base: the build image and the run images of one Debian suite, made on first use and then only looked at.

    <data>/bases/debian-13-amd64/     lock.json, markers, the build image's tree
    <data>/bases/downloads/           packages, by digest; kept, because mirrors delete old versions
    <data>/bases/seen.json            dates of the newest Release files seen
    <data>/bases/lock                 held while something is made

Looking at a base that is there reads a few small files; everything else is imported when something must be made.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases import marker
from packrunner.bases.accounts import USER
from packrunner.bases.lock import Lock, home, lock_path, read_lock
from packrunner.bases.recipes import (
    DEFAULT_REFERENCE,
    DEFAULT_VARIANT,
    PATH,
    VARIANTS,
    ImageName,
    Suite,
    Variant,
    image_name,
    parse_reference,
)
from packrunner.certificates import Certificates
from packrunner.errors import CorruptError
from packrunner.events import Noted
from packrunner.formats.api import PLATFORM_API
from packrunner.formats.platform import RunTarget
from packrunner.formats.run import RunImageEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packrunner.engines.base import Engine, User
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

_OLD_AFTER = 7 * 24 * 3600.0


class BaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where bases are kept and come from. `architecture` is OCI's and Debian's name (`amd64`, `arm64`).

    `mirror` is the setting `debian-mirror`; None follows the machine's apt configuration, found below `root`.
    `keyring` is a directory of certificates to believe instead of Debian's. `certificates` are of TLS; `offline`: no
    connection is made.
    """

    data_dir: str
    mirror: str | None = None
    architecture: str = "amd64"
    environ: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(os.environ))
    root: str = "/"
    keyring: str | None = None
    certificates: Certificates = Certificates()
    offline: bool = False
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def directory(self) -> str:
        """The directory of all bases."""
        return os.path.join(self.data_dir, "bases")


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a base is made with."""

    store: LocalStore
    snapshots: Snapshots
    engine: Engine
    reporter: Reporter


class Base:
    """A base by its lock. Its images are made when they are first asked for."""

    def __init__(self, suite: Suite, lock: Lock, settings: BaseSettings, tools: Tools) -> None:
        self._suite = suite
        self._lock = lock
        self._settings = settings
        self._tools = tools
        self._home = home(settings.data_dir, lock.reference, lock.architecture)
        self._held = -1
        self.reference = lock.reference
        self.digest: Digest = lock.digest
        self.resolved_at = lock.resolved_at
        self.architecture = lock.architecture

    @property
    def full_reference(self) -> str:
        """For people and records: `debian:13@77a0c1f2d9e4`."""
        return f"{self.reference}@{self.digest.short}"

    @property
    def user(self) -> User:
        """Who builds and applications run as."""
        return USER

    @property
    def build_env(self) -> Mapping[str, str]:
        """The environment that the build image gives (IMG-01, IMG-02)."""
        return {"PATH": PATH, "CNB_USER_ID": str(USER.uid), "CNB_GROUP_ID": str(USER.gid)}

    @property
    def target(self) -> RunTarget:
        """The platform of the images (IMG-03)."""
        return RunTarget("linux", self.architecture, "", "debian", self._suite.version)

    @property
    def labels(self) -> Mapping[str, str]:
        """None: the build image is of no stack."""
        return {}

    @property
    def carried(self) -> None:
        """The build image has no buildpacks: the built-in ones are shown in it."""
        return

    @property
    def operator(self) -> Mapping[str, bytes]:
        """Nothing: the build image has no /cnb/build-config (IMG-08)."""
        return {}

    @property
    def platform_api(self) -> str:
        """Our own (IMG-13)."""
        return PLATFORM_API

    @property
    def run_images(self) -> tuple[RunImageEntry, ...]:
        """The run images, the default one first (IMG-07)."""
        rest = (variant for variant in VARIANTS if variant != DEFAULT_VARIANT)
        return tuple(RunImageEntry(image=self.run_image_name(variant)) for variant in (DEFAULT_VARIANT, *rest))

    @property
    def watched(self) -> tuple[str, ...]:
        """The lock: what it says decides about everything else."""
        return (lock_path(self._settings.data_dir, self.reference, self.architecture),)

    @property
    def images(self) -> tuple[str, ...]:
        """None: the lock decides which images the names mean."""
        return ()

    def packages(self, image: ImageName) -> Mapping[str, str]:
        """The packages of an image with their versions."""
        return {package.name: package.version for package in self._lock.of(image)}

    @property
    def counts(self) -> dict[str, int]:
        """How many packages are in each image."""
        return {image: len(names) for image, names in self._lock.images.items()}

    @property
    def image(self) -> None:
        """The build image is a tree only."""

    def build_rootfs(self) -> tuple[str, ...]:
        """The build image's tree, for SandboxSpec.rootfs; `prune_bases` leaves it alone while this process lives."""
        self.prepare("build")
        if self._held < 0:
            self._held = marker.hold(self._home, self.digest, "build")
        return (marker.tree_path(self._home, self.digest),)

    def close(self) -> None:
        """Let go of the tree; `prune_bases` may then take it, once no lock names it."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def find_run_image(self, name: str) -> Image | None:
        """A run image by its name in the local store, made if need be; None for another name."""
        for variant in VARIANTS:
            if name == self.run_image_name(variant):
                return self.run_image(variant)
        return None

    def run_image(self, variant: Variant = DEFAULT_VARIANT) -> Image:
        """A run image; it is in the store."""
        found = self._stored(variant)
        if found is None:
            self.prepare(variant)
            found = self._stored(variant)
        if found is None:
            raise CorruptError(
                f"the run image {variant} of {self.full_reference} is gone from the store as soon as it is made",
                slug="base-corrupt",
                tries=("packrunner doctor",),
            )
        return found

    def run_image_name(self, variant: Variant = DEFAULT_VARIANT) -> str:
        """The run image's name in the local store."""
        return image_name(self._suite, variant)

    def prepare(self, *images: ImageName) -> None:
        """Make these images now, together; nothing where all are there."""
        if all(self.is_ready(image) for image in images):
            return
        from packrunner.bases import blueprint, debian

        debian.prepare(blueprint.own(self._suite), images, self._settings, self._tools, lock=self._lock)

    def is_ready(self, image: ImageName) -> bool:
        """Is it made, and still as it was made? A cheap look, not at every file."""
        return marker.is_ready(self._home, self.digest, image, self._tools.store)

    def _stored(self, variant: Variant) -> Image | None:
        return marker.stored(self._home, self.digest, variant, self._tools.store)


def open_base(
    reference: str = DEFAULT_REFERENCE,
    *,
    settings: BaseSettings,
    store: LocalStore,
    snapshots: Snapshots,
    engine: Engine,
    reporter: Reporter,
    images: Sequence[ImageName] = ("build", DEFAULT_VARIANT),
) -> Base:
    """The base that `reference` names, with `images` made; others are made when they are asked for.

    On first use the packages are resolved and locked; later ones take the lock as it is, and note when it is old.
    Raises UsageError (`unknown-builder`, `debian-mirror`), NetworkError, StoreError and EngineError.
    """
    suite = parse_reference(reference)
    tools = Tools(store=store, snapshots=snapshots, engine=engine, reporter=reporter)
    path = lock_path(settings.data_dir, suite.reference, settings.architecture)
    lock = read_lock(path)
    if lock is None:
        from packrunner.bases import blueprint, debian

        lock = debian.prepare(blueprint.own(suite), images, settings, tools)
    base = Base(suite, lock, settings, tools)
    base.prepare(*images)
    say_if_old(lock, settings, reporter, fix=f"packrunner builder update {lock.reference}")
    return base


def find_run_image(
    suite: Suite, variant: Variant, *, settings: BaseSettings, store: LocalStore, reporter: Reporter
) -> Image | None:
    """A run image as the lock has it, if it is made: what `open_base` gives then, without the parts to make it."""
    lock = read_lock(lock_path(settings.data_dir, suite.reference, settings.architecture))
    if lock is None:
        return None
    image = marker.stored(home(settings.data_dir, suite.reference, settings.architecture), lock.digest, variant, store)
    if image:
        say_if_old(lock, settings, reporter, fix=f"packrunner builder update {lock.reference}")
    return image


def say_if_old(lock: Lock, settings: BaseSettings, reporter: Reporter, *, fix: str) -> None:
    """Note that a lock is older than a week, and what makes it newer."""
    age = settings.now() - lock.resolved_at
    if age > _OLD_AFTER:
        days = int(age // (24 * 3600))
        text = f"{lock.reference}@{lock.digest.short} was resolved {days} days ago; to take newer packages: {fix}"
        reporter.emit(Noted(text=text, always=True))
