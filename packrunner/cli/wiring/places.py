"""Where things are on this machine: the store, the unpacked layers, engines, settings."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from packrunner import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.bases import BaseSettings
    from packrunner.certificates import Certificates
    from packrunner.cli.wiring.reach import Reach
    from packrunner.engines.base import User
    from packrunner.engines.inline import InlineEngine
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.layouts import Layouts
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.extend import ExtendTools


def store() -> LocalStore:
    """The local image store."""
    from packrunner.images.store import LocalStore

    return LocalStore(os.path.join(paths.data_dir(), "store"))


def snapshots() -> Snapshots:
    """The unpacked layers of the store's images."""
    from packrunner.images.snapshot import Snapshots

    return Snapshots(os.path.join(paths.data_dir(), "snapshots"), store())


def engine(certificates: Certificates | None = None) -> SandboxEngine:
    """Where commands run, and what they believe; as configured unless given."""
    from packrunner.cli.wiring import reach
    from packrunner.engines.sandbox import SandboxEngine

    believed = reach.configured().certificates if certificates is None else certificates
    return SandboxEngine(os.path.join(paths.cache_dir(), "engine"), environ=os.environ, certificates=believed)


def inline_engine() -> InlineEngine:
    """Where commands run in a builder's container."""
    from packrunner.engines.inline import InlineEngine

    return InlineEngine()


@contextmanager
def extending(reporter: Reporter) -> Iterator[ExtendTools]:
    """What images are extended with; the store keeps what is new as long as the context is open."""
    from packrunner.lifecycle import extended
    from packrunner.lifecycle.extend import ExtendTools

    unpacked = snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        images = store()
        stack.enter_context(images.lease())
        records = os.path.join(paths.cache_dir(), extended.DIRECTORY)
        yield ExtendTools(engine=engine(), store=images, snapshots=unpacked, reporter=reporter, records=records)


def layouts(directory: str) -> Layouts:
    """Images in a directory of OCI layouts."""
    from packrunner.images.layouts import Layouts

    return Layouts(directory)


def architecture() -> str:
    """The machine's architecture, as OCI and Debian call it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def launcher() -> str:
    """The program that goes into every image."""
    # Resolved, because the layer writer follows no links and installers may leave one.
    import packrunner

    package = os.path.dirname(os.path.realpath(packrunner.__file__))
    return os.path.realpath(os.path.join(package, "_bin", f"linux-{architecture()}", "launcher"))


def base_settings(within: Reach | None = None) -> BaseSettings:
    """Where bases come from and are kept, and how far to reach for them; as configured unless given."""
    from packrunner import config
    from packrunner.bases import BaseSettings
    from packrunner.cli.wiring import reach

    within = within or reach.configured()
    mirror = config.resolve("debian-mirror", environ=os.environ, config=config.load()).value
    return BaseSettings(
        data_dir=paths.data_dir(),
        mirror=mirror or None,
        architecture=architecture(),
        certificates=within.certificates,
        offline=within.offline,
    )


def read_image(reference: str, images: LocalStore, platform: str = "") -> Image:
    """An image by name, digest or locator, for a platform. Raises UsageError where there is none."""
    from packrunner.images.manifest import parse_platform
    from packrunner.images.transfer import parse_locator, read_image

    return read_image(parse_locator(reference), images, parse_platform(platform))


def overlays(where: SandboxEngine) -> bool:
    """Whether overlays work in the cache directory: tried once per kernel and file system, then remembered."""
    from packrunner.disk import disk_error, write_atomic

    folder = paths.cache_dir()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        device = os.stat(folder).st_dev
    except OSError as error:
        raise disk_error(error, folder) from error
    fact = os.path.join(folder, f"overlay-{device}-{os.geteuid()}-{os.uname().release}")
    try:
        with open(fact, "rb") as file:
            return file.read() == b"yes"
    except FileNotFoundError:
        works = where.overlay_supported(folder)
        write_atomic(fact, b"yes" if works else b"no")
        return works


def owner(user: User) -> tuple[int, int] | None:
    """Who must own what a sandbox writes, where that is not the caller."""
    return (user.uid, user.gid) if os.geteuid() == 0 else None
