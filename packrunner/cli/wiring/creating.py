"""Builders, made: composed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner import record
from packrunner.cli.services import Created
from packrunner.cli.wiring import beneath, delivering, made, places
from packrunner.cli.wiring.bringing import Opened, stage_dir, tell_strangers
from packrunner.cli.wiring.finding import OWN
from packrunner.cli.wiring.transferring import Transfer
from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.services import Known
    from packrunner.cli.wiring.beneath import Beneath
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.names import Digest


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
    from packrunner.catalog import create, creating

    file = creating.read_file(wish.config)
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, docker_host=wish.docker_host)
        if wish.push:
            run_images = tuple(one.image for one in file.recipe.run) if file.recipe else ()
            delivering.check(transfer.registries, (*wish.names, *run_images), nothing="no builder was made")
        opened = Opened(stack, transfer, wish.pull_policy)
        modules = creating.stage_modules(
            file,
            wish.config,
            stage=opened.stage,
            builtin_dir=opened.builtin_dir,
            packaged=opened.elsewhere.stage,
        )
        tell_strangers(modules, reporter)
        lifecycle = creating.lifecycle(
            file.lifecycle,
            wish.config,
            architecture=places.architecture(),
            stage_dir=stage_dir(),
            download=opened.elsewhere.fetch,
        )
        under = beneath.find(
            file,
            wish.config,
            beneath.Around(transfer=transfer, snapshots=opened.snapshots, ca_certs=ca_certs, stack=stack),
            pull_policy=wish.pull_policy,
        )
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
        _warn(wish, under, reporter, has_lifecycle=lifecycle is not None)
        inputs = made.inputs(wish, file, modules, opened, under)
        digest = _put_out(image, under.made, wish, transfer)
        if known is not None:
            scan = record.Scan(inputs, app_skip=frozenset(), began_ns=began, replaced=frozenset(under.watched))
            made.remember(
                known.record,
                scan,
                wish,
                image,
                under=under,
                opened=opened,
                modules=len(modules),
                store=transfer.images,
            )
        return Created(digest=digest, modules=len(modules), base=under.reference)


def _warn(wish: BuilderWish, under: Beneath, reporter: Reporter, *, has_lifecycle: bool) -> None:
    """Say what those who get the builder elsewhere will miss."""
    if not has_lifecycle and (wish.push or wish.load):
        text = "the builder has no lifecycle, which other platforms need: [lifecycle] in builder.toml"
        reporter.emit(Warned(text=text))
    if wish.push and not under.made and under.run_images[0].image.startswith(OWN):
        text = f"no other machine has the builder's run image, {under.run_images[0].image}"
        hint = "a [recipe] in builder.toml, whose run images are sent with the builder"
        reporter.emit(Warned(text=text, hint=hint))


def _put_out(image: Image, made: Mapping[str, Image], wish: BuilderWish, transfer: Transfer) -> Digest:
    """To where it was asked for, run images that were made for it before it; its digest there."""
    from packrunner.images.transfer import parse_locator, write_output

    transfer.images.write(image, wish.names)
    for output in wish.outputs:
        write_output(parse_locator(output), image, transfer.images, wish.names[0])
    for name, run in made.items():
        if wish.push:
            transfer.push(run, (name,), wish.compression)
        if wish.load:
            delivering.load(transfer.daemon(), run, (name,), transfer.images, transfer.reporter)
    digest = transfer.push(image, wish.names, wish.compression) if wish.push else image.digest
    if wish.load:
        delivering.load(transfer.daemon(), image, wish.names, transfer.images, transfer.reporter)
    return digest
