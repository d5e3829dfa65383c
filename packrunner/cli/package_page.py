"""What is in a package, for `packrunner buildpack inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.console import units
from packrunner.console.redact import visible
from packrunner.images.several import shown_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.catalog.packaged import Package
    from packrunner.catalog.validate import Verdict
    from packrunner.formats.buildpack import OrderGroup
    from packrunner.images.image import Image
    from packrunner.names import Digest


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A package that was looked at, by what it was called: the image for this machine, and those for all `targets`.

    `digest` is that of their index, where there are several.
    """

    place: str
    digest: Digest
    image: Image
    package: Package
    targets: tuple[Image, ...]


def facts(found: Looked) -> dict[str, Any]:
    """A package as JSON's own types."""
    label = found.package.label
    return {
        "package": found.place,
        "digest": str(found.digest),
        "platform": shown_platform(found.image),
        "targets": [
            {
                "platform": shown_platform(one),
                "digest": str(one.digest),
                "layers": [str(layer.diff_id) for layer in one.layers],
            }
            for one in found.targets
        ],
        "kind": found.package.kind,
        "id": label.id,
        "version": label.version,
        "name": label.name,
        "description": label.description,
        "homepage": label.homepage,
        "stacks": [{"id": stack.id, "mixins": list(stack.mixins)} for stack in label.stacks or ()],
        "contents": [
            {
                "id": identity,
                "version": version,
                "api": info.api,
                "layer": info.layer_diff_id,
                "targets": [{"os": t.os, "arch": t.arch, "variant": t.variant} for t in info.targets or ()],
                "order": [_group(group) for group in info.order or ()],
            }
            for identity, version in found.package.members
            for info in (found.package.layers[identity][version],)
        ],
    }


def _group(group: OrderGroup) -> list[dict[str, Any]]:
    return [{"id": ref.id, "version": ref.version, "optional": ref.optional} for ref in group.group]


def page(found: Looked, *, depth: int) -> list[str]:
    """The page for people."""
    label = found.package.label
    size = units.size(sum(layer.blob.size for layer in found.image.layers))
    lines = [f"{found.package.entry}   {found.package.kind}   {shown_platform(found.image)}   {size}", ""]
    others = [f"{shown_platform(one)} {one.digest}" for one in found.targets]
    stacks = [stack.id for stack in label.stacks or () if stack.id != "*"]
    for name, rows in (
        ("name", [label.name]),
        ("about", [label.description]),
        ("homepage", [label.homepage]),
        ("stacks", [", ".join(stacks)]),
        ("contents", [f"{identity} {version}" for identity, version in found.package.members]),
        ("order", list(_order(found, label.id, label.version, depth))),
        ("targets", others if len(others) > 1 else []),
        ("digest", [str(found.digest)]),
    ):
        shown = [row for row in rows if row]
        lines += [f"  {name if i == 0 else '':<10}  {visible(row)}" for i, row in enumerate(shown)]
    return lines


def _order(found: Looked, identity: str, version: str, depth: int, level: int = 0) -> Iterator[str]:
    """The order of a composite, orders within it indented."""
    info = found.package.layers.get(identity, {}).get(version)
    if info is None or (depth and level >= depth) or level > len(found.package.members):
        return
    for number, group in enumerate(info.order or (), 1):
        yield f"{'  ' * level}group {number}"
        for ref in group.group:
            yield f"{'  ' * (level + 1)}{ref.id} {ref.version}{' (optional)' if ref.optional else ''}".rstrip()
            yield from _order(found, ref.id, ref.version, depth, level + 2)


def verdict(found: Verdict) -> list[str]:
    """What was found out about a buildpack: a line for it, two for each finding."""
    errors = sum(one.level == "error" for one in found.findings)
    warnings = len(found.findings) - errors
    state = "cannot be used" if errors else units.number(warnings, "warning") if warnings else "fine"
    lines = [f"{found.name or visible(found.directory)}   {found.kind}   {state}"]
    for one in found.findings:
        lines.append(visible(f"  {one.level}: {one.text}"))
        lines.append(visible(f"    at:  {one.at}"))
        if one.fix:
            lines.append(visible(f"    try: {one.fix}"))
    return lines
