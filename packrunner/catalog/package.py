"""Packages: images that carry buildpacks, one layer each, so that a registry or a file can pass them on (DST-01 - 07).

What goes in is what is staged, so the same content gives the same layers, and the same package, wherever it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.catalog import members
from packrunner.catalog.check import PLACES, place_of
from packrunner.errors import UsageError
from packrunner.formats import package
from packrunner.formats.buildpack import Distro, Stack
from packrunner.formats.target import Platform, same_distro, written
from packrunner.images.image import Image
from packrunner.images.layer import Dir, Part, Tree, write_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.formats.buildpack import BuildpackDescriptor, Target
    from packrunner.formats.package import Layers
    from packrunner.images.image import Layer
    from packrunner.images.store import LocalStore

ANY_STACK = "*"


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a package: the one that it is of, and whatever that names.

    `flat` puts all into one layer, but for those whose `id@version` is in `apart`.
    """

    entry: StagedBuildpack
    others: tuple[StagedBuildpack, ...] = ()
    flat: bool = False
    apart: frozenset[str] = frozenset()

    @property
    def all(self) -> tuple[StagedBuildpack, ...]:
        """Everything, sorted, the entry last: it changes most often."""
        return (*sorted(self.others, key=full_name), self.entry)


def make(contents: Contents, *, platform: Platform, labels: Mapping[str, str], store: LocalStore) -> Image:
    """Make the package's image, its layers in the store. Raises what `check` raises, and StoreError."""
    check(contents)
    check_targets(contents, platform)
    written = write_modules(layered(contents), store)
    image = Image(os=platform.os, architecture=platform.architecture, variant=platform.variant)
    image = image.with_layers(*dict.fromkeys(written.values()))
    kind = contents.entry.kind
    stacks = common_stacks(contents) if kind == "buildpack" else ()
    own = {
        package.METADATA: package.to_json(package.package_label(contents.entry.descriptor.buildpack, stacks)),
        package.LAYER_LABELS[kind]: package.to_json(
            layers_label((one, written[full_name(one)]) for one in contents.all)
        ),
    }
    return image.with_labels({**labels, **own})


def layered(contents: Contents) -> list[list[StagedBuildpack]]:
    """What shares a layer."""
    if not contents.flat:
        return [[one] for one in contents.all]
    together = [one for one in contents.all if full_name(one) not in contents.apart]
    alone = [[one] for one in contents.all if full_name(one) in contents.apart]
    return [*alone, together] if together else alone


def write_modules(layers: Sequence[Sequence[StagedBuildpack]], store: LocalStore) -> dict[str, Layer]:
    """Write each list as one layer; the layers by `id@version` of what is in them."""
    written: dict[str, Layer] = {}
    for modules in layers:
        names = [full_name(one) for one in modules]
        layer = write_layer(store, _parts(modules), created_by=", ".join(names)).layer
        written.update(dict.fromkeys(names, layer))
    return written


def layers_label(written: Iterable[tuple[StagedBuildpack, Layer]]) -> Layers:
    """The label that says which layer has which buildpack (IMG-11)."""
    label: Layers = {}
    for one, layer in written:
        label.setdefault(one.id, {})[one.version] = package.layer_info(one.descriptor, str(layer.diff_id))
    return label


def _parts(modules: Sequence[StagedBuildpack]) -> list[Part]:
    parts: dict[str, Part] = {}
    for one in modules:
        place = place_of(one.kind, one.id, one.version)
        for above in directories_above(one):
            parts.setdefault(above, Dir(target=above))
        parts[place] = Tree(source=one.path, target=place, uid=0, gid=0)
    return list(parts.values())


def directories_above(one: StagedBuildpack) -> tuple[str, ...]:
    """The directories on the way to one in a layer."""
    return ("/cnb", PLACES[one.kind], place_of(one.kind, one.id, one.version).rpartition("/")[0])


