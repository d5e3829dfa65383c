"""What a builder is made on: images of somebody's, packrunner's own base, or images that its recipe makes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.catalog import creating
from packrunner.cli.wiring import bases, places, reach
from packrunner.cli.wiring.finding import OWN
from packrunner.errors import UsageError
from packrunner.formats import builder
from packrunner.formats.run import RunImageEntry
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from packrunner.bases import Base
    from packrunner.bases.lock import Lock
    from packrunner.bases.recipes import ImageName
    from packrunner.bases.team import Team
    from packrunner.catalog.builder import Builder
    from packrunner.cli.wiring.transferring import Transfer
    from packrunner.formats.builder_file import BuilderFile, Recipe
    from packrunner.images.image import Image
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.wishes import PullPolicy


class Beneath(msgspec.Struct, frozen=True, kw_only=True):
    """The image, who builds in it, and what it is called; `made` are run images that were made with it, by name.

    As long as the files `watched` and the images that `names` mean stay the same, so does all of it, unless `moving`.
    """

    image: Image
    user: tuple[int, int]
    run_images: tuple[RunImageEntry, ...]
    reference: str
    made: dict[str, Image] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    watched: tuple[str, ...] = ()
    names: dict[str, str] = msgspec.field(default_factory=dict)
    moving: bool = False


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What the command has: until `stack` is closed, what was found stays."""

    transfer: Transfer
    snapshots: Snapshots
    ca_certs: Sequence[str]
    stack: ExitStack
    architecture: str = ""
    """Another one than this machine's."""


def find(file: BuilderFile, where: str, around: Around, *, pull_policy: PullPolicy) -> Beneath:
    """What the builder in the file `where` is made on, made where need be."""
    from packrunner.bases.recipes import is_recipe

    if around.architecture and (file.recipe or is_recipe(file.build_image)):
        raise UsageError(
            f"{os.path.basename(where)}: this machine makes no base for {around.architecture}",
            slug="builder-file",
            cause="of Debian's packages bases are made for the machine that makes them",
            at=where,
            tries=("without --target, on a machine of that platform", "[build] with an image for that platform"),
        )
    if file.recipe:
        return _made(file.recipe, where, around)
    base: Builder
    finder = around.transfer.finder(pull_policy)
    if is_recipe(file.build_image):
        base = _own(file.build_image, around, ("build", "python"))
    else:
        base = bases.image_builder(file.build_image, around.snapshots, finder, architecture=around.architecture)
    around.stack.callback(base.close)
    return Beneath(
        image=_image(base, around.transfer.images),
        user=(base.user.uid, base.user.gid),
        run_images=_run_images(file, base, where),
        reference=base.reference,
        watched=base.watched,
        names=_digests(base.images, around.transfer.images),
        moving=finder.moving,
    )


def team(recipe: Recipe, where: str, around: Around, *, lock: str = "") -> Team:
    """The base that the recipe in the file `where` describes, with the lock beside it unless another is given."""
    from packrunner.bases import team as teams
    from packrunner.bases.base import Tools

    with open(where, encoding="utf-8") as opened:
        text = opened.read()
    transfer, within = around.transfer, reach.configured(around.ca_certs)
    return teams.Team(
        blueprint=teams.blueprint(recipe, text=text, where=where, shown=readable(where)),
        file=lock or creating.lock_file(where),
        settings=places.base_settings(within),
        tools=Tools(
            store=transfer.images,
            snapshots=around.snapshots,
            engine=places.engine(within.certificates),
            reporter=transfer.reporter,
        ),
    )


def _made(recipe: Recipe, where: str, around: Around) -> Beneath:
    from packrunner.bases.team import BUILD

    own = team(recipe, where, around)
    plan = own.blueprint
    lock, images = own.make()
    named = tuple(RunImageEntry(image=one.image, mirrors=one.mirrors) for one in recipe.run)
    watched = own.watched
    if not named:
        base = _own(plan.suite.reference, around, ("python",))
        around.stack.callback(base.close)
        named, watched = base.run_images, (*watched, *base.watched)
    return Beneath(
        image=images[BUILD],
        user=(plan.user.uid, plan.user.gid),
        run_images=named,
        reference=f"{lock.reference}@{lock.digest.short}",
        made={plan.names[image]: one for image, one in images.items() if image != BUILD},
        watched=watched,
        names=_digests(plan.names.values(), around.transfer.images),
        labels={builder.RECIPE: _label(recipe, lock)},
    )


def _digests(names: Iterable[str], images: LocalStore) -> dict[str, str]:
    """What the names mean in the store now; of those that mean something there."""
    found = [stored for name in names if (stored := images.read(name))]
    return {stored.name: str(stored.digest) for stored in found if stored.name}


def _label(recipe: Recipe, lock: Lock) -> str:
    """The recipe and its lock as `builder inspect` shows them."""
    from packrunner.formats.package import to_json

    told: dict[str, Any] = {key: value for key, value in msgspec.to_builtins(recipe).items() if value}
    told["suite"] = lock.reference
    told["lock"] = str(lock.digest)
    told["packages"] = {image: len(names) for image, names in lock.images.items()}
    return to_json(told)


def _own(reference: str, around: Around, images: tuple[ImageName, ...]) -> Base:
    from packrunner.bases import open_base

    return open_base(
        reference,
        settings=places.base_settings(reach.configured(around.ca_certs)),
        store=around.transfer.images,
        snapshots=around.snapshots,
        engine=places.engine(),
        reporter=around.transfer.reporter,
        images=images,
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
            f"{os.path.basename(where)}: it names no image to run on, and neither does {base.reference}",
            slug="builder-file",
            at=where,
            tries=('[[run.images]] with image = "registry.example.com/run:1"',),
        )
    return found
