"""Making a builder: a base image, and on it buildpacks, extensions, their order, and what every platform looks for.

Layers are, from below: directories, the lifecycle, one for each buildpack and extension, and the builder's own files
(IMG-04 - IMG-12). Whatever the base has already, with the same content, is not added again (DST-08).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner._version import __version__
from packrunner.catalog import members
from packrunner.catalog.package import directories_above, full_name, layers_label, write_modules
from packrunner.catalog.packing import line
from packrunner.errors import UsageError
from packrunner.formats import builder, package, toml
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import Order, System, SystemRefs, SystemTable
from packrunner.formats.run import RunFile, RunImageEntry
from packrunner.images.layer import Dir, File, Link, Part, write_layer
from packrunner.workspace import BUILDPACKS_DIR, EXTENSIONS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.formats.builder_file import BuilderFile, Group, Ref
    from packrunner.formats.package import Layers
    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore

_LIFECYCLE_DIR = "/cnb/lifecycle"
_WORKING_DIR = "/layers"
_CONFIG = "/cnb/build-config"


class LifecycleFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A lifecycle to put in: its programs by name, as files of this machine, and its lifecycle.toml."""

    programs: Mapping[str, str]
    descriptor: bytes


class Ingredients(msgspec.Struct, frozen=True, kw_only=True):
    """What a builder is made from. `user` is who builds, `modules` everything that was staged for it."""

    file: BuilderFile
    where: str
    base: Image
    user: tuple[int, int]
    modules: tuple[StagedBuildpack, ...]
    run_images: tuple[RunImageEntry, ...]
    lifecycle: LifecycleFiles | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    flat: tuple[frozenset[str], ...] = ()
    """Which modules, as `id@version`, share a layer each."""


def make(of: Ingredients, store: LocalStore) -> Image:
    """Make the builder's image, its layers in the store.

    Raises UsageError (`builder-file`) for an order that names what is not there, and StoreError.
    """
    order = Order(
        order=_resolved(of.file.order, "order", "buildpack", of),
        order_extensions=_resolved(of.file.order_extensions, "order-extensions", "extension", of),
    )
    system = System(
        system=SystemTable(
            pre=SystemRefs(buildpacks=_refs(of.file.system.pre.buildpacks, "system.pre.buildpacks", "buildpack", of)),
            post=SystemRefs(
                buildpacks=_refs(of.file.system.post.buildpacks, "system.post.buildpacks", "buildpack", of)
            ),
        )
    )
    _check_members(of)
    _check_flat(of)
    layers = [write_layer(store, _directories(of.user), created_by="directories").layer]
    if of.lifecycle:
        layers.append(write_layer(store, _lifecycle(of.lifecycle), created_by="lifecycle").layer)
    added, labels = _modules(of, store)
    layers += [*added, write_layer(store, list(_files(of, order, system)), created_by="configuration").layer]
    image = of.base.with_layers(*layers).with_working_dir(_WORKING_DIR)
    return image.with_labels({**of.labels, **labels, **_labels(of, order, system)})


def _resolved(groups: Sequence[Group], key: str, kind: str, of: Ingredients) -> tuple[OrderGroup, ...]:
    return tuple(OrderGroup(group=_refs(group.group, f"{key}[{i}].group", kind, of)) for i, group in enumerate(groups))


def _refs(refs: Sequence[Ref], key: str, kind: str, of: Ingredients) -> tuple[GroupRef, ...]:
    return tuple(_ref(ref, f"{key}[{j}].id", kind, of) for j, ref in enumerate(refs))


def _ref(ref: Ref, key: str, kind: str, of: Ingredients) -> GroupRef:
    """A reference with the version that the builder has; without one, its only version is meant (IMG-10)."""
    have = sorted({one.version for one in of.modules if one.id == ref.id and one.kind == kind})
    if ref.version in have or (not ref.version and len(have) == 1):
        return GroupRef(id=ref.id, version=ref.version or have[0], optional=ref.optional, exec_env=ref.exec_env)
    name = f"{ref.id}@{ref.version}" if ref.version else ref.id
    if have and not ref.version:
        brief = f"the order names {ref.id} without a version, and there is {', '.join(have)}"
        raise _wrong(of, brief, f'version = "{have[-1]}"', key)
    known = sorted({full_name(one) for one in of.modules if one.kind == kind})
    raise _wrong(
        of,
        f"the order names {name}, which the builder does not have",
        f"[[{kind}s]] with its uri; there is {', '.join(known)}",
        key,
    )


