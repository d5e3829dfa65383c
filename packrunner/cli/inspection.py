"""What an image is made of, read from its configuration and labels (EXP-20 - EXP-24)."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
import time
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.cli import listing
from packrunner.cli.reference import short
from packrunner.console import units
from packrunner.console.machine import timestamp
from packrunner.console.redact import visible
from packrunner.formats import labels
from packrunner.lifecycle.rebasing import newer_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.console.terminal import Terminal
    from packrunner.images.image import Image
    from packrunner.images.store import StoredImage

PROCESSES = "/cnb/process/"
_EXTENDED = re.compile(r"Layer: '(?P<file>[^']+)', Created by extension: (?P<id>[^@]+)@.+")


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How the application can be started."""

    type: str
    command: tuple[str, ...]
    buildpack: str = ""
    default: bool = False


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A layer, by its role or name; `shared` counts the images in the store that have it."""

    name: str
    diff_id: str
    size: int
    buildpack: str = ""
    shared: int = 1


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that `inspect` says."""

    name: str
    digest: str
    written_at: float
    image: Image
    processes: tuple[ProcessFacts, ...]
    buildpacks: tuple[tuple[str, str], ...]
    base: str
    base_reference: str
    newer_base: str | None
    layers: tuple[LayerFacts, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON's own types."""
        image = self.image
        return {
            "name": self.name,
            "digest": self.digest,
            "platform": listing.platform(image),
            "size": sum(layer.size for layer in self.layers),
            "built": timestamp(self.written_at) if self.written_at else None,
            "user": image.user,
            "working_dir": image.working_dir,
            "entrypoint": list(image.entrypoint),
            "cmd": list(image.cmd),
            "env": dict(image.env),
            "processes": [
                {"type": p.type, "command": list(p.command), "buildpack": p.buildpack, "default": p.default}
                for p in self.processes
            ],
            "buildpacks": [{"id": id_, "version": version} for id_, version in self.buildpacks],
            "base": {"name": self.base, "reference": self.base_reference, "newer": self.newer_base},
            "layers": [
                {"name": x.name, "diff_id": x.diff_id, "size": x.size, "buildpack": x.buildpack, "shared": x.shared}
                for x in self.layers
            ],
            "labels": dict(image.labels),
        }


def facts(stored: StoredImage, others: Sequence[StoredImage]) -> Facts:
    """Read an image's configuration and labels; `others` are all images of the store."""
    image = stored.image
    lifecycle = labels.read_lifecycle(dict(image.labels))
    build = _build_label(image.labels)
    return Facts(
        name=stored.name,
        digest=stored.digest,
        written_at=stored.written_at,
        image=image,
        processes=_processes(build, image.entrypoint),
        buildpacks=_buildpacks(build) or tuple((b.key, b.version) for b in lifecycle.buildpacks),
        base=lifecycle.run_image.image,
        base_reference=lifecycle.run_image.reference,
        newer_base=newer_base(image, {i.name: i.digest for i in others}),
        layers=_layers(image, lifecycle, {i.digest: i.image for i in others}),
    )


def _build_label(found: Mapping[str, str]) -> dict[str, Any]:
    try:
        value = json.loads(found.get(labels.BUILD, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) else []


def _processes(build: Mapping[str, Any], entrypoint: Sequence[str]) -> tuple[ProcessFacts, ...]:
    start = entrypoint[0] if entrypoint else ""
    default = start.removeprefix(PROCESSES) if start.startswith(PROCESSES) else ""
    return tuple(
        ProcessFacts(
            type=str(p.get("type", "")),
            command=tuple(_words(p.get("command")) + _words(p.get("args"))),
            buildpack=str(p.get("buildpackID", "")),
            default=p.get("type") == default,
        )
        for p in _tables(build.get("processes"))
    )


def _buildpacks(build: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(b.get("id", "")), str(b.get("version", ""))) for b in _tables(build.get("buildpacks")))


def _layers(image: Image, lifecycle: labels.LifecycleLabel, others: Mapping[str, Image]) -> tuple[LayerFacts, ...]:
    roles = _roles(lifecycle)
    used = [{layer.diff_id for layer in other.layers} for other in others.values()]
    top = lifecycle.run_image.top_layer
    ids = [layer.diff_id for layer in image.layers]
    base_end = next((i + 1 for i, diff_id in enumerate(ids) if diff_id == top), 0)
    found = []
    for i, layer in enumerate(image.layers):
        role, buildpack = roles.get(layer.diff_id) or ("base" if i < base_end else "", "")
        if not role:
            role, buildpack = _of_extension(layer.created_by)
        found.append(
            LayerFacts(
                name=role,
                diff_id=layer.diff_id,
                size=layer.blob.size,
                buildpack=buildpack,
                shared=max(1, sum(layer.diff_id in ids for ids in used)),
            )
        )
    return tuple(found)


def _of_extension(created_by: str) -> tuple[str, str]:
    """The Dockerfile that made a layer, and whose it is; else what there is to call the layer by."""
    found = _EXTENDED.fullmatch(created_by)
    return (found["file"], short_id(found["id"])) if found else (created_by or "(unknown)", "")


def _roles(lifecycle: labels.LifecycleLabel) -> dict[str, tuple[str, str]]:
    roles = {
        record.sha: (name, short_id(buildpack.key))
        for buildpack in lifecycle.buildpacks
        for name, record in buildpack.layers.items()
        if record.sha
    }
    roles |= {sha.sha: ("app", "") for sha in lifecycle.app}
    singles = {
        "launcher": lifecycle.launcher,
        "config": lifecycle.config,
        "process types": lifecycle.process_types,
        "sbom": lifecycle.sbom,
    }
    return roles | {sha.sha: (name, "") for name, sha in singles.items() if sha is not None and sha.sha}


def short_id(buildpack: str) -> str:
    """A buildpack's id for people: `packrunner/python` is `python`."""
    return buildpack.rpartition("/")[2]


def page(found: Facts, terminal: Terminal, *, now: float | None = None) -> list[str]:
    """The page for people."""
    image = found.image
    name = short(found.name) if found.name else ""
    head = [
        f"{name}{'@' if name else ''}{units.short(found.digest)}",
        listing.platform(image),
        units.size(sum(layer.size for layer in found.layers)),
        _built(found.written_at, time.time() if now is None else now),
    ]
    lines = ["   ".join(head), ""]
    for label, rows in (
        ("processes", [_process_row(p) for p in found.processes]),
        ("buildpacks", _wrapped(", ".join(f"{short_id(i)} {v}".strip() for i, v in found.buildpacks), terminal)),
        ("base", [_base_row(found)]),
        ("layers", _layer_rows(found.layers)),
        ("runs as", [image.user]),
        ("more", ["inspect --json"]),
    ):
        shown = [row for row in rows if row.strip()]
        lines += [f"  {label if i == 0 else '':<10}  {visible(row)}".rstrip() for i, row in enumerate(shown)]
    return lines


def _base_row(found: Facts) -> str:
    row = found.base + (f"@{units.short(found.base_reference)}" if found.base_reference else "")
    if not found.newer_base:
        return row
    image = short(found.name) or "IMAGE"
    return f"{row}    newer base {units.short(found.newer_base)}: packrunner rebase {shlex.quote(image)}"


def _built(written_at: float, now: float) -> str:
    if not written_at:
        return "built: not recorded"
    return f"built {time.strftime('%Y-%m-%d %H:%M', time.localtime(written_at))} ({units.age(now - written_at)})"


def _process_row(process: ProcessFacts) -> str:
    mark = " *" if process.default else ""
    return f"{process.type + mark:<16}  {shlex.join(process.command)}"


def _wrapped(text: str, terminal: Terminal) -> list[str]:
    return textwrap.wrap(text, terminal.width - 14, break_long_words=False, break_on_hyphens=False)


def _layer_rows(layers: Sequence[LayerFacts]) -> list[str]:
    rows = []
    for layer in layers:
        notes = [f"from {layer.buildpack}"] if layer.buildpack else []
        notes += [f"shared by {layer.shared} images"] if layer.shared > 1 else []
        text = f"{layer.name:<16}  {units.size(layer.size):>8}   {units.short(layer.diff_id)}   {', '.join(notes)}"
        rows.append(text.rstrip())
    return rows
