"""Packages of buildpacks, made and looked at, composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.package_page import Looked
from packrunner.cli.services import Packaged
from packrunner.cli.wiring import delivering, places
from packrunner.cli.wiring.bringing import Opened, stage_dir
from packrunner.cli.wiring.transferring import Transfer
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.validate import Verdict
    from packrunner.cli.package_wish import PackageWish
    from packrunner.events import Reporter
    from packrunner.names import Digest


def package(wish: PackageWish, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Packaged:
    """Package a buildpack or an extension, with what it names."""
    from packrunner.catalog import package as packages
    from packrunner.catalog import packing
    from packrunner.images.transfer import parse_locator, write_output

    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        if wish.push:
            delivering.check(transfer.registries, wish.names, nothing="nothing was packaged")
        store = transfer.images
        opened = Opened(stack, transfer)
        contents = packing.gather(
            wish.directory,
            wish.config,
            stage=opened.stage,
            builtin_dir=opened.builtin_dir,
            packaged=opened.elsewhere.stage,
            flat=wish.flat,
            apart=wish.apart,
        )
        made: list[tuple[str, Digest]] = []
        platforms = wish.platforms or (("linux", places.architecture(), ""),)
        for (system, architecture, variant), output in zip(
            platforms, wish.outputs or ("",) * len(platforms), strict=True
        ):
            platform = packages.Platform(os=system, architecture=architecture, variant=variant)
            image = packages.make(contents, platform=platform, labels=wish.labels, store=store)
            if output:
                write_output(parse_locator(output), image, store, "package")
                made.append((output.partition(":")[2], image.digest))
            if wish.names:
                store.write(image, wish.names)
                there = transfer.push(image, wish.names, wish.compression) if wish.push else image.digest
                made += [(name, there) for name in wish.names]
        return Packaged(made=tuple(made), contents=tuple(packages.full_name(one) for one in contents.all))


def look_into(reference: str, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Looked:
    """What a package says of itself: a file, a layout, an image of the store or of a registry, of which no layer is
    fetched. Raises UsageError (`not-a-package`, `unknown-image`).
    """
    from packrunner.catalog import packaged

    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        place = _locator(reference)
        image = transfer.finder("if-not-present").peek(place)
        if image is None:
            image = transfer.find(place, "never")
        return Looked(place=reference, image=image, package=packaged.read(image, where=reference))


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