def _check_members(of: Ingredients) -> None:
    """Refuse composites that name what is not there, or of which several are there, or themselves (DST-06, BPD-10)."""
    have = members.versions(of.modules)
    for named in members.references(of.modules):
        known = have.get(named.ref.id, [])
        if not (named.ref.version in known if named.ref.version else known):
            raise UsageError(
                f"{full_name(named.owner)} names {named.text}, which the builder does not have",
                slug="builder-file",
                at=named.at,
                tries=(f"[[buildpacks]] with its uri, in {os.path.basename(of.where)}",),
            )
    members.refuse_open(of.modules, slug="builder-file")
    members.refuse_circles(of.modules)


def _check_flat(of: Ingredients) -> None:
    """Refuse layers of what is not there, or of one alone, which a mistyped name would leave."""
    have = {full_name(one) for one in of.modules}
    for i, names in enumerate(of.flat):
        unknown = sorted(names - have)
        shared = sorted(name for other in of.flat[:i] for name in names & other)
        brief = f"there is no {unknown[0]} to flatten" if unknown else ""
        brief = brief or (f"{shared[0]} is to be flattened into two layers" if shared else "")
        brief = brief or (f"{', '.join(names)} alone is a layer already" if len(names) < 2 else "")
        if brief:
            # 4 ms that only a mistake should cost.
            from difflib import get_close_matches

            near = get_close_matches(unknown[0], sorted(have), n=3) if unknown else []
            raise UsageError(brief, slug="usage", cause=f"near it are {', '.join(near)}" if near else "")


def _directories(user: tuple[int, int]) -> list[Part]:
    own = [Dir(target=path, uid=user[0], gid=user[1]) for path in ("/layers", "/workspace")]
    roots = ("/cnb", BUILDPACKS_DIR, EXTENSIONS_DIR, _CONFIG, f"{_CONFIG}/env", "/platform", "/platform/env")
    return [*own, *(Dir(target=path) for path in roots)]


def _lifecycle(found: LifecycleFiles) -> list[Part]:
    parts: list[Part] = [Dir(target="/cnb"), Dir(target=_LIFECYCLE_DIR)]
    for name, path in sorted(found.programs.items()):
        parts.append(File(target=f"{_LIFECYCLE_DIR}/{name}", source=path, mode=0o755))
    parts.append(File(target=f"{_LIFECYCLE_DIR}/lifecycle.toml", data=found.descriptor))
    parts.append(Link(target="/lifecycle", to=_LIFECYCLE_DIR))  # where old platforms look
    return parts


def _modules(of: Ingredients, store: LocalStore) -> tuple[list[Layer], dict[str, str]]:
    """The layers to add, and the labels of all that are there then."""
    added: list[Layer] = []
    labels: dict[str, str] = {}
    for kind, key in package.LAYER_LABELS.items():
        known = package.read_layers(of.base.labels, key, where="the base image") or {}
        mine = sorted((one for one in of.modules if one.kind == kind), key=full_name)
        together = _together(mine, of.flat)
        written = write_modules(together, store)
        for modules in together:
            layer = written[full_name(modules[0])]
            there = [known.get(one.id, {}).get(one.version) for one in modules]
            if all(info and info.layer_diff_id == layer.diff_id for info in there):
                continue
            for one, info in zip(modules, there, strict=True):
                if info:
                    added.append(write_layer(store, _whiteout(one), created_by=f"without {full_name(one)}").layer)
            added.append(layer)
        label = _joined(known, layers_label((one, written[full_name(one)]) for one in mine))
        if label:
            labels[key] = package.to_json(label)
    return added, labels


def _together(modules: Sequence[StagedBuildpack], flat: Sequence[frozenset[str]]) -> list[list[StagedBuildpack]]:
    """What shares a layer, each list where its first is."""
    layers: dict[str, list[StagedBuildpack]] = {}
    for one in modules:
        names = next((names for names in flat if full_name(one) in names), None)
        layers.setdefault(min(names) if names else full_name(one), []).append(one)
    return list(layers.values())


