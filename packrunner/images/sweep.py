"""Removing what nothing needs from the image store."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from packrunner.disk import LEFTOVER, disk_error

if TYPE_CHECKING:
    from packrunner.images.files import Files


class Sweep:
    """One removal; the caller holds all locks. Files that other programs put into the store are left alone."""

    def __init__(self, root: str, files: Files, *, dry_run: bool) -> None:
        self._root = root
        self._files = files
        self._dry_run = dry_run
        self._freed = 0

    def run(self, needed: set[str]) -> int:
        """Remove every blob whose name is not in `needed`, and leftovers; gives the bytes."""
        blobs = os.path.join("blobs", "sha256")
        for name in self._names(blobs):
            if name not in needed and _is_hex(name):
                self._remove(blobs, name)
        for name in self._names("tables"):
            if name not in needed or not os.path.exists(os.path.join(self._root, blobs, name)):
                self._remove("tables", name)
        for place in ("tmp", "quarantine"):
            for name in self._names(place):
                self._remove(place, name)
        for name in self._names(""):
            if name.startswith(LEFTOVER):
                self._remove("", name)
        return self._freed

    def _names(self, place: str) -> list[str]:
        with suppress(FileNotFoundError):
            return os.listdir(os.path.join(self._root, place))
        return []

    def _remove(self, place: str, name: str) -> None:
        path = os.path.join(self._root, place, name)
        try:
            size = os.lstat(path).st_blocks * 512
            if not self._dry_run:
                self._files.unlink(path)
        except FileNotFoundError:
            return
        except OSError as e:
            raise disk_error(e, path) from e
        self._freed += size


def _is_hex(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
