"""The buildpacks of a builder, where it has them: <dir>/<id with _>/<version>, used as they are (IMG-04, BPD-05)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.catalog.check import read_descriptor
from packrunner.catalog.shelf import Shelf
from packrunner.catalog.stage import StagedBuildpack
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.catalog.check import Kind
    from packrunner.formats.buildpack import GroupRef


def installed(
    refs: Iterable[GroupRef], directory: str, *, kind: Kind = "buildpack"
) -> dict[tuple[str, str], StagedBuildpack]:
    """What the references lead to, by id and version, composites and their members included; extensions have none.

    Raises UsageError (`unknown-buildpack`, `buildpack-descriptor`, `toml`), BuildpackApiError (BPD-02).
    """
    shelf = Shelf((directory,), descriptor=f"{kind}.toml")
    found: dict[tuple[str, str], StagedBuildpack] = {}
    pending = list(refs)
    while pending:
        ref = pending.pop()
        path = shelf.find(ref)
        if path is None:
            asked = f"{ref.id}@{ref.version}" if ref.version else ref.id
            raise UsageError(f"there is no {kind} {asked}", slug="unknown-buildpack", cause=f"it is not in {directory}")
        buildpack = _described(path, kind)
        key = (buildpack.id, buildpack.version)
        if key not in found:
            found[key] = buildpack
            pending += [inner for group in buildpack.descriptor.order for inner in group.group]
    return found


def _described(path: str, kind: Kind) -> StagedBuildpack:
    descriptor = read_descriptor(path, shown=path, kind=kind)
    identity, version = descriptor.buildpack.id, descriptor.buildpack.version
    if os.path.basename(path) != version:
        raise UsageError(
            f"{path} holds version {version} of {identity}", slug="buildpack-descriptor", at=f"{path}/{kind}.toml"
        )
    return StagedBuildpack(
        id=identity,
        version=version,
        digest="",
        path=path,
        source=path,
        descriptor=descriptor,
        short=identity.rpartition("/")[2],
        kind=kind,
    )
