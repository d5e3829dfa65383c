"""The JSON files of images and layouts, typed: manifest, configuration, index, and Docker's `manifest.json`."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import msgspec

from packrunner.errors import CorruptError

T = TypeVar("T")

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

AS_OCI = {
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER_TAR,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
}
"""Docker's media types and OCI's for the same bytes."""
AS_DOCKER = {oci: docker for docker, oci in AS_OCI.items()}

REF_NAME = "org.opencontainers.image.ref.name"
JSON_LIMIT = 4 << 20
"""Manifests, configurations and indexes are refused above this many bytes (REG-21)."""


class PlatformFile(msgspec.Struct, frozen=True):
    """Whom a manifest in an index is for."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


def this_platform() -> PlatformFile:
    """Linux on the processor of this machine."""
    machine = os.uname().machine
    return PlatformFile(os="linux", architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


def parse_platform(text: str) -> PlatformFile:
    """`OS/ARCH` or `OS/ARCH/VARIANT`; this machine's where it is ""."""
    if not text:
        return this_platform()
    system, architecture, variant = (*text.split("/"), "", "")[:3]
    return PlatformFile(os=system, architecture=architecture, variant=variant)


class DescriptorFile(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A blob by digest and size."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: PlatformFile | None = None


class ManifestFile(msgspec.Struct, frozen=True, rename="camel"):
    """An image manifest; `manifests` is there to notice an index in its place."""

    schema_version: int
    config: DescriptorFile | None = None
    layers: tuple[DescriptorFile, ...] | None = None
    manifests: tuple[Any, ...] | None = None
    media_type: str = ""


class IndexFile(msgspec.Struct, frozen=True, rename="camel"):
    """An image index, or the `index.json` of a layout."""

    schema_version: int
    manifests: tuple[DescriptorFile, ...]
    media_type: str = INDEX
    layers: tuple[Any, ...] | None = None


class BodyFile(msgspec.Struct, frozen=True, rename="pascal"):
    """`config` of an image configuration: how a container is started."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""


class RootFile(msgspec.Struct, frozen=True):
    """`rootfs` of an image configuration."""

    diff_ids: tuple[str, ...] | None = None


class HistoryItem(msgspec.Struct, frozen=True):
    """How one layer came to be."""

    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


class ConfigFile(msgspec.Struct, frozen=True):
    """An image configuration."""

    architecture: str
    os: str
    rootfs: RootFile
    variant: str = ""
    created: str | None = None
    config: BodyFile | None = None
    history: tuple[HistoryItem, ...] | None = None


class SavedImage(msgspec.Struct, frozen=True, rename="pascal"):
    """One image of Docker's `manifest.json`."""

    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


def read_json(data: bytes, kind: type[T], *, where: str) -> T:
    """Read JSON as `kind`; raises CorruptError naming `where`, also for files that are too large or too deep."""
    if len(data) > JSON_LIMIT:
        raise CorruptError(f"{where} has {len(data)} bytes of JSON, more than {JSON_LIMIT}", slug="image-format")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise CorruptError(f"{where} cannot be read", slug="image-format", cause=str(e)) from e


def uninterpreted(config: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of `config` and of the whole configuration that ConfigFile does not know."""
    top: dict[str, Any] = msgspec.json.decode(config)
    body: dict[str, Any] = top.get("config") or {}
    return (
        {key: value for key, value in body.items() if key not in BodyFile.__struct_encode_fields__},
        {key: value for key, value in top.items() if key not in ConfigFile.__struct_encode_fields__},
    )