def check(contents: Contents) -> None:
    """Refuse a package with something missing or left over, or that fits no stack (DST-05, DST-06).

    Raises UsageError, slugs `package` and `buildpack-cycle`.
    """
    present = {full_name(one) for one in contents.all}
    named: set[str] = set()
    for found in members.references(contents.all):
        owner = full_name(found.owner)
        if not found.ref.version:
            raise _refused(
                f"{owner} names {found.text} without a version, which a package needs",
                at=found.at,
                fix=f'in its order: id = "{found.ref.id}", version = "..."',
            )
        if found.text not in present:
            raise _refused(
                f"{owner} names {found.text}, which the package does not have",
                at=found.at,
                fix="a further [[dependencies]] in package.toml",
            )
        named.add(found.text)
    members.refuse_circles(contents.all)
    surplus = sorted(present - named - {full_name(contents.entry)})
    if surplus:
        raise _refused(
            f"nothing in the package names {', '.join(surplus)}",
            at=contents.entry.shown or contents.entry.source,
            fix="remove it from [[dependencies]] in package.toml",
        )
    if contents.entry.kind == "buildpack" and not common_stacks(contents):
        raise _refused(
            "the buildpacks of the package have no stack in common",
            at=contents.entry.shown or contents.entry.source,
            fix='[[targets]] in place of [[stacks]], or the stack "*"',
        )


def check_targets(contents: Contents, platform: Platform) -> None:
    """Refuse what says that it works elsewhere only. Raises UsageError, slug `buildpack-target`."""
    for one in contents.all:
        targets = one.descriptor.targets
        if targets and not any(_fits(target, platform) for target in targets):
            named = [written(target) for target in targets]
            raise UsageError(
                f"{full_name(one)} is not for {platform}",
                slug="buildpack-target",
                cause=f"its targets are {', '.join(dict.fromkeys(named))}",
                at=members.at(one, "targets"),
                tries=(
                    f"--target {_near(targets[0], platform)}",
                    f"a [[targets]] for {platform} in its {one.kind}.toml",
                ),
            )


def _near(target: Target, platform: Platform) -> Platform:
    """The platform that a target is for, which is that one where the target does not say."""
    return Platform(
        os=target.os or platform.os,
        architecture=target.arch or platform.architecture,
        variant=target.variant or target.arch_variant,
        distro=target.distros[0] if target.distros else Distro(),
    )


def _fits(target: Target, platform: Platform) -> bool:
    return (
        target.os in {"", platform.os}
        and target.arch in {"", platform.architecture}
        and (not platform.variant or (target.variant or target.arch_variant) in {"", platform.variant})
        and (
            not platform.distro.name
            or not target.distros
            or any(same_distro(one, platform.distro) for one in target.distros)
        )
    )


def common_stacks(contents: Contents) -> tuple[Stack, ...]:
    """The stacks on which everything in a package works, with the mixins of all (DST-05)."""
    found: tuple[Stack, ...] = ()
    for one in contents.all:
        own = _stacks(one.descriptor)
        if own:
            found = _merged(found, own) if found else own
            if not found:
                return ()
    return found


def _stacks(descriptor: BuildpackDescriptor) -> tuple[Stack, ...]:
    """A buildpack's stacks: any where it has only targets; none of a composite, which is what it names."""
    if descriptor.is_composite:
        return ()
    return descriptor.stacks or (Stack(id=ANY_STACK),)


def _merged(one: tuple[Stack, ...], other: tuple[Stack, ...]) -> tuple[Stack, ...]:
    wild = [ANY_STACK in {stack.id for stack in stacks} for stacks in (one, other)]
    if all(wild):
        return (Stack(id=ANY_STACK),)
    if any(wild):
        return other if wild[0] else one
    mixins = {stack.id: stack.mixins for stack in one}
    return tuple(
        Stack(id=stack.id, mixins=tuple(sorted({*mixins[stack.id], *stack.mixins})))
        for stack in other
        if stack.id in mixins
    )


def full_name(one: StagedBuildpack) -> str:
    """`id@version`."""
    return f"{one.id}@{one.version}"


def _refused(brief: str, *, at: str, fix: str) -> UsageError:
    return UsageError(brief, slug="package", at=at, tries=(fix,))
