"""The labels a built image carries (EXP-20 - EXP-24), read by pack, kpack, rebase and ourselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

LIFECYCLE = "io.buildpacks.lifecycle.metadata"
BUILD = "io.buildpacks.build.metadata"
PROJECT = "io.buildpacks.project.metadata"
EXEC_ENV = "io.buildpacks.exec-env"
REBASABLE = "io.buildpacks.rebasable"


class Sha(msgspec.Struct, frozen=True):
    """A layer by its diff id."""

    sha: str


class LayerRecord(msgspec.Struct, frozen=True):
    """A buildpack layer; `data` is the metadata of `<layer>.toml` (EXP-21)."""

    sha: str = ""
    data: dict[str, Any] = {}
    build: bool = False
    launch: bool = False
    cache: bool = False


class StoreRecord(msgspec.Struct, frozen=True):
    """What a buildpack keeps in store.toml."""

    metadata: dict[str, Any] = {}


class BuildpackRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One buildpack's layers; also the shape of the cache's metadata (EXP-33)."""

    key: str
    version: str
    layers: dict[str, LayerRecord] = {}
    store: StoreRecord | None = None


class RunImageRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The run image below the application's layers (EXP-22)."""

    top_layer: str = ""
    reference: str = ""
    image: str = ""
    mirrors: tuple[str, ...] = ()


class StackRunImage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run image again, for old readers."""

    image: str = ""
    mirrors: tuple[str, ...] = ()


class StackRecord(msgspec.Struct, frozen=True, rename="camel"):
    """`stack` (STK-04)."""

    run_image: StackRunImage = StackRunImage()


class LifecycleLabel(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`io.buildpacks.lifecycle.metadata`."""

    app: tuple[Sha, ...] = ()
    sbom: Sha | None = None
    buildpacks: tuple[BuildpackRecord, ...] = ()
    config: Sha | None = None
    launcher: Sha | None = None
    process_types: Sha | None = None
    run_image: RunImageRecord = msgspec.field(default=RunImageRecord(), name="runImage")
    stack: StackRecord | None = None
    exec_env: str = ""


class LabelBuildpack(msgspec.Struct, frozen=True, omit_defaults=True):
    """A group member in the build label; other lifecycles leave `api` out."""

    id: str
    version: str
    homepage: str = ""
    api: str = ""


class LabelProcess(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process in the build label; `args` may be null and `command` a string in images of others."""

    type: str
    command: tuple[str, ...] | str
    args: tuple[str, ...] | None
    direct: bool
    buildpack_id: str = msgspec.field(name="buildpackID")
    working_dir: str = msgspec.field(default="", name="working-dir")
    exec_env: tuple[str, ...] = msgspec.field(default=(), name="exec-env")


class GitSource(msgspec.Struct, frozen=True):
    """Where a launcher's source is kept."""

    repository: str = ""
    commit: str = ""


class LauncherSource(msgspec.Struct, frozen=True):
    """`launcher.source`."""

    git: GitSource = GitSource()


class LauncherRecord(msgspec.Struct, frozen=True):
    """The launcher in the image."""

    version: str = ""
    source: LauncherSource = LauncherSource()


class BuildLabel(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`io.buildpacks.build.metadata` (EXP-23)."""

    buildpacks: tuple[LabelBuildpack, ...]
    launcher: LauncherRecord
    processes: tuple[LabelProcess, ...]
    extensions: tuple[LabelBuildpack, ...] = ()
    buildpack_default_process_type: str = ""
    bom: tuple[dict[str, Any], ...] = ()


def read_lifecycle(labels: dict[str, str]) -> LifecycleLabel:
    """The lifecycle label; an empty one where it is missing or cannot be read (RES-02)."""
    try:
        return msgspec.json.decode(labels.get(LIFECYCLE, "{}"), type=LifecycleLabel)
    except msgspec.DecodeError:
        return LifecycleLabel()


def to_json(value: Any) -> str:
    """Compact JSON with keys in a fixed order, as labels hold it."""
    return msgspec.json.encode(value, order="deterministic").decode()


def process_types(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The types of an image's launch processes, in the label's order; none where the label cannot be read."""
    try:
        return tuple(p.type for p in msgspec.json.decode(labels.get(BUILD, ""), type=_Processes).processes)
    except msgspec.DecodeError:
        return ()


class _Type(msgspec.Struct, frozen=True):
    type: str


class _Processes(msgspec.Struct, frozen=True):
    processes: tuple[_Type, ...] = ()
