"""builder.toml: what a builder is made from, in pack's format (IMG-09 - IMG-12)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import Target
from packrunner.formats.positions import place

if TYPE_CHECKING:
    from collections.abc import Iterator


_MOST_IDS = 1 << 31


class Ref(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """A buildpack or extension in an order."""

    id: str
    version: str = ""
    optional: bool = False
    exec_env: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[order]]`."""

    group: tuple[Ref, ...] = ()


class Module(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[buildpacks]]` or `[[extensions]]`: where one is, and maybe which one that has to be."""

    id: str = ""
    version: str = ""
    uri: str = ""
    image: str = ""


class RunImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[run.images]]`."""

    image: str = ""
    mirrors: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[run]`."""

    images: tuple[RunImage, ...] = ()


class Variable(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """`[[build.env]]`: a variable of the operator's (IMG-08)."""

    name: str
    value: str
    suffix: Literal["", "default", "override", "append", "prepend"] = ""
    delim: str = ""
    exec_env: tuple[str, ...] = ()


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[build]`."""

    image: str = ""
    env: tuple[Variable, ...] = ()


class Stack(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """`[stack]`, the old way to say which images there are."""

    id: str = ""
    build_image: str = ""
    run_image: str = ""
    run_image_mirrors: tuple[str, ...] = ()


class Lifecycle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[lifecycle]`: the one that other platforms run in the builder."""

    uri: str = ""
    version: str = ""


class Refs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[system.pre]` or `[system.post]`."""

    buildpacks: tuple[Ref, ...] = ()


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[system]`."""

    pre: Refs = Refs()
    post: Refs = Refs()


class RecipeUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[recipe.user]`: who builds, and whom applications run as."""

    name: str = "cnb"
    uid: int = 1000
    gid: int = 1000
    home: str = "/home/cnb"


class RecipeBuild(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[recipe.build]`: the packages of the build image, beside those of the variant; "none" begins with nothing."""

    variant: Literal["build", "static", "base", "python", "none"] = "build"
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    essential: bool = True


class RecipeRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[recipe.run]]`: a run image to make, called `image`."""

    image: str = ""
    mirrors: tuple[str, ...] = ()
    variant: Literal["static", "base", "python", "none"] = "base"
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    essential: bool = False


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[recipe]`, packrunner's own: build and run images made from Debian's packages instead of somebody's images."""

    suite: str = ""
    user: RecipeUser = RecipeUser()
    build: RecipeBuild = RecipeBuild()
    run: tuple[RecipeRun, ...] = ()


class BuilderFile(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """The whole file."""

    description: str = ""
    buildpacks: tuple[Module, ...] = ()
    extensions: tuple[Module, ...] = ()
    order: tuple[Group, ...] = ()
    order_extensions: tuple[Group, ...] = ()
    system: System = System()
    stack: Stack = Stack()
    build: Build = Build()
    run: Run = Run()
    lifecycle: Lifecycle = Lifecycle()
    targets: tuple[Target, ...] = ()
    recipe: Recipe | None = None

    @property
    def build_image(self) -> str:
        """The image that builds happen in, by either of its keys."""
        return self.build.image or self.stack.build_image

    @property
    def run_images(self) -> tuple[RunImage, ...]:
        """The images that applications run on, by either of their keys; none where the base brings its own."""
        if self.run.images or not self.stack.run_image:
            return self.run.images
        return (RunImage(image=self.stack.run_image, mirrors=self.stack.run_image_mirrors),)


def read(data: bytes, *, where: str) -> BuilderFile:
    """Read a builder.toml. Raises UsageError, slugs `toml` and `builder-file`, naming file, key and line."""
    found = toml.decode(data, BuilderFile, where=where, error=UsageError)
    for brief, key, fix in (*_wrong_images(found), *_wrong_recipe(found), *_wrong_contents(found)):
        at = place(data.decode(), key, where) if key else where
        raise UsageError(f"{where}: {brief}", slug="builder-file", at=at, tries=(fix,))
    return found


def _wrong_images(found: BuilderFile) -> Iterator[tuple[str, str, str]]:
    """What is wrong, the key, what to write instead."""
    if not found.build_image and not found.recipe:
        yield "it names no image to build in", "", '[build] image = "debian:13"'
    if found.build.image and found.stack.build_image not in {"", found.build.image}:
        yield "build.image and stack.build-image are different", "stack.build-image", "leave out [stack]"
    if found.stack.run_image and found.run.images and found.run.images[0].image != found.stack.run_image:
        yield "run.images and stack.run-image are different", "stack.run-image", "leave out [stack]"
    for i, one in enumerate(found.run.images):
        if not one.image:
            yield "a run image has no name", f"run.images[{i}]", 'image = "registry.example.com/run:1"'


def _wrong_recipe(found: BuilderFile) -> Iterator[tuple[str, str, str]]:
    recipe = found.recipe
    if recipe is None:
        return
    if found.build_image:
        key = "build.image" if found.build.image else "stack.build-image"
        yield "a recipe makes the image to build in, and another is named", key, 'suite = "debian:13", in [recipe]'
    if not recipe.suite:
        yield "the recipe has no suite", "recipe", 'suite = "debian:13"'
    if recipe.run and found.run_images:
        key = "run.images[0]" if found.run.images else "stack.run-image"
        yield "a recipe makes the images to run on, and others are named", key, "leave out either"
    names = [one.image for one in recipe.run]
    for i, name in enumerate(names):
        if not name:
            yield "a run image has no name", f"recipe.run[{i}]", 'image = "registry.example.com/run:1"'
        if name in names[:i]:
            yield f"two run images are called {name}", f"recipe.run[{i}].image", "give one of them another name"
    tables: dict[str, RecipeBuild | RecipeRun] = {"build": recipe.build}
    tables |= {f"run[{i}]": one for i, one in enumerate(recipe.run)}
    for key, table in tables.items():
        twice = sorted({*table.packages} & {*table.exclude})
        if twice:
            yield f"{twice[0]} is asked for and excluded", f"recipe.{key}.exclude", "leave out either"
    yield from _wrong_user(recipe.user)


def _wrong_user(user: RecipeUser) -> Iterator[tuple[str, str, str]]:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user.name):
        yield f"{user.name!r} cannot be the name of a user", "recipe.user.name", 'name = "cnb"'
    for key in ("uid", "gid"):
        number = getattr(user, key)
        if not 0 < number < _MOST_IDS:
            yield f"{number} cannot be a {key}", f"recipe.user.{key}", f"{key} = 1000"
    parts = user.home.split("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", user.home) or {".", ".."} & {*parts}:
        yield f"{user.home!r} cannot be a home", "recipe.user.home", 'home = "/home/cnb"'


def _wrong_contents(found: BuilderFile) -> Iterator[tuple[str, str, str]]:
    for name, modules in (("buildpacks", found.buildpacks), ("extensions", found.extensions)):
        for i, module in enumerate(modules):
            if bool(module.uri) == bool(module.image):
                yield "each has either a `uri` or an `image`", f"{name}[{i}]", 'uri = "./buildpack"'
    if not found.order:
        yield "it has no order", "", "[[order]] with [[order.group]]"
    for i, variable in enumerate(found.build.env):
        if not variable.name or not {"=", "/", "\0"}.isdisjoint(variable.name) or "\0" in variable.value:
            yield f"{variable.name!r} cannot be a variable", f"build.env[{i}].name", 'name = "NAME"'
