"""What was read from a builder's image, remembered by the image's digest: the next build asks no layer for it.

<cache>/builders/<digest>.json     replaced as a whole; losing it costs the reading
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import msgspec

from packrunner._version import __version__
from packrunner.confined import Root
from packrunner.disk import write_atomic
from packrunner.errors import StoreError
from packrunner.formats.buildpack import BuildpackDescriptor  # noqa: TC001 - a Struct names it

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = "builders"


class _File(msgspec.Struct):
    version: str = __version__
    found: dict[str, list[str]] = {}
    descriptors: dict[str, BuildpackDescriptor] = {}


class Memory:
    """Versions and descriptors of a builder's buildpacks, by what was asked for. Without a path it forgets."""

    def __init__(self, path: str, known: _File) -> None:
        self._path = path
        self._known = known
        self._fresh = False

    @classmethod
    def of(cls, directory: str, digest: str) -> Self:
        """What is known of the image with this digest; `directory` is "" for nowhere."""
        path = os.path.join(directory, digest.rpartition(":")[2] + ".json") if directory else ""
        known = _File()
        if path:
            with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), open(path, "rb") as file:
                read = msgspec.json.decode(file.read(), type=_File)
                os.utime(path)  # prune goes by it
                known = read if read.version == __version__ else known
        return cls(path, known)

    def versions(self, key: str, find: Callable[[], list[str]]) -> list[str]:
        """The versions that there are, found by `find` the first time."""
        if key not in self._known.found:
            self._known.found[key] = find()
            self._fresh = True
        return self._known.found[key]

    def descriptor(self, key: str, read: Callable[[], BuildpackDescriptor]) -> BuildpackDescriptor:
        """A descriptor, read by `read` the first time; its metadata is the buildpack's own business, and left out."""
        if key not in self._known.descriptors:
            self._known.descriptors[key] = msgspec.structs.replace(read(), metadata={})
            self._fresh = True
        return self._known.descriptors[key]

    def keep(self) -> None:
        """Remember it; a disk that refuses costs only time."""
        if self._fresh and self._path:
            with suppress(StoreError, OSError):
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                write_atomic(self._path, msgspec.json.encode(self._known))
                self._fresh = False


def prune(directory: str, *, unused_for: float, dry_run: bool = False) -> None:
    """Forget what no build has asked for so many seconds."""
    if dry_run or not os.path.isdir(directory):
        return
    limit = time.time() - unused_for
    with Root.open(directory) as root:
        for entry in root.names():
            with suppress(FileNotFoundError):
                if os.lstat(os.path.join(directory, entry.name)).st_mtime <= limit:
                    root.remove(entry.name)
