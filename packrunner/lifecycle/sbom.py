"""Software bills of materials: buildpacks' beside their layers, and the launcher's (BLD-26, BLD-27, EXP-11)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.confined import Root
    from packrunner.formats.layer import LayerTypes

MEDIA_TYPES = {
    "application/vnd.cyclonedx+json": "cdx.json",
    "application/spdx+json": "spdx.json",
    "application/vnd.syft+json": "syft.json",
}
LIMIT = 32 << 20
"""Bytes of one file."""

_LIFECYCLE = "buildpacksio_lifecycle"

Scope = Literal["launch", "build", "cache"]

_NAME = re.compile(r"(?P<what>.+)\.sbom\.(?P<extension>[^.]+\.json)", re.DOTALL)


class Sbom(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `<layers>/sbom`: `path` is relative to the directory of its scope."""

    scope: Scope
    path: str
    data: bytes


def collect(
    layers: Root,
    buildpack: str,
    names: Sequence[str],
    types: Mapping[str, LayerTypes],
    *,
    declared: Sequence[str],
) -> Iterator[Sbom]:
    """The SBOMs among the file `names` of a buildpack's layers directory, once for each place they go to.

    Raises BuildError for an unknown format, or one that buildpack.toml does not declare.
    """
    allowed = {MEDIA_TYPES.get(media.partition(";")[0].strip()) for media in declared}
    for name in names:
        found = _NAME.fullmatch(name)
        if not found:
            continue
        where = f"{buildpack}/{name}"
        _check(found["extension"], allowed, where)
        scopes = _scopes(found["what"], types)
        if not scopes:
            continue  # of a layer without a .toml
        data = layers.read(where, limit=LIMIT) or b""
        inner = "" if found["what"] in {"launch", "build"} else f"{found['what']}/"
        for scope in scopes:
            yield Sbom(scope=scope, path=f"{buildpack}/{inner}sbom.{found['extension']}", data=data)


def of_lifecycle(directory: str) -> tuple[Sbom, ...]:
    """A lifecycle's own SBOMs, `launcher.sbom.<ext>` and `lifecycle.sbom.<ext>` (EXP-11)."""
    found = []
    for extension in MEDIA_TYPES.values():
        places: tuple[tuple[str, Scope, str], ...] = (
            ("launcher", "launch", f"{_LIFECYCLE}/launcher/sbom.{extension}"),
            ("lifecycle", "build", f"{_LIFECYCLE}/sbom.{extension}"),
        )
        for name, scope, path in places:
            try:
                with open(os.path.join(directory, f"{name}.sbom.{extension}"), "rb") as file:
                    found.append(Sbom(scope=scope, path=path, data=file.read()))
            except FileNotFoundError:
                continue
    return tuple(found)


def read_tree(layers: Root) -> Iterator[Sbom]:
    """All that is in `<layers>/sbom`, as the build phase left it."""
    scopes: tuple[Scope, ...] = ("launch", "build", "cache")
    for scope in scopes:
        pending = [f"sbom/{scope}"]
        while pending:
            directory = pending.pop(0)
            for entry in layers.names(directory):
                path = f"{directory}/{entry.name}"
                if entry.kind == "dir":
                    pending.append(path)
                elif entry.kind == "file":
                    data = layers.read(path, limit=LIMIT) or b""
                    yield Sbom(scope=scope, path=path.removeprefix(f"sbom/{scope}/"), data=data)


def _check(extension: str, allowed: set[str | None], where: str) -> None:
    if extension not in MEDIA_TYPES.values():
        raise BuildError(
            f"{where} is not in a known SBOM format",
            slug="sbom-format",
            cause=f"known are {', '.join(MEDIA_TYPES.values())}",
            at=where,
        )
    if extension not in allowed:
        media = next(m for m, e in MEDIA_TYPES.items() if e == extension)
        raise BuildError(
            f"{where} is in an SBOM format that the buildpack does not declare",
            slug="sbom-format",
            at=where,
            tries=(f'sbom-formats = ["{media}"] in the [buildpack] table of its buildpack.toml',),
        )


def _scopes(what: str, types: Mapping[str, LayerTypes]) -> tuple[Scope, ...]:
    if what == "launch":
        return ("launch",)
    if what == "build":
        return ("build",)
    layer = types.get(what)
    if layer is None:
        return ()
    used: Scope = "launch" if layer.launch else "build"
    return (used, "cache") if layer.cache else (used,)
