"""Builders, made: composed."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner import record
from packrunner.cli.services import Created
from packrunner.cli.wiring import beneath, delivering, made, places
from packrunner.cli.wiring.bringing import Opened, stage_dir, tell_strangers
from packrunner.cli.wiring.finding import OWN
from packrunner.cli.wiring.transferring import Transfer
from packrunner.errors import UsageError
from packrunner.events import Warned
from packrunner.formats.buildpack import Distro
from packrunner.formats.target import Platform, same_distro, spelt
from packrunner.images.image import Image
from packrunner.images.several import Several, chosen, images_of, top

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.services import Known
    from packrunner.cli.wiring.beneath import Beneath
    from packrunner.events import Reporter
    from packrunner.formats.builder_file import BuilderFile
    from packrunner.names import Digest


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The builder for one platform, and what it was made of."""

    image: Image
    under: Beneath
    modules: tuple[StagedBuildpack, ...]
    opened: Opened
    has_lifecycle: bool


def create_builder(
    wish: BuilderWish,
    *,
    insecure: Sequence[str],
    ca_certs: Sequence[str],
    reporter: Reporter,
    known: Known | None = None,
) -> Created:
    """Make a builder from a builder.toml; `known` is where it is remembered."""
    began = time.time_ns()
    from packrunner.catalog import creating

    file = creating.read_file(wish.config)
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, docker_host=wish.docker_host)
        if wish.push:
            run_images = tuple(one.image for one in file.recipe.run) if file.recipe else ()
            delivering.check(transfer.registries, (*wish.names, *run_images), nothing="no builder was made")
        own = Platform(architecture=places.architecture())
        parts: list[Part] = []
        for platform in wish.platforms or (own,):
            # What is for another platform is looked for as such.
            there = "" if platform.name == own.name else platform.name
            used = transfer
            if there:
                used = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, platform=there)
            opened = Opened(stack, used, wish.pull_policy, folder=platform.folder)
            around = beneath.Around(
                transfer=used,
                snapshots=opened.snapshots,
                ca_certs=ca_certs,
                stack=stack,
                architecture=platform.architecture if there else "",
            )
            parts.append(_made(wish, file, around, opened, distro=platform.distro, tell=not parts))
        first = parts[0]
        _warn(wish, first.under, reporter, has_lifecycle=first.has_lifecycle)
        inputs = made.inputs(wish, file, first.modules, first.opened, first.under)
        whole = first.image if len(parts) == 1 else Several(images=tuple(part.image for part in parts))
        digest = _put_out(whole, first.under.made, wish, transfer)
        if known is not None and isinstance(whole, Image):
            scan = record.Scan(inputs, app_skip=frozenset(), began_ns=began, replaced=frozenset(first.under.watched))
            made.remember(
                known.record,
                scan,
                wish,
                whole,
                under=first.under,
                opened=first.opened,
                modules=len(first.modules),
                store=transfer.images,
            )
        return Created(digest=digest, modules=len(first.modules), base=first.under.reference)


def _made(
    wish: BuilderWish, file: BuilderFile, around: beneath.Around, opened: Opened, *, distro: Distro, tell: bool
) -> Part:
    """Make the builder for one platform, its layers in the store."""
    from packrunner.catalog import create, creating

    transfer = around.transfer
    if around.architecture and file.lifecycle.uri:
        raise UsageError(
            f"{os.path.basename(wish.config)}: an archive has a lifecycle for one architecture",
            slug="builder-file",
            cause=f"whether {file.lifecycle.uri} is for {around.architecture} cannot be told",
            at=wish.config,
            tries=('[lifecycle] version = "0.21.0", of which each platform gets its own',),
        )
    modules = creating.stage_modules(
        file,
        wish.config,
        stage=opened.stage,
        builtin_dir=opened.builtin_dir,
        packaged=opened.elsewhere.stage,
    )
    if tell:
        tell_strangers(modules, transfer.reporter)
    lifecycle = creating.lifecycle(
        file.lifecycle,
        wish.config,
        architecture=around.architecture or places.architecture(),
        stage_dir=stage_dir(),
        download=opened.elsewhere.fetch,
    )
    under = beneath.find(file, wish.config, around, pull_policy=wish.pull_policy)
    _check_distro(under, distro)
    image = create.make(
        create.Ingredients(
            file=file,
            where=wish.config,
            base=under.image,
            user=under.user,
            modules=modules,
            run_images=under.run_images,
            lifecycle=lifecycle,
            labels={**under.labels, **wish.labels},
            flat=wish.flat,
        ),
        transfer.images,
    )
    return Part(image=image, under=under, modules=modules, opened=opened, has_lifecycle=lifecycle is not None)


def _check_distro(under: Beneath, asked: Distro) -> None:
    """Refuse a base whose labels say that it is another distribution. Raises UsageError."""
    name, version = (under.image.labels.get(f"io.buildpacks.base.distro.{part}", "") for part in ("name", "version"))
    found = Distro(name=name, version=version)
    if asked.name and not same_distro(asked, found):
        raise UsageError(
            f"the builder cannot be for {spelt(asked)}",
            slug="builder-file",
            cause=f"its build image, {under.reference}, is {spelt(found)}",
            tries=(f"--target with :{spelt(found)}", f"[build] with an image that is {spelt(asked)}"),
        )


def _warn(wish: BuilderWish, under: Beneath, reporter: Reporter, *, has_lifecycle: bool) -> None:
    """Say what those who get the builder elsewhere will miss."""
    if not has_lifecycle and (wish.push or wish.load):
        text = "the builder has no lifecycle, which other platforms need: [lifecycle] in builder.toml"
        reporter.emit(Warned(text=text))
    if wish.push and not under.made and under.run_images[0].image.startswith(OWN):
        text = f"no other machine has the builder's run image, {under.run_images[0].image}"
        hint = "a [recipe] in builder.toml, whose run images are sent with the builder"
        reporter.emit(Warned(text=text, hint=hint))


def _put_out(whole: Image | Several, made: Mapping[str, Image], wish: BuilderWish, transfer: Transfer) -> Digest:
    """To where it was asked for, run images that were made for it before it; its digest there."""
    from packrunner.images.transfer import parse_locator, write_output

    transfer.images.write(whole, wish.names)
    for output in wish.outputs:
        write_output(parse_locator(output), whole, transfer.images, wish.names[0])
    for name, run in made.items():
        if wish.push:
            transfer.push(run, (name,), wish.compression)
        if wish.load:
            delivering.load(transfer.daemon(), run, (name,), transfer.images, transfer.reporter)
    digest = transfer.push(whole, wish.names, wish.compression) if wish.push else top(whole).digest
    if wish.load:
        # A Docker engine has images of its own platform, which is taken for this machine's.
        own = chosen(images_of(whole), None, wish.names[0])
        delivering.load(transfer.daemon(), own, wish.names, transfer.images, transfer.reporter)
    return digest
