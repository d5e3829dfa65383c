"""What one bin/build left in its layers directory, read after every process of it is dead (BLD-07 - BLD-13, BLD-19).

All of it is foreign: read through confined.Root, never through a link, names checked before any path is made of them
(SBX-01, SBX-02, SBX-03, SBX-17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.environment import ROOT_DIRS, LayerEnv
from packrunner.errors import BuildError, UnsafeArchiveError, UsageError
from packrunner.formats import api, toml
from packrunner.formats import layer as files
from packrunner.lifecycle import sbom
from packrunner.lifecycle.notes import DIRECTORY
from packrunner.names import BuildpackId, LayerName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.confined import Entry, Root
    from packrunner.formats.group import GroupMember
    from packrunner.formats.layer import BuildFile, LaunchFile, LayerTypes

IGNORED = ".ignore"
_FILES = frozenset({"launch.toml", "build.toml", "store.toml"})
_LABEL_KEY = 256
_ENV_VALUE = 128 << 10


class LayerOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that a buildpack declared; `present` says whether its directory exists."""

    name: str
    types: LayerTypes
    metadata: dict[str, Any]
    present: bool


class BuildpackOutput(msgspec.Struct, frozen=True, kw_only=True):
    """All that one buildpack left; `env` is for later buildpacks, layers are by name; `store` None without file."""

    member: GroupMember
    layers: tuple[LayerOutput, ...]
    launch: LaunchFile
    build: BuildFile
    store: dict[str, Any] | None
    env: tuple[LayerEnv, ...]
    sboms: tuple[sbom.Sbom, ...]
    remarks: tuple[str, ...] = ()
    """What is tolerated and worth a warning."""


def read_outputs(
    layers: Root,
    member: GroupMember,
    *,
    layers_dir: str,
    sbom_formats: Sequence[str] = (),
    exec_env: str = api.PRODUCTION,
) -> BuildpackOutput:
    """Read one buildpack's outputs, renaming what no phase may use to `<layer>.ignore` (BLD-08).

    Raises BuildError for what breaks the specification, UnsafeArchiveError for links and the like where files belong.
    """
    buildpack = BuildpackId(member.id).escaped
    entries = layers.names(buildpack)
    names = [e.name for e in entries if e.kind != "dir"]
    declared = {
        name: _layer_file(layers, buildpack, name)
        for name in (_layer_name(buildpack, n) for n in names if n.endswith(".toml") and n not in _FILES)
    }
    kinds = {e.name: e.kind for e in entries}
    where = exec_env if api.buildpack_features(member.api).exec_env else None
    found = tuple(_layer(buildpack, name, declared[name], kinds, where) for name in sorted(declared))
    _ignore_unused(layers, buildpack, entries, {layer.name: layer for layer in found})
    remarks: list[str] = []
    return BuildpackOutput(
        member=member,
        layers=found,
        launch=_launch(layers, buildpack, member, remarks),
        build=_build(layers, buildpack),
        store=_store(layers, buildpack),
        env=tuple(
            _layer_env(layers, buildpack, layer.name, layers_dir)
            for layer in found
            if layer.types.build and layer.present
        ),
        sboms=tuple(
            sbom.collect(layers, buildpack, names, {layer.name: layer.types for layer in found}, declared=sbom_formats)
        ),
        remarks=tuple(remarks),
    )


def read_layers(layers: Root, member: GroupMember, *, exec_env: str = api.PRODUCTION) -> BuildpackOutput:
    """What an export needs of a buildpack whose build is long over: its layers and its store. Raises BuildError."""
    buildpack = BuildpackId(member.id).escaped
    kinds = {entry.name: entry.kind for entry in layers.names(buildpack)}
    named = sorted(n for n, kind in kinds.items() if kind != "dir" and n.endswith(".toml") and n not in _FILES)
    found = [(name, _layer_file(layers, buildpack, name)) for name in (_layer_name(buildpack, n) for n in named)]
    where = exec_env if api.buildpack_features(member.api).exec_env else None
    return BuildpackOutput(
        member=member,
        layers=tuple(_layer(buildpack, name, file, kinds, where) for name, file in sorted(found)),
        launch=files.LaunchFile(),
        build=files.BuildFile(),
        store=_store(layers, buildpack),
        env=(),
        sboms=(),
    )


