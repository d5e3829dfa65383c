"""Builders carried to machines without a network, composed.

<directory>/bases, packages    bases made from Debian packages (bases/carrying.py)
<directory>/images             an OCI layout: builders that are images, and their run images, by their names
<directory>/packrunner.json    written last: it is complete
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner.cli.wiring import bases, places, reach
from packrunner.disk import disk_error, write_atomic
from packrunner.errors import NetworkError, UsageError
from packrunner.events import StepDone, Warned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.bases.recipes import Suite
    from packrunner.catalog.builder_image import ImageBuilder
    from packrunner.cli.wiring.finding import Finder
    from packrunner.errors import PackrunnerError
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore

_SEAL, _IMAGES, _VERSION = "packrunner.json", "images", 1


def fetch_builder(builder: str, directory: str, *, ca_certs: Sequence[str], reporter: Reporter) -> list[str]:
    """Put everything that builds with `builder` need into a directory, which may hold others; says what."""
    from packrunner.bases.recipes import is_recipe, parse_reference

    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise disk_error(error, directory) from error
    if is_recipe(builder):
        found = [_put_base(parse_reference(builder), directory, ca_certs, reporter)]
    else:
        found = _put_images(builder, directory, ca_certs, reporter)
    write_atomic(os.path.join(directory, _SEAL), json.dumps({"version": _VERSION}).encode(), mode=0o644, sync=True)
    return found


def _put_base(suite: Suite, directory: str, ca_certs: Sequence[str], reporter: Reporter) -> str:
    from packrunner.bases import carrying
    from packrunner.bases.base import Tools

    within = reach.configured(ca_certs)
    with ExitStack() as stack:
        unpacked = places.snapshots()
        stack.callback(unpacked.close)
        tools = Tools(store=places.store(), snapshots=unpacked, engine=places.engine(), reporter=reporter)
        return carrying.put(suite, directory, places.base_settings(within), tools).reference


def _put_images(builder: str, directory: str, ca_certs: Sequence[str], reporter: Reporter) -> list[str]:
    """An image that is a builder, and those of its run images that are to be had."""
    from packrunner.cli.wiring import finding
    from packrunner.images.layout_write import write_layout
    from packrunner.names import ImageName

    if not finding.is_name(builder):
        raise UsageError(
            f"{builder} can be carried as it is",
            slug="fetched",
            cause="only what has a name is fetched",
            tries=(f"on the other machine: packrunner build --builder {builder}",),
        )
    images, unpacked, found = places.store(), places.snapshots(), []
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        stack.enter_context(images.lease())
        finder = finding.configured(images, stack, reporter, within=reach.configured(ca_certs))
        opened = bases.image_builder(builder, unpacked, finder)
        stack.callback(opened.close)
        wanted = {builder: opened.image, **_run_images(opened, finder, reporter)}
        for name, image in wanted.items():
            tagged = ImageName.parse(name.partition("@")[0]).tagged
            write_layout(os.path.join(directory, _IMAGES), image, images, tagged)
            found.append(tagged)
    return found


def _run_images(opened: ImageBuilder, finder: Finder, reporter: Reporter) -> dict[str, Image]:
    """The run images that a builder names, from their own places or mirrors; one at least has to be to be had."""
    found: dict[str, Image] = {}
    refused: list[PackrunnerError] = []
    for entry in opened.run_images:
        for name in (entry.image, *entry.mirrors):
            try:
                image = finder.find(name)
            except NetworkError as error:
                refused.append(error)
                continue
            if image:
                found[entry.image] = image
                break
        else:
            reporter.emit(Warned(text=f"the run image {entry.image} is not to be had, and is left out"))
    if refused and not found:
        raise refused[0]
    return found


def take_builders(directory: str, *, reporter: Reporter) -> list[str]:
    """Take everything that `fetch_builder` put into a directory; says what. No network is used.

    Raises UsageError (`fetched`) for a directory that is none, or was not finished; CorruptError; StoreError.
    """
    from packrunner.bases import carrying

    _check(directory)
    found = []
    for base in carrying.take(directory, places.base_settings(reach.Reach(offline=True))):
        detail = f"{base.packages} packages, {base.size / 1e6:.1f} MB, all as locked"
        reporter.emit(StepDone(phase="base", subject=base.reference, detail=detail, seconds=0.0))
        found.append(base.reference)
    return [*found, *_take_images(os.path.join(directory, _IMAGES), places.store())]


def _take_images(layout: str, images: LocalStore) -> Iterator[str]:
    from packrunner.images.layout import names_in, read_layout

    if not os.path.isdir(layout):
        return
    with images.lease():
        for name in names_in(layout):
            images.write(read_layout(layout, name, images), [name])
            yield name


def _check(directory: str) -> None:
    shown = paths.readable(directory)
    try:
        with open(os.path.join(directory, _SEAL), "rb") as file:
            version = json.loads(file.read(1 << 16))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{shown} is not a directory that builders were fetched into, or was not finished",
            slug="fetched",
            at=os.path.join(shown, _SEAL),
            tries=(f"where there is a network: packrunner builder fetch --to {shown}",),
        ) from None
    if version != _VERSION:
        raise UsageError(
            f"{shown} was made by a newer packrunner", slug="fetched", tries=("the same packrunner on both machines",)
        )
