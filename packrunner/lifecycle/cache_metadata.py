"""What a cache outside of this machine says of itself, in the reference's form (EXP-33): a file, or a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.formats.labels import BuildpackRecord, LayerRecord, Sha
from packrunner.lifecycle.cache import CachedBuildpack, CachedLayer, CacheRecord

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "io.buildpacks.lifecycle.cache.metadata"


class CacheMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metadata; `exec_env` is packrunner's own, so that layers of another environment stay away (RES-19)."""

    sbom: Sha | None = None
    buildpacks: tuple[BuildpackRecord, ...] = ()
    exec_env: str = msgspec.field(default="", name="exec-env")


def encode(record: CacheRecord) -> bytes:
    """The metadata of what is cached."""
    metadata = CacheMetadata(
        sbom=Sha(sha=record.sbom) if record.sbom else None,
        buildpacks=tuple(
            BuildpackRecord(key=b.key, version=b.version, layers={n: _record(one) for n, one in b.layers.items()})
            for b in record.buildpacks
        ),
        exec_env=record.exec_env,
    )
    return msgspec.json.encode(metadata, order="deterministic")


def decode(data: bytes, size_of: Callable[[str], int]) -> CacheRecord:
    """What is cached, by its metadata; `size_of` a layer in bytes. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(data, type=CacheMetadata) if data else CacheMetadata()
    return CacheRecord(
        exec_env=found.exec_env,
        sbom=found.sbom.sha if found.sbom else "",
        buildpacks=tuple(
            CachedBuildpack(
                key=buildpack.key,
                version=buildpack.version,
                layers={name: _layer(one, size_of) for name, one in buildpack.layers.items() if one.cache},
            )
            for buildpack in found.buildpacks
        ),
    )


def digests(record: CacheRecord) -> list[str]:
    """The layers to keep, each once."""
    found = [one.diff_id for buildpack in record.buildpacks for one in buildpack.layers.values()]
    return list(dict.fromkeys([*found, record.sbom] if record.sbom else found))


def _layer(one: LayerRecord, size_of: Callable[[str], int]) -> CachedLayer:
    return CachedLayer(
        diff_id=one.sha, size=size_of(one.sha), tree="", metadata=one.data, build=one.build, launch=one.launch
    )


def _record(one: CachedLayer) -> LayerRecord:
    return LayerRecord(sha=one.diff_id, data=one.metadata, build=one.build, launch=one.launch, cache=True)
