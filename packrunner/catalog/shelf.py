"""Directories that hold buildpacks: in the layout of a builder, or one beside the other (IMG-04, BPD-05).

<dir>/<id with _>/<version>/buildpack.toml      found by name, without looking at the others
<dir>/<any name>/buildpack.toml                 found by what it calls itself; <dir>/buildpack.toml too
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.names import BuildpackId
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.formats.buildpack import GroupRef

DESCRIPTOR = "buildpack.toml"


class Shelf:
    """The buildpacks of some directories; a directory named first comes first."""

    def __init__(self, directories: tuple[str, ...], *, descriptor: str = DESCRIPTOR) -> None:
        self._descriptor = descriptor
        self._directories = tuple(os.path.realpath(path) for path in directories)
        for path, named in zip(self._directories, directories, strict=True):
            if not os.path.isdir(path):
                raise UsageError(f"there is no directory {readable(named)}", slug="no-such-path")
        self._loose: dict[str, dict[str, str]] | None = None

    def find(self, ref: GroupRef) -> str | None:
        """The directory of the one buildpack that `ref` means; None when there is none.

        Raises UsageError, slug `unknown-buildpack`, for a reference without version to several (IMG-10).
        """
        versions = self._versions(ref.id)
        if ref.version:
            return versions.get(ref.version)
        if len(versions) > 1:
            raise UsageError(
                f"{ref.id} is named without a version, and there are {len(versions)}",
                slug="unknown-buildpack",
                cause=f"there is {ref.id} {', '.join(sorted(versions))}",
                tries=(f'version = "{max(versions)}"',),
            )
        return next(iter(versions.values()), None)

    def lacks(self, asked: str) -> UsageError | None:
        """The error for a name that is not on the shelf; None for a shelf of no directories."""
        if not self._directories:
            return None
        looked = ", ".join(map(readable, self._directories))
        return UsageError(
            f"there is no buildpack {asked}",
            slug="unknown-buildpack",
            cause=f"it is not in {looked}, and not built in",
            tries=("--buildpacks DIR, for the directory that holds it; repeat it for several",),
        )

    def _versions(self, identity: str) -> dict[str, str]:
        found: dict[str, str] = {}
        escaped = BuildpackId.parse(identity).escaped
        for directory in self._directories:
            place = os.path.join(directory, escaped)
            for version in _names(place):
                if os.path.isfile(os.path.join(place, version, self._descriptor)):
                    found.setdefault(version, os.path.join(place, version))
        for version, path in self._others().get(identity, {}).items() if not found else ():
            found.setdefault(version, path)
        return found

    def _others(self) -> dict[str, dict[str, str]]:
        """What is not in a builder's layout, by id and version: read once, when a name is not found there."""
        if self._loose is None:
            self._loose = {}
            for directory in self._directories:
                for path in (directory, *(os.path.join(directory, name) for name in _names(directory))):
                    for identity, version in self._identity(path):
                        self._loose.setdefault(identity, {}).setdefault(version, path)
        return self._loose

    def _identity(self, path: str) -> Iterator[tuple[str, str]]:
        """What the directory's descriptor says it is; whatever else is wrong with it is said when it is used."""
        try:
            with open(os.path.join(path, self._descriptor), "rb") as file:
                table = tomllib.loads(toml.text_of(file.read()))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
            return
        info = table.get(self._descriptor.removesuffix(".toml"))
        identity, version = (info.get("id"), info.get("version")) if isinstance(info, dict) else (None, None)
        if isinstance(identity, str) and isinstance(version, str):
            yield identity, version


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise disk_error(error, directory) from error
