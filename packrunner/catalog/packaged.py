"""Reading packages: which buildpacks an image carries, and each of them staged (DST-01 - DST-04)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.catalog.check import place_of
from packrunner.errors import UsageError
from packrunner.formats import package
from packrunner.images.view import View
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.catalog.check import Kind
    from packrunner.catalog.stage import Stage, StagedBuildpack
    from packrunner.formats.package import Layers, PackageLabel
    from packrunner.images.image import Image


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What a package says of itself: the one that it is of, and everything that is in it."""

    label: PackageLabel
    kind: Kind
    layers: Layers

    @property
    def entry(self) -> str:
        """`id@version` of the one that it is of."""
        return f"{self.label.id}@{self.label.version}"

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """Id and version of everything, sorted."""
        return tuple(sorted((identity, version) for identity, found in self.layers.items() for version in found))


def read(image: Image, *, where: str) -> Package:
    """What the image, called `where`, says. Raises UsageError, slug `not-a-package` (DST-03, DST-04)."""
    label = package.read_package_label(image.labels, where=where)
    if label is None:
        raise _no_package(where, f"it has no label {package.METADATA}")
    layers = package.read_layers(image.labels, package.BUILDPACK_LAYERS, where=where)
    kind: Kind = "buildpack"
    if layers is None:
        layers = package.read_layers(image.labels, package.EXTENSION_LAYERS, where=where)
        kind = "extension"
    if layers is None:
        raise _no_package(where, f"it has no label {package.BUILDPACK_LAYERS}")
    if label.version not in layers.get(label.id, {}):
        raise _no_package(where, f"it is the package of {label.id}@{label.version}, which is in none of its layers")
    present = {str(layer.diff_id) for layer in image.layers}
    for identity, versions in layers.items():
        BuildpackId.parse(identity)
        for version, info in versions.items():
            if info.layer_diff_id not in present:
                raise _no_package(where, f"the layer of {identity}@{version}, {info.layer_diff_id}, is not in it")
    return Package(label=label, kind=kind, layers=layers)


def stage_all(
    image: Image, lowers: Sequence[str], *, where: str, stage: Stage
) -> tuple[StagedBuildpack, tuple[StagedBuildpack, ...]]:
    """Stage everything in a package whose unpacked layers are `lowers`: the entry, and the others.

    Raises UsageError (`not-a-package`, and what staging raises): what the labels say and what the files say must agree.
    """
    found = read(image, where=where)
    staged: dict[str, StagedBuildpack] = {}
    with View(lowers) as files:
        for identity, version in found.members:
            place = place_of(found.kind, identity, version)
            directory = files.directory(place)
            if directory is None:
                raise _no_package(where, f"{identity}@{version} should be at {place}, and is not")
            one = stage.add(directory, found.kind, shown=f"{where}:{place}")
            if (one.id, one.version) != (identity, version):
                raise _no_package(where, f"{place} holds {one.id}@{one.version}")
            staged[f"{identity}@{version}"] = one
    entry = staged.pop(found.entry)
    return entry, tuple(staged.values())


def _no_package(where: str, why: str) -> UsageError:
    return UsageError(
        f"{where} is no package of a buildpack",
        slug="not-a-package",
        cause=why,
        tries=("packrunner buildpack inspect, for what is in a package",),
    )
