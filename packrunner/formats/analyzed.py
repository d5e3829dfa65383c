"""analyzed.toml: what was known before detection began (RES-03, RES-04)."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.formats.labels import LifecycleLabel


class ImageRef(msgspec.Struct, frozen=True):
    """An image by a reference that cannot move."""

    reference: str


class TargetDistro(msgspec.Struct, frozen=True):
    """`[run-image.target.distro]`."""

    name: str
    version: str


class AnalyzedTarget(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`[run-image.target]`; `id` is the stack id of old run images."""

    os: str
    arch: str
    arch_variant: str = ""
    id: str = ""
    distro: TargetDistro | None = None


class AnalyzedRunImage(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[run-image]`: `reference` is fixed by digest, `image` is the name as given."""

    reference: str
    image: str = ""
    extend: bool = False
    target: AnalyzedTarget | None = None


class Analyzed(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """analyzed.toml; `image` is the previous image, `metadata` its lifecycle label with TOML's key names."""

    image: ImageRef | None = None
    metadata: dict[str, Any] = {}
    run_image: AnalyzedRunImage | None = None
    build_image: ImageRef | None = None


_TOML_KEYS = {"runImage": "run-image", "topLayer": "top-layer"}


def metadata_table(label: LifecycleLabel) -> dict[str, Any]:
    """The lifecycle label as `[metadata]`: JSON's camel-case keys have other names in TOML."""
    table: dict[str, Any] = msgspec.to_builtins(label)
    for key in ("runImage", "stack"):
        if key in table:
            table[key] = {_TOML_KEYS.get(k, k): v for k, v in table[key].items()}
    return {_TOML_KEYS.get(key, key): value for key, value in table.items()}


def label_of(metadata: dict[str, Any]) -> LifecycleLabel:
    """The lifecycle label that `metadata_table` made into `[metadata]`; an empty one for anything else (RES-02)."""
    names = {toml: json for json, toml in _TOML_KEYS.items()}
    table = {names.get(key, key): value for key, value in metadata.items()}
    for key in ("runImage", "stack"):
        if isinstance(table.get(key), dict):
            table[key] = {names.get(k, k): v for k, v in table[key].items()}
    try:
        return msgspec.convert(table, LifecycleLabel)
    except msgspec.ValidationError:
        return LifecycleLabel()
