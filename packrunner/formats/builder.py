"""What an image says of itself as a builder: labels as `pack builder create` writes them, its lifecycle's own file.

Go writes an empty list as null, so every list here may be one (IMG-09 - IMG-11, IMG-13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import SystemRefs, SystemTable
from packrunner.formats.run import RunImageEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA = "io.buildpacks.builder.metadata"
ORDER = "io.buildpacks.buildpack.order"
ORDER_EXTENSIONS = "io.buildpacks.buildpack.order-extensions"
SYSTEM = "io.buildpacks.buildpack.system"
APIS = "io.buildpacks.lifecycle.apis"
RECIPE = "io.packrunner.recipe"
"""packrunner's own label of a builder that a recipe made: the recipe, and what its lock says."""

T = TypeVar("T")


class Versions(msgspec.Struct, frozen=True):
    """The versions of an API that a lifecycle has."""

    deprecated: tuple[str, ...] | None = None
    supported: tuple[str, ...] | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return (*(self.deprecated or ()), *(self.supported or ()))


class Apis(msgspec.Struct, frozen=True):
    """`io.buildpacks.lifecycle.apis`, and `apis` of the metadata."""

    buildpack: Versions = Versions()
    platform: Versions = Versions()


class Api(msgspec.Struct, frozen=True):
    """`api` of the metadata, which old lifecycles have alone."""

    buildpack: str = ""
    platform: str = ""


class Lifecycle(msgspec.Struct, frozen=True):
    """The lifecycle that is in the builder."""

    version: str = ""
    api: Api = Api()
    apis: Apis = Apis()


class ModuleInfo(msgspec.Struct, frozen=True):
    """A buildpack or extension that is in the builder."""

    id: str = ""
    version: str = ""
    homepage: str = ""


class CreatedBy(msgspec.Struct, frozen=True):
    """What made the builder."""

    name: str = ""
    version: str = ""


class _RunImage(msgspec.Struct, frozen=True):
    image: str = ""
    mirrors: tuple[str, ...] | None = None


class _Stack(msgspec.Struct, frozen=True):
    run_image: _RunImage = msgspec.field(default=_RunImage(), name="runImage")


class Metadata(msgspec.Struct, frozen=True):
    """`io.buildpacks.builder.metadata`."""

    description: str = ""
    buildpacks: tuple[ModuleInfo, ...] | None = None
    extensions: tuple[ModuleInfo, ...] | None = None
    stack: _Stack = _Stack()
    lifecycle: Lifecycle = Lifecycle()
    created_by: CreatedBy = msgspec.field(default=CreatedBy(), name="createdBy")
    images: tuple[_RunImage, ...] | None = None

    @property
    def run_images(self) -> tuple[RunImageEntry, ...]:
        """The run images, the default one first; old builders have one, in `stack` (IMG-07)."""
        named = [one for one in (*(self.images or ()), self.stack.run_image) if one.image]
        entries = tuple(RunImageEntry(image=one.image, mirrors=one.mirrors or ()) for one in named)
        # pack writes the default one into both places.
        return entries[:-1] if self.images and self.stack.run_image.image else entries


class RecipeImage(msgspec.Struct, frozen=True):
    """An image that a recipe makes: what it begins with, and the packages that it adds or leaves out."""

    image: str = ""
    variant: str = ""
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Recipe(msgspec.Struct, frozen=True):
    """`io.packrunner.recipe`; `lock` is the digest of what the packages were, `packages` their number in each image."""

    suite: str
    lock: str
    build: RecipeImage = RecipeImage()
    run: tuple[RecipeImage, ...] = ()
    packages: dict[str, int] = msgspec.field(default_factory=dict)


class _Group(msgspec.Struct, frozen=True):
    group: tuple[GroupRef, ...] | None = None


class _Refs(msgspec.Struct, frozen=True):
    buildpacks: tuple[GroupRef, ...] | None = None


class _System(msgspec.Struct, frozen=True):
    pre: _Refs | None = None
    post: _Refs | None = None


class _LifecycleFile(msgspec.Struct, frozen=True):
    api: Api = Api()
    apis: Apis = Apis()
    lifecycle: Lifecycle = Lifecycle()


def read_metadata(labels: Mapping[str, str], *, where: str) -> Metadata | None:
    """The metadata, and the APIs of a label of their own; None without either.

    All readers raise UsageError, slug `not-a-builder`, for what is no JSON.
    """
    found = _read(labels, METADATA, Metadata, where)
    apis = _read(labels, APIS, Apis, where)
    if apis is None or (found and found.lifecycle.apis.platform.all):
        return found
    found = found or Metadata()
    return msgspec.structs.replace(found, lifecycle=msgspec.structs.replace(found.lifecycle, apis=apis))


def read_order(labels: Mapping[str, str], *, where: str, key: str = ORDER) -> tuple[OrderGroup, ...] | None:
    """The order of buildpacks, or that of extensions (IMG-10)."""
    found = _read(labels, key, tuple[_Group, ...], where)
    return None if found is None else tuple(OrderGroup(group=one.group or ()) for one in found)


def read_system(labels: Mapping[str, str], *, where: str) -> SystemTable | None:
    """The system buildpacks (IMG-10)."""
    found = _read(labels, SYSTEM, _System, where)
    if found is None:
        return None
    pre, post = (refs.buildpacks if refs else None for refs in (found.pre, found.post))
    return SystemTable(pre=SystemRefs(buildpacks=pre or ()), post=SystemRefs(buildpacks=post or ()))


def read_recipe(labels: Mapping[str, str], *, where: str) -> Recipe | None:
    """The recipe that the builder was made by; None for one that was made in another way."""
    return _read(labels, RECIPE, Recipe, where)


def read_lifecycle_file(data: bytes, *, where: str) -> Lifecycle:
    """The lifecycle's own description, /cnb/lifecycle/lifecycle.toml."""
    found = toml.decode(data, _LifecycleFile, where=where, error=UsageError)
    return Lifecycle(version=found.lifecycle.version, api=found.api, apis=found.apis)


def _read(labels: Mapping[str, str], key: str, kind: type[T], where: str) -> T | None:
    text = labels.get(key)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind | None)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(
            f"{where} has a label that cannot be read: {key}", slug="not-a-builder", cause=str(error)
        ) from error
