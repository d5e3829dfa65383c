"""Homes with the default base in them: it is made once for all tests, also where several workers share these."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def once(shared: Path, make: Callable[[Path], None]) -> Path:
    """A home below `shared`, made by the first who asks; nobody builds in it."""
    place = shared / "prepared"
    with (shared / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            begun = shared / "prepared.new"
            make(begun)
            begun.rename(place)
    return place


def begin(prepared: Path, home: Path) -> None:
    """Give a new home what the prepared one has: other names of its files, which are replaced and never written to."""
    shutil.copytree(prepared / "data", home / "data", symlinks=True, copy_function=_second_name, ignore=_locks)


def _second_name(source: str, target: str) -> None:
    # What is locked while it is used is another file in each home.
    (shutil.copy2 if source.endswith(".json") else os.link)(source, target)


def _locks(directory: str, names: list[str]) -> list[str]:
    """The locks of a home, but nothing of the same name in a root file system; and unpacked layers.

    Their second names would change what a stat says of them: they would be taken for damaged, with a warning.
    """
    if directory.endswith("/data"):
        return ["snapshots"]
    if any(part == "tree" or part.endswith("-build") for part in directory.split("/")):
        return []
    return [name for name in names if name in {"lock", "locks"} or name.endswith(".lock")]
