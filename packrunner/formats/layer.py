"""What bin/build leaves: `<layer>.toml`, launch.toml, build.toml, store.toml (BLD-05 - BLD-16)."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from packrunner.errors import BuildError
from packrunner.formats import toml
from packrunner.formats.api import BuildpackFeatures
from packrunner.names import ProcessType


class LayerTypes(msgspec.Struct, frozen=True):
    """`[types]`: where the layer is used."""

    launch: bool = False
    build: bool = False
    cache: bool = False


class LayerFile(msgspec.Struct, frozen=True):
    """`<layer>.toml`."""

    types: LayerTypes = LayerTypes()
    metadata: dict[str, Any] = {}

    def used_in(self, exec_env: str) -> LayerTypes:
        """The types that count in an execution environment: a layer that is for others is only kept for their builds.

        The list is among the buildpack's own metadata, where anything else may stand too.
        """
        envs = self.metadata.get("exec-env")
        if not isinstance(envs, list) or not envs or exec_env in envs or "*" in envs:
            return self.types
        return LayerTypes(cache=self.types.cache)


class Process(msgspec.Struct, frozen=True, rename="kebab"):
    """A launch process, upgraded to the newest shape: `command` is a list whatever the API."""

    type: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    direct: bool = True
    default: bool = False
    working_dir: str = ""
    exec_env: tuple[str, ...] = ()


class Label(msgspec.Struct, frozen=True):
    """`[[labels]]`."""

    key: str
    value: str


class Slice(msgspec.Struct, frozen=True):
    """`[[slices]]`: path patterns that share an application layer (EXP-12)."""

    paths: tuple[str, ...] = ()


class BomEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[[bom]]`, what SBOM files have replaced (BLD-28)."""

    name: str
    metadata: dict[str, Any] = {}


class LaunchFile(msgspec.Struct, frozen=True):
    """launch.toml."""

    processes: tuple[Process, ...] = ()
    labels: tuple[Label, ...] = ()
    slices: tuple[Slice, ...] = ()
    bom: tuple[BomEntry, ...] = ()


class Unmet(msgspec.Struct, frozen=True):
    """`[[unmet]]`."""

    name: str = ""


class BuildFile(msgspec.Struct, frozen=True):
    """build.toml."""

    unmet: tuple[Unmet, ...] = ()
    bom: tuple[BomEntry, ...] = ()


class StoreFile(msgspec.Struct, frozen=True):
    """store.toml."""

    metadata: dict[str, Any] = {}


def read_layer(data: bytes, *, where: str) -> LayerFile:
    """Read a `<layer>.toml`; type flags at top level are an error (BLD-07)."""
    table = toml.decode(data, dict, where=where)
    stray = sorted({"launch", "build", "cache"} & set(table))
    if stray:
        raise BuildError(
            f"{where}: `{stray[0]}` belongs into the table [types]",
            slug="layer-types",
            at=f"{where}, key {stray[0]}",
        )
    return toml.convert(table, LayerFile, where=where, text=data.decode())


def read_launch(data: bytes, *, where: str, features: BuildpackFeatures) -> LaunchFile:
    """Read a launch.toml of any supported API, upgraded (BLD-10 - BLD-13)."""
    table = toml.decode(data, dict, where=where)
    _check_bom(table, where)
    processes = table.get("processes", [])
    if isinstance(processes, list):
        table["processes"] = [_upgrade(p, where, features) if isinstance(p, dict) else p for p in processes]
    file = toml.convert(table, LaunchFile, where=where, text=data.decode())
    _check(file, where)
    return file


def read_build(data: bytes, *, where: str) -> BuildFile:
    """Read a build.toml."""
    table = toml.decode(data, dict, where=where)
    _check_bom(table, where)
    return toml.convert(table, BuildFile, where=where, text=data.decode())


def remarks(data: bytes, *, where: str, features: BuildpackFeatures) -> tuple[str, ...]:
    """What is tolerated in a launch.toml that was read, and deserves a warning (BLD-11)."""
    if features.working_dir or not any(
        "working-dir" in p for p in tomllib.loads(toml.text_of(data)).get("processes", ())
    ):
        return ()
    return (f"{where}: working-dir is ignored, which came with Buildpack API 0.8",)


def _check_bom(table: dict[str, Any], where: str) -> None:
    entries = table.get("bom", [])
    if isinstance(entries, list) and any(isinstance(entry, dict) and "version" in entry for entry in entries):
        raise BuildError(
            f"{where}: `version` beside the name in [[bom]] is not read any more; put it into the metadata",
            slug="bom-version",
            at=f"{where}, key bom.version",
        )


def _upgrade(process: dict[str, Any], where: str, features: BuildpackFeatures) -> dict[str, Any]:
    process = dict(process)
    if features.command_list:
        if "direct" in process:
            raise BuildError(
                f"{where}: `direct` is gone since Buildpack API 0.9",
                slug="process-direct",
                at=f"{where}, key direct",
            )
        return process
    command = process.get("command")
    if isinstance(command, str):
        process["command"] = [command]
    process.setdefault("direct", False)
    if not features.working_dir:
        process.pop("working-dir", None)
    return process


def _check(file: LaunchFile, where: str) -> None:
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for process in file.processes:
        ProcessType.parse(process.type)
        key = (process.type, process.exec_env)
        if key in seen:
            raise BuildError(f"{where}: two processes have the type {process.type}", slug="process-type", at=where)
        seen.add(key)
        if not process.command:
            raise BuildError(f"{where}: the process {process.type} has no command", slug="process-type", at=where)
    if sum(p.default for p in file.processes) > 1:
        raise BuildError(f"{where}: more than one process has default = true", slug="process-default", at=where)
