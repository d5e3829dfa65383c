"""Which base a build works with, and which run images there are."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner.cli.wiring import places, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.bases.recipes import ImageName as BaseImage
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.builder_image import ImageBuilder
    from packrunner.catalog.select import Selection
    from packrunner.cli.run_images import RunImages
    from packrunner.cli.wiring.finding import Finder
    from packrunner.engines.base import Engine
    from packrunner.events import Reporter
    from packrunner.formats.platform import RunTarget
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.request import BuildRequest


def opened(
    request: BuildRequest,
    images: LocalStore,
    unpacked: Snapshots,
    where: Engine,
    reporter: Reporter,
    *,
    finder: Finder,
    wanted: tuple[BaseImage, ...] = ("build", "python"),
) -> Builder:
    """The builder that the request names; of a recipe, the images that the build needs are made.

    Raises UsageError: `unknown-builder`, `not-a-builder`, `builder-platform`; PlatformApiError (IMG-13).
    """
    from packrunner.bases.recipes import is_recipe

    if not is_recipe(request.builder):
        with images.lease():
            builder = image_builder(request.builder, unpacked, finder)
            # From here on the trees are held, and the store may be pruned.
            builder.build_rootfs()
        return builder
    from packrunner.bases import open_base

    return open_base(
        request.builder,
        settings=places.base_settings(reach.of(request)),
        store=images,
        snapshots=unpacked,
        engine=where,
        reporter=reporter,
        images=("build",) if request.run_image else wanted,
    )


def image_builder(
    reference: str, unpacked: Snapshots, finder: Finder, *, look: bool = False, architecture: str = ""
) -> ImageBuilder:
    """The builder in an image, wherever that is; hold the store's lease until it is unpacked. Raises as `opened`.

    It has to be for this machine, or another `architecture`. With `look` no layer is fetched of one in a registry whose
    labels say everything.
    """
    from packrunner.bases.recipes import unknown_builder
    from packrunner.catalog import memory
    from packrunner.catalog.builder_image import ImageBuilder
    from packrunner.errors import UsageError
    from packrunner.images.transfer import parse_locator

    try:
        image = (finder.peek(reference) if look else None) or finder.read(reference)
    except UsageError as error:
        if error.slug not in {"unknown-image", "name"}:
            raise
        raise unknown_builder(reference, error.brief) from error
    locator = parse_locator(reference)
    build = functools.partial(
        ImageBuilder,
        reference=reference,
        snapshots=unpacked,
        find=lambda name: _beside(locator.path, name, finder),
        images=(locator.path,) if locator.kind == "store" else (),
        watched=() if locator.kind == "store" else (locator.path,),
        records=os.path.join(paths.cache_dir(), memory.DIRECTORY),
    )
    builder = build(image)
    if look and not builder.is_told:
        builder = build(finder.read(reference))
    builder.check(architecture or places.architecture())
    return builder


def _beside(builder: str, name: str, finder: Finder) -> Image:
    """A run image: where the builder is a Docker engine's, that engine's comes first."""
    from packrunner.cli.wiring.finding import DAEMON

    found = finder.find(DAEMON + name) if builder.startswith(DAEMON) else None
    return found or finder.read(name)


def run_image(request: BuildRequest, builder: Builder, finder: Finder) -> RunImage:
    """What the application's layers go on."""
    known = run_images(builder, finder)
    if request.run_image is not None:
        return known.described(finder.read(request.run_image), request.run_image)
    from packrunner.cli.run_images import default

    return known.described(*default(builder, request.name))


def run_images(builder: Builder, finder: Finder) -> RunImages:
    """What image extensions choose from."""
    from packrunner.cli.run_images import RunImages

    return RunImages(builder, finder.read, os_release=lambda: os_release(builder.build_rootfs()))


def target(request: BuildRequest, builder: Builder, finder: Finder) -> RunTarget:
    """What the run image is for. A recipe's need not be made for that, and a missing one is like the builder."""
    if request.run_image is None:
        from packrunner.errors import UsageError

        try:
            return builder.target if builder.carried is None else run_image(request, builder, finder).target
        except UsageError as error:
            if error.slug != "builder-run-image":
                raise
            return builder.target
    return run_images(builder, finder).target_of(finder.read(request.run_image), request.run_image)


def check_python(selection: Selection, builder: Builder) -> None:
    """Raise UsageError, slug `builder-python`, where the builder's image lacks what buildpacks on the SDK run on."""
    staged = [b for b in (*selection.buildpacks.values(), *selection.extensions.values()) if b.sdk]
    if builder.carried is None or not staged:
        return  # ours has one
    from packrunner.catalog import interpreter
    from packrunner.images.view import View

    with View(builder.build_rootfs()) as files:
        interpreter.check(staged, files, path=builder.build_env.get("PATH", ""), builder=builder.reference)


def check_platform(request: BuildRequest, builder: Builder, run: RunImage) -> None:
    """Raise UsageError, slug `image-platform`, where the image that was asked for is for another platform."""
    from packrunner.errors import UsageError

    asked = request.shape.platform
    wanted = (*asked.split("/"), "", "")[:3]
    for what, target in (("builder", builder.target), ("run image", run.target)):
        if any(want and have and want != have for want, have in zip(wanted, target[:3], strict=True)):
            raise UsageError(
                f"an image for {asked} cannot be built here",
                slug="image-platform",
                cause=f"the {what} is for {'/'.join(filter(None, target[:3]))}",
                tries=("a machine of that platform, or a builder and a run image for it",),
            )


def os_release(rootfs: Sequence[str]) -> bytes:
    """/etc/os-release of the build image, wherever links lead to it (TGT-07)."""
    from packrunner.images.view import View

    with View(rootfs) as files:
        return files.read("/etc/os-release") or b""
