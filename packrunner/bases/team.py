"""A team's own base: the blueprint that a recipe in a builder.toml means, its lock, its images.

Imported only where a builder is made.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases import accounts, debian, marker
from packrunner.bases.base import say_if_old
from packrunner.bases.blueprint import Blueprint
from packrunner.bases.lock import home, lock_path, read_lock
from packrunner.bases.packages import parse_clauses
from packrunner.bases.recipes import DEFAULT_REFERENCE, RECIPES, Recipe, Suite, parse_reference
from packrunner.disk import write_atomic
from packrunner.engines.base import User
from packrunner.errors import CorruptError, UsageError
from packrunner.formats.positions import place
from packrunner.names import ImageName
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.bases.base import BaseSettings, Tools
    from packrunner.bases.lock import Lock
    from packrunner.formats import builder_file
    from packrunner.images.image import Image

BUILD = "build"
_FIX = "packrunner builder lock"


def blueprint(recipe: builder_file.Recipe, *, text: str, where: str, shown: str) -> Blueprint:
    """What a recipe, of the file `where` with this text, means; messages call the file `shown`.

    Raises UsageError (`builder-file`), naming the line.
    """
    suite = _suite(recipe.suite, place(text, "recipe.suite", shown), shown)
    user = User(uid=recipe.user.uid, gid=recipe.user.gid, home=recipe.user.home, name=recipe.user.name)
    taken = accounts.taken(user)
    if taken:
        at = place(text, "recipe.user", shown)
        raise UsageError(
            f"{shown}: {taken} already", slug="builder-file", at=at, tries=("leave out [recipe.user], for 1000:1000",)
        )
    tables: dict[str, tuple[str, builder_file.RecipeBuild | builder_file.RecipeRun]] = {
        BUILD: ("recipe.build", recipe.build)
    }
    tables |= {f"run-{i + 1}": (f"recipe.run[{i}]", one) for i, one in enumerate(recipe.run)}
    places: dict[str, str] = {}
    for key, one in tables.values():
        for asked in one.packages:
            places.setdefault(asked, place(text, f"{key}.packages", shown))
            _check(asked, places[asked], shown)
    plan = Blueprint(
        suite=suite,
        images={image: _recipe(one) for image, (_, one) in tables.items()},
        names={f"run-{i + 1}": ImageName.parse(one.image).tagged for i, one in enumerate(recipe.run)},
        user=user,
        places=places,
    )
    # By the file, so that an edited recipe leaves no build image behind that has a name.
    file = hashlib.sha256(os.path.realpath(where).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return msgspec.structs.replace(plan, names={BUILD: f"localhost/packrunner/recipe:{file}-build", **plan.names})


def _suite(asked: str, at: str, where: str) -> Suite:
    try:
        return parse_reference(asked)
    except UsageError as error:
        raise UsageError(
            f"{where}: {asked!r} is no suite",
            slug="builder-file",
            at=at,
            cause=error.cause,
            tries=(f'suite = "{DEFAULT_REFERENCE}"',),
        ) from None


def _recipe(one: builder_file.RecipeBuild | builder_file.RecipeRun) -> Recipe:
    """The packages of the variant and those asked for; what is asked for is not cut, whatever the variant cuts."""
    begin = Recipe(packages=()) if one.variant == "none" else RECIPES[one.variant]
    asked = {relation.name for text in one.packages for clause in parse_clauses(text) for relation in clause}
    return Recipe(
        packages=(*begin.packages, *one.packages),
        essential=one.essential,
        exclude=(begin.exclude - asked) | frozenset(one.exclude),
    )


def _check(asked: str, at: str, where: str) -> None:
    try:
        if len(parse_clauses(asked)) == 1:
            return
    except CorruptError:
        pass
    raise UsageError(
        f"{where}: {asked!r} is not the name of a package",
        slug="builder-file",
        at=at,
        tries=('packages = ["libpq5", "libffi8 (>= 3.4)"]',),
    )


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team's base. `file` is its lock beside the builder.toml; where there is none, one is kept on this machine."""

    blueprint: Blueprint
    file: str
    settings: BaseSettings
    tools: Tools

    @property
    def watched(self) -> tuple[str, ...]:
        """The lock that is kept on this machine; it follows the other one."""
        return (lock_path(self.settings.data_dir, self.blueprint.key, self.settings.architecture),)

    def locked(self) -> Lock | None:
        """The lock beside the builder.toml. Raises UsageError (`builder-lock`) where it is one of another recipe."""
        lock = read_lock(self.file, fix=_FIX)
        if lock is None:
            return None
        shown = readable(self.file)
        if lock.recipe != self.blueprint.recipe or {*lock.images} != {*self.blueprint.images}:
            raise UsageError(
                f"{shown} is a lock of another recipe",
                slug="builder-lock",
                cause="the builder.toml has changed since it was written",
                at=shown,
                tries=(_FIX,),
            )
        if lock.architecture != self.settings.architecture:
            raise UsageError(
                f"{shown} is a lock for {lock.architecture}",
                slug="builder-lock",
                cause=f"this machine is {self.settings.architecture}, and has other packages",
                at=shown,
                tries=("packrunner builder lock --file FILE, for a lock of its own",),
            )
        return lock

    def former(self) -> Lock | None:
        """The lock beside the builder.toml, of whatever recipe; None also for a damaged one: it is to be replaced."""
        try:
            return read_lock(self.file)
        except CorruptError:
            return None

    def renew(self, *, dry_run: bool) -> debian.Update:
        """Take the newest packages into the lock, and make its images; with `dry_run` only look."""
        if not os.path.lexists(self.file):
            return debian.update(self.blueprint, self.settings, self.tools, dry_run=dry_run)
        old, new = self.former(), self.resolve()
        if not dry_run:
            debian.prepare(
                self.blueprint, tuple(self.blueprint.images), self.settings, self.tools, lock=new, given=True
            )
            # Last: after any failure builders are made of the old packages.
            write_atomic(self.file, new.to_json(), mode=0o644, sync=True)
        return debian.Update(old=old, new=new, images=tuple(new.images))

    def resolve(self) -> Lock:
        """The newest packages; nothing is made, and nothing kept."""
        return debian.update(self.blueprint, self.settings, self.tools, dry_run=True).new

    def make(self) -> tuple[Lock, Mapping[str, Image]]:
        """Make what is missing, and let the names mean it; the lock, and the images as the blueprint calls them."""
        plan, settings, store = self.blueprint, self.settings, self.tools.store
        given = self.locked()
        here = home(settings.data_dir, plan.key, settings.architecture)
        lock = given or read_lock(lock_path(settings.data_dir, plan.key, settings.architecture))
        lock = debian.prepare(plan, tuple(plan.images), settings, self.tools, lock=lock, given=given is not None)
        debian.rename(plan, lock, settings, store)
        say_if_old(lock, settings, self.tools.reporter, fix="packrunner builder update NAME --config builder.toml")
        images = {image: marker.stored(here, lock.digest, image, store) for image in plan.images}
        found = {image: one for image, one in images.items() if one}
        if len(found) < len(images):
            gone = ", ".join(sorted({*images} - {*found}))
            raise CorruptError(
                f"{gone} of {os.path.basename(here)} is gone from the store as soon as it is made",
                slug="base-corrupt",
                tries=("packrunner doctor",),
            )
        return lock, found
