"""Packaged buildpacks: what package.toml asks for, and the labels of the image that comes of it (DST-01 - DST-06)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, License, OrderGroup, Stack, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA = "io.buildpacks.buildpackage.metadata"
BUILDPACK_LAYERS = "io.buildpacks.buildpack.layers"
EXTENSION_LAYERS = "io.buildpacks.extension.layers"
LAYER_LABELS = {"buildpack": BUILDPACK_LAYERS, "extension": EXTENSION_LAYERS}

T = TypeVar("T")


class Uri(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[buildpack]` or `[extension]`: where the packaged one is."""

    uri: str = ""


class Dependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[dependencies]]`: what goes into the package beside it, by place or as an image."""

    uri: str = ""
    image: str = ""


class Platform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[platform]`, deprecated."""

    os: str = "linux"


class PackageFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """package.toml."""

    buildpack: Uri = Uri()
    extension: Uri = Uri()
    dependencies: tuple[Dependency, ...] = ()
    platform: Platform = Platform()
    targets: tuple[Target, ...] = ()


class PackageLabel(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`io.buildpacks.buildpackage.metadata`: the packaged buildpack, and the stacks of everything in the package."""

    id: str
    name: str = ""
    version: str = ""
    description: str = ""
    homepage: str = ""
    keywords: tuple[str, ...] | None = None
    exec_env: tuple[str, ...] | None = None
    licenses: tuple[License, ...] | None = None
    clear_env: bool = False
    stacks: tuple[Stack, ...] | None = None


class LayerInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a buildpack or extension in the label of layers (IMG-11)."""

    api: str = ""
    stacks: tuple[Stack, ...] | None = None
    targets: tuple[Target, ...] | None = None
    order: tuple[OrderGroup, ...] | None = None
    layer_diff_id: str = msgspec.field(default="", name="layerDiffID")
    homepage: str = ""
    name: str = ""


Layers = dict[str, dict[str, LayerInfo]]
"""By id, then by version."""


def read_package_file(data: bytes, *, where: str) -> PackageFile:
    """Read a package.toml. Raises UsageError, slug `toml`, naming file and key; it says nothing of what is missing."""
    return toml.decode(data, PackageFile, where=where, error=UsageError)


def package_label(info: BuildpackInfo, stacks: tuple[Stack, ...] = ()) -> PackageLabel:
    """The label of a package for its entry buildpack."""
    return PackageLabel(
        id=info.id,
        name=info.name,
        version=info.version,
        description=info.description,
        homepage=info.homepage,
        keywords=info.keywords or None,
        exec_env=info.exec_envs or None,
        licenses=info.licenses or None,
        clear_env=info.clear_env,
        stacks=stacks or None,
    )


def layer_info(descriptor: BuildpackDescriptor, diff_id: str) -> LayerInfo:
    """A buildpack or extension in the label of layers."""
    return LayerInfo(
        api=descriptor.api,
        stacks=descriptor.stacks or None,
        targets=descriptor.targets or None,
        order=descriptor.order or None,
        layer_diff_id=diff_id,
        homepage=descriptor.buildpack.homepage,
        name=descriptor.buildpack.name,
    )


def to_json(value: Any) -> str:
    """A label's text: compact, with sorted keys of mappings."""
    return msgspec.json.encode(value, order="deterministic").decode()


def read_package_label(labels: Mapping[str, str], *, where: str) -> PackageLabel | None:
    """What a package says of itself; None where it is no package. Raises UsageError, slug `not-a-package`."""
    return _read(labels, METADATA, PackageLabel, where)


def read_layers(labels: Mapping[str, str], key: str, *, where: str) -> Layers | None:
    """The label of layers (DST-04); None without it. Raises UsageError, slug `not-a-package`."""
    return _read(labels, key, Layers, where)


def _read(labels: Mapping[str, str], key: str, kind: type[T], where: str) -> T | None:
    text = labels.get(key)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(
            f"{where} has a label that cannot be read: {key}", slug="not-a-package", cause=str(error)
        ) from error
