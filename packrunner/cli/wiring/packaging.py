"""Packages of buildpacks, made and looked at, composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.package_page import Looked
from packrunner.cli.services import Packaged
from packrunner.cli.wiring import delivering, places
from packrunner.cli.wiring.bringing import Opened, stage_dir, tell_strangers
from packrunner.cli.wiring.transferring import Transfer
from packrunner.errors import UsageError
from packrunner.formats.target import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.package import Contents
    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.catalog.validate import Verdict
    from packrunner.cli.package_wish import PackageWish
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest


def package(wish: PackageWish, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Packaged:
    """Package a buildpack or an extension, with what it names."""
    from packrunner.catalog.package import full_name
    from packrunner.images.several import Several
    from packrunner.images.transfer import parse_locator, write_output

    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        if wish.push:
            delivering.check(transfer.registries, wish.names, nothing="nothing was packaged")
        store = transfer.images
        own = Platform(architecture=places.architecture())
        images: list[Image] = []
        inside: tuple[StagedBuildpack, ...] = ()
        for platform in wish.platforms or (own,):
            # What is for another platform is looked for as such: directories, packages, images of registries.
            there = "" if platform.name == own.name else platform.name
            used = transfer
            if there:
                used = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, platform=there)
            opened = Opened(stack, used, wish.pull_policy, folder=platform.folder)
            contents, image = _made(wish, platform, opened, store)
            if not images:
                inside = contents.all
                tell_strangers(inside, reporter, always=True)
            images.append(image)
        made: list[tuple[str, Digest]] = []
        whole = images[0] if len(images) == 1 else Several(images=tuple(images))
        for output, one in zip(wish.outputs, images if len(wish.outputs) > 1 else [whole], strict=False):
            write_output(parse_locator(output), one, store, "package")
            made.append((output.partition(":")[2], one.digest))
        if wish.names:
            store.write(whole, wish.names)
            digest = transfer.push(whole, wish.names, wish.compression) if wish.push else whole.digest
            made += [(name, digest) for name in wish.names]
        return Packaged(made=tuple(made), contents=tuple(full_name(one) for one in inside))


def _made(wish: PackageWish, platform: Platform, opened: Opened, store: LocalStore) -> tuple[Contents, Image]:
    """What goes into the package for one platform, and that package."""
    from packrunner.catalog import package as packages
    from packrunner.catalog import packing

    contents = packing.gather(
        wish.directory,
        wish.config,
        stage=opened.stage,
        builtin_dir=opened.builtin_dir,
        packaged=opened.elsewhere.stage,
        flat=wish.flat,
        apart=wish.apart,
    )
    return contents, packages.make(contents, platform=platform, labels=wish.labels, store=store)


def look_into(reference: str, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Looked:
    """What a package says of itself: a file, a layout, an image of the store or of a registry, of which no layer is
    fetched. Raises UsageError (`not-a-package`, `unknown-image`).
    """
    from packrunner.catalog import packaged
    from packrunner.images.several import chosen_or_first, images_of

    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        found = transfer.all(_locator(reference))
        images = images_of(found)
        image = chosen_or_first(images)
        packages = tuple(packaged.read(one, where=reference) for one in images)
        return Looked(
            place=reference,
            digest=found.digest,
            image=image,
            package=packages[images.index(image)],
            targets=images,
        )


def _locator(text: str) -> str:
    """A place of a package as places of images are written: a file is an archived layout (DST-01)."""
    from packrunner.catalog.places import classify

    place = classify(text)
    match place.kind:
        case "file":
            return f"oci-archive:{place.path}"
        case "image" | "name":
            return place.path
        case _:
            raise UsageError(
                f"{place.text} is no package that can be looked into",
                slug="not-a-package",
                cause="a package is a .cnb file, oci:DIR, or an image by its name",
                tries=("packrunner buildpack validate DIR, for a directory",),
            )


def validate(directories: Sequence[str]) -> list[Verdict]:
    """Look over buildpacks and extensions."""
    from packrunner.catalog import validate as validation
    from packrunner.catalog.selection import CatalogSettings
    from packrunner.catalog.stage import Stage

    settings = CatalogSettings(stage_dir=stage_dir())
    stage = Stage(settings.stage_dir, sdk_dir=settings.sdk_dir, programs_dir=settings.programs_dir)
    return [validation.validate(directory, stage) for directory in directories]
