"""Builders, made: composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.services import Created
from packrunner.cli.wiring import bases, delivering, places, reach
from packrunner.cli.wiring.bringing import Opened, stage_dir
from packrunner.cli.wiring.finding import OWN
from packrunner.cli.wiring.transferring import Transfer
from packrunner.errors import UsageError
from packrunner.events import Warned
from packrunner.formats.run import RunImageEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.builder import Builder
    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.events import Reporter
    from packrunner.formats.builder_file import BuilderFile
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest


def create_builder(
    wish: BuilderWish, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter
) -> Created:
    """Make a builder from a builder.toml."""
    from packrunner.catalog import create, creating

    file = creating.read_file(wish.config)
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, docker_host=wish.docker_host)
        if wish.push:
            delivering.check(transfer.registries, wish.names, nothing="no builder was made")
        opened = Opened(stack, transfer)
        modules = creating.stage_modules(
            file,
            wish.config,
            stage=opened.stage,
            builtin_dir=opened.builtin_dir,
            packaged=opened.elsewhere.stage,
        )

        lifecycle = creating.lifecycle(
            file.lifecycle,
            wish.config,
            architecture=places.architecture(),
            stage_dir=stage_dir(),
            download=opened.elsewhere.fetch,
        )
        base = _base(file, wish, transfer, opened, ca_certs)
        stack.callback(base.close)
        image = create.make(
            create.Ingredients(
                file=file,
                where=wish.config,
                base=_image(base, transfer.images),
                user=(base.user.uid, base.user.gid),
                modules=modules,
                run_images=_run_images(file, base, wish.config),
                lifecycle=lifecycle,
                labels=wish.labels,
            ),
            transfer.images,
        )
        if lifecycle is None and (wish.push or wish.load):
            reporter.emit(
                Warned(text="the builder has no lifecycle, which other platforms need: [lifecycle] in builder.toml")
            )
        digest = _put_out(image, wish, transfer)
        return Created(digest=digest, modules=len(modules), base=base.reference)


def _put_out(image: Image, wish: BuilderWish, transfer: Transfer) -> Digest:
    """To where it was asked for; its digest there."""
    from packrunner.images.transfer import parse_locator, write_output

    transfer.images.write(image, wish.names)
    for output in wish.outputs:
        write_output(parse_locator(output), image, transfer.images, wish.names[0])
    digest = transfer.push(image, wish.names, wish.compression) if wish.push else image.digest
    if wish.load:
        delivering.load(transfer.daemon(), image, wish.names, transfer.images, transfer.reporter)
    return digest


def _base(file: BuilderFile, wish: BuilderWish, transfer: Transfer, opened: Opened, ca_certs: Sequence[str]) -> Builder:
    """What the builder is made on: a base of packrunner's own, or an image that says who builds."""
    from packrunner.bases.recipes import is_recipe

    if not is_recipe(file.build_image):
        return bases.image_builder(file.build_image, opened.snapshots, transfer.finder(wish.pull_policy))
    from packrunner.bases import open_base

    return open_base(
        file.build_image,
        settings=places.base_settings(reach.configured(ca_certs)),
        store=transfer.images,
        snapshots=opened.snapshots,
        engine=places.engine(),
        reporter=transfer.reporter,
        images=("build", "python"),
    )


def _image(base: Builder, images: LocalStore) -> Image:
    """The image of the base; a tree becomes one, once for each of its versions."""
    if base.image is not None:
        return base.image
    from packrunner.images.image import Image
    from packrunner.images.layer import Tree, write_layer

    name, mark = f"{OWN}{base.reference}-build", {"io.packrunner.base": base.full_reference}
    kept = images.read(name)
    if kept and kept.image.labels.get("io.packrunner.base") == base.full_reference:
        return kept.image
    user = base.user
    owners = {user.home.strip("/"): (user.uid, user.gid)}
    tree = Tree(source=base.build_rootfs()[0], target="/", uid=0, gid=0, owners=owners)
    target = base.target
    distro = {
        "io.buildpacks.base.distro.name": target.distro_name,
        "io.buildpacks.base.distro.version": target.distro_version,
    }
    image = Image(
        architecture=target.arch,
        env=tuple(base.build_env.items()),
        user=f"{user.uid}:{user.gid}",
        labels={**distro, **mark},
    ).with_layers(write_layer(images, [tree], created_by=base.full_reference).layer)
    images.write(image, (name,))
    return image


def _run_images(file: BuilderFile, base: Builder, where: str) -> tuple[RunImageEntry, ...]:
    named = tuple(RunImageEntry(image=one.image, mirrors=one.mirrors) for one in file.run_images)
    found = named or tuple(base.run_images)
    if not found:
        raise UsageError(
            f"{where}: it names no image to run on, and neither does {base.reference}",
            slug="builder-file",
            at=where,
            tries=('[[run.images]] with image = "registry.example.com/run:1"',),
        )
    return found