def _layer_name(buildpack: str, file: str) -> str:
    name = file.removesuffix(".toml")
    try:
        return str(LayerName.parse(name))
    except UsageError as e:
        raise BuildError(e.brief, slug="layer-name", at=f"{buildpack}/{file!r}") from e


def _layer_file(layers: Root, buildpack: str, name: str) -> files.LayerFile:
    where = f"{buildpack}/{name}.toml"
    return files.read_layer(layers.read(where) or b"", where=where)


def _layer(
    buildpack: str, name: str, file: files.LayerFile, kinds: Mapping[str, str], exec_env: str | None
) -> LayerOutput:
    kind = kinds.get(name)
    if kind not in {None, "dir"}:
        raise UnsafeArchiveError(
            f"the layer {name} of {buildpack} is not a directory",
            slug="unsafe-tree",
            cause="its place holds a link or a file, which a layer cannot be",
            at=f"{buildpack}/{name}",
        )
    types = file.types if exec_env is None else file.used_in(exec_env)
    return LayerOutput(name=name, types=types, metadata=file.metadata, present=kind == "dir")


def _ignore_unused(layers: Root, buildpack: str, entries: list[Entry], known: Mapping[str, LayerOutput]) -> None:
    """Move layers of no type, and directories without a .toml, out of everyone's way."""
    for entry in entries:
        if entry.kind != "dir" or entry.name.startswith(DIRECTORY) or entry.name.endswith(IGNORED):
            continue
        layer = known.get(entry.name)
        if layer and (layer.types.launch or layer.types.build or layer.types.cache):
            continue
        place = f"{buildpack}/{entry.name}"
        layers.remove(place + IGNORED)
        layers.rename(place, place + IGNORED)


def _launch(layers: Root, buildpack: str, member: GroupMember, remarks: list[str]) -> LaunchFile:
    where = f"{buildpack}/launch.toml"
    data = layers.read(where)
    if data is None:
        return files.LaunchFile()
    features = api.buildpack_features(member.api)
    try:
        launch = files.read_launch(data, where=where, features=features)
    except UsageError as e:
        raise BuildError(f"{where}: {e.brief}", slug="process-type", at=where) from e
    for label in launch.labels:
        if not label.key or len(label.key) > _LABEL_KEY or not label.key.isprintable():
            raise BuildError(
                f"{where}: {label.key[:60]!r} cannot be the key of a label",
                slug="label",
                cause=f"a key has 1 to {_LABEL_KEY} printable characters",
                at=f"{where}, key labels.key",
            )
    remarks += files.remarks(data, where=where, features=features)
    return launch


def _build(layers: Root, buildpack: str) -> BuildFile:
    where = f"{buildpack}/build.toml"
    data = layers.read(where)
    return files.BuildFile() if data is None else files.read_build(data, where=where)


def _store(layers: Root, buildpack: str) -> dict[str, Any] | None:
    where = f"{buildpack}/store.toml"
    data = layers.read(where)
    return None if data is None else toml.decode(data, files.StoreFile, where=where).metadata


def _layer_env(layers: Root, buildpack: str, name: str, layers_dir: str) -> LayerEnv:
    place = f"{buildpack}/{name}"
    # A link counts: only its name goes into a variable, and the sandbox resolves it inside.
    dirs = {e.name for e in layers.names(place) if e.kind in {"dir", "link"}}
    return LayerEnv(
        path=f"{layers_dir}/{place}",
        dirs=frozenset(directory for directory, _ in ROOT_DIRS if directory in dirs),
        env=_env_files(layers, f"{place}/env"),
        env_build=_env_files(layers, f"{place}/env.build"),
    )


def _env_files(layers: Root, directory: str) -> dict[str, bytes]:
    values = {}
    for entry in layers.names(directory):
        if entry.kind == "dir":
            continue  # env.launch has directories per process type, and so may these
        where = f"{directory}/{entry.name}"
        value = layers.read(where, limit=_ENV_VALUE) or b""
        if b"\0" in value:
            raise BuildError(f"{where} holds a NUL byte, which no variable can", slug="env-file", at=where)
        values[entry.name] = value
    return values
