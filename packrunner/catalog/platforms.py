"""Buildpacks for several platforms in one directory, each with a directory of its own, as pack has them.

    buildpack.toml                       for all of them
    linux/amd64/bin/build  ...           what a buildpack for linux/amd64 is, but for its buildpack.toml
    linux/arm64/v8/bin/build  ...        the same for a variant of an architecture
    linux/amd64/debian@13/bin/build      the same for a distribution, also below a variant

Directories may be left out from the end: linux/bin/build is for every architecture that has none of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = "linux"
_DEPTH = 3
"""How many directories below SYSTEM there may be: architecture, variant and distribution."""


def own_platform() -> str:
    """The platform of this machine."""
    machine = os.uname().machine
    return f"{SYSTEM}/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def folders(source: str) -> tuple[str, ...]:
    """The directories for platforms, relative to `source`; none where it is a buildpack itself.

    What has a directory `bin` is a buildpack by itself, whatever else is in it.
    """
    if os.path.lexists(os.path.join(source, "bin")):
        return ()
    return tuple(_below(source, SYSTEM, _DEPTH))


def _below(source: str, path: str, depth: int) -> Iterator[str]:
    if os.path.isdir(os.path.join(source, path, "bin")):
        yield path
    names: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(os.listdir(os.path.join(source, path))) if depth else []
    for name in names:
        if name != "bin" and not os.path.islink(os.path.join(source, path, name)):
            yield from _below(source, f"{path}/{name}", depth - 1)


def folder(source: str, platform: str, *, shown: str) -> str:
    """The directory, relative to `source`, for a platform; "" where it has none for any.

    Raises UsageError, slug `buildpack-target`, where there are only others.
    """
    have = folders(source)
    if not have:
        return ""
    wanted = platform
    while wanted:
        if wanted in have:
            return wanted
        wanted = wanted.rpartition("/")[0]
    raise UsageError(
        f"{shown} has nothing for {platform}",
        slug="buildpack-target",
        cause=f"it has {', '.join(have)}",
        at=os.path.join(shown, platform),
        tries=(f"a directory {platform} beside the others", f"--target {_target(have[0])}"),
    )


def _target(folder: str) -> str:
    """A directory as `--target` takes it."""
    above, _, last = folder.rpartition("/")
    return f"{above}:{last}" if "@" in last else folder