def _joined(known: Layers, new: Layers) -> Layers:
    return {identity: {**known.get(identity, {}), **new.get(identity, {})} for identity in sorted({*known, *new})}


def _whiteout(one: StagedBuildpack) -> list[Part]:
    """What takes an older version's directory away: files of it must not show through (DST-08)."""
    above = directories_above(one)
    return [*(Dir(target=path) for path in above), File(target=f"{above[-1]}/.wh.{one.version}", data=b"")]


def _files(of: Ingredients, order: Order, system: System) -> Iterator[Part]:
    yield Dir(target="/cnb")
    default = of.run_images[0]
    stack = {"run-image": _run_image(default)}
    files: dict[str, Any] = {
        "order.toml": {key: value for key, value in msgspec.to_builtins(order).items() if value},
        "run.toml": {"images": [_run_image(one) for one in RunFile(images=of.run_images).images]},
        "stack.toml": stack,
    }
    if system.system.pre.buildpacks or system.system.post.buildpacks:
        files["system.toml"] = system
    for name, table in sorted(files.items()):
        yield File(target=f"/cnb/{name}", data=toml.encode(table))
    if of.file.build.env:
        yield Dir(target=_CONFIG)
        yield Dir(target=f"{_CONFIG}/env")
    yield from _variables(of)


def _variables(of: Ingredients) -> Iterator[Part]:
    """The operator's variables, files as buildpacks have them (IMG-08)."""
    found: dict[str, bytes] = {}
    for one in of.file.build.env:
        found[f"{one.name}.{one.suffix}" if one.suffix else one.name] = one.value.encode()
        if one.delim:
            found[f"{one.name}.delim"] = one.delim.encode()
    for name, value in sorted(found.items()):
        yield File(target=f"{_CONFIG}/env/{name}", data=value)


def _run_image(one: RunImageEntry) -> dict[str, Any]:
    return {"image": one.image, **({"mirrors": list(one.mirrors)} if one.mirrors else {})}


def _labels(of: Ingredients, order: Order, system: System) -> dict[str, str]:
    """The labels that platforms read (IMG-09, IMG-10)."""
    labels = {
        builder.METADATA: package.to_json(_metadata(of)),
        builder.ORDER: package.to_json(order.order),
        builder.ORDER_EXTENSIONS: package.to_json(order.order_extensions),
    }
    if system.system.pre.buildpacks or system.system.post.buildpacks:
        labels[builder.SYSTEM] = package.to_json(system.system)
    return labels


def _metadata(of: Ingredients) -> dict[str, Any]:
    lifecycle: dict[str, Any] = {}
    if of.lifecycle:
        about = builder.read_lifecycle_file(of.lifecycle.descriptor, where=f"{of.where}: lifecycle.toml")
        lifecycle = {"version": about.version, "api": about.api, "apis": about.apis}
    return {
        "description": of.file.description,
        "buildpacks": [_info(one) for one in _sorted(of.modules, "buildpack")],
        "extensions": [_info(one) for one in _sorted(of.modules, "extension")],
        "stack": {"runImage": _run_image(of.run_images[0])},
        "lifecycle": lifecycle,
        "createdBy": {"name": "packrunner", "version": __version__},
        "images": [_run_image(one) for one in of.run_images],
    }


def _sorted(modules: Sequence[StagedBuildpack], kind: str) -> list[StagedBuildpack]:
    return sorted((one for one in modules if one.kind == kind), key=full_name)


def _info(one: StagedBuildpack) -> dict[str, str]:
    found = one.descriptor.buildpack
    about = {"id": one.id, "version": one.version, "name": found.name, "homepage": found.homepage}
    return {key: value for key, value in about.items() if value}


def _wrong(of: Ingredients, brief: str, fix: str, key: str) -> UsageError:
    at = line(of.where, key) if os.path.isfile(of.where) else of.where
    return UsageError(f"{os.path.basename(of.where)}: {brief}", slug="builder-file", at=at, tries=(fix,))
