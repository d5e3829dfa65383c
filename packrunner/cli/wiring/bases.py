"""Which base a build works with, and which run images there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.cli.wiring import places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.bases import Base
    from packrunner.bases.recipes import ImageName as BaseImage
    from packrunner.cli.run_images import RunImages
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.events import Reporter
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.targets import RunTarget


def opened(
    request: BuildRequest,
    images: LocalStore,
    unpacked: Snapshots,
    where: SandboxEngine,
    reporter: Reporter,
    *,
    wanted: tuple[BaseImage, ...] = ("build", "python"),
) -> Base:
    """The base that the request names, with the images it needs made."""
    from packrunner.bases import open_base

    return open_base(
        request.builder,
        settings=places.base_settings(),
        store=images,
        snapshots=unpacked,
        engine=where,
        reporter=reporter,
        images=("build",) if request.run_image else wanted,
    )


def run_image(request: BuildRequest, base: Base, images: LocalStore) -> RunImage:
    """What the application's layers go on."""
    known = run_images(base, images)
    if request.run_image is None:
        return known.described(base.run_image(), base.run_image_name())
    return known.described(places.read_image(request.run_image, images), request.run_image)


def run_images(base: Base, images: LocalStore) -> RunImages:
    """What image extensions choose from."""
    from packrunner.cli.run_images import RunImages

    return RunImages(base, images, own=own_target(base), os_release=lambda: os_release(base.build_rootfs()))


def target(request: BuildRequest, base: Base, images: LocalStore) -> RunTarget:
    """What the run image is for; of the base it is known without the image."""
    own = own_target(base)
    if request.run_image is None:
        return own
    return run_images(base, images).target_of(places.read_image(request.run_image, images), request.run_image)


def own_target(base: Base) -> RunTarget:
    """What the base's own images are for."""
    from packrunner.lifecycle.targets import RunTarget

    own = base.target
    return RunTarget(own.os, own.arch, own.variant, own.distro_name, own.distro_version)


def os_release(rootfs: Sequence[str]) -> bytes:
    """/etc/os-release of the build image, whose /etc has a link to it (TGT-07)."""
    from packrunner.confined import Root

    for directory in reversed(rootfs):
        with Root.open(directory) as root:
            data = root.read("usr/lib/os-release")
        if data is not None:
            return data
    return b""
