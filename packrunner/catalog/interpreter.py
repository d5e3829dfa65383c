"""Which Python a build image has, found in its files without running any of them.

Buildpacks on the SDK need one (docs/reference/buildpack-conventions.md), and the images of others may have none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.images.view import View

MINIMUM = (3, 11)

_NAME = re.compile(r"python(?P<major>[0-9])\.(?P<minor>[0-9]{1,3})")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check(buildpacks: Iterable[StagedBuildpack], files: View, *, path: str, builder: str) -> None:
    """Raises UsageError (`builder-python`) where a buildpack on the SDK would find no Python of its version.

    A `python3` that does not say which version it is counts as good: only what is known to fail is refused.
    """
    needing = sorted(b.short for b in buildpacks if b.sdk)
    if not needing:
        return
    found = _find(files, path or _DEFAULT_PATH)
    version = _version(files, found) if found else None
    if found and (version is None or version >= MINIMUM):
        return
    wanted = ".".join(map(str, MINIMUM))
    has = f"Python {'.'.join(map(str, version))}" if version else "no python3"
    raise UsageError(
        f"{', '.join(needing)} cannot run in {builder}: it has {has}",
        slug="builder-python",
        cause=f"buildpacks on packrunner's SDK are Python programs, for {wanted} or newer",
        at=found or f"PATH={path}",
        tries=("--builder debian:13", "the builder's own buildpacks, without --buildpack"),
    )


def _find(files: View, path: str) -> str | None:
    """The program `python3`, without links: the first of the directories that has one decides, as for a shell."""
    for directory in path.split(":"):
        place = f"{directory}/python3"
        if directory.startswith("/") and files.kind(place) == "file":
            return files.resolve(place)
    return None


def _version(files: View, program: str) -> tuple[int, int] | None:
    """Its name says it where it was linked to; else the one library beside it; None where neither does."""
    directory, _, name = program.rpartition("/")
    said = _NAME.fullmatch(name)
    if said is None:
        named = [_NAME.fullmatch(one) for one in files.names(f"{directory}/../lib")]
        versions = [one for one in named if one]
        said = versions[0] if len(versions) == 1 else None
    return (int(said["major"]), int(said["minor"])) if said else None
