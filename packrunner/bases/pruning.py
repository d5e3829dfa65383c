"""Removing what no base needs any more: former trees, downloads that no lock names, recipes that were edited."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.bases import marker
from packrunner.bases.lock import read_lock
from packrunner.confined import Root
from packrunner.disk import FileLock

if TYPE_CHECKING:
    from packrunner.bases.lock import Lock
    from packrunner.images.store import LocalStore


def prune_bases(data_dir: str, store: LocalStore, *, everything: bool = False, dry_run: bool = False) -> int:
    """Remove downloads that no lock names, trees of former locks and unfinished work; gives the bytes that frees.

    A recipe's lock goes with the last name of its images: the recipe was edited, or its builder is not wanted.

    With `everything` the locks go too, and all that they name. What a running build uses stays; a base that is
    being made is waited for.
    """
    directory = os.path.join(data_dir, "bases")
    if not os.path.isdir(directory):
        return 0
    with FileLock(os.path.join(directory, "lock")), Root.open(directory) as root:
        wanted: set[str] = set()
        named = {stored.digest for stored in store.list() if stored.name}
        freed = 0
        for entry in root.names():
            path = os.path.join(directory, entry.name)
            lock = read_lock(os.path.join(path, "lock.json")) if entry.kind == "dir" else None
            if lock is None:
                continue
            gone = bool(lock.recipe) and not any(
                marker.read(path, lock.digest, image).get("image") in named for image in lock.images
            )
            wanted |= set() if gone else {package.sha256 for package in lock.packages}
            for found in root.names(entry.name):
                if _is_unused(found.name, path, lock, everything=everything or gone):
                    freed += _remove(root, f"{entry.name}/{found.name}", dry_run=dry_run)
        for download in root.names("downloads"):
            if everything or download.name not in wanted:
                freed += _remove(root, f"downloads/{download.name}", dry_run=dry_run)
        return freed


def _is_unused(name: str, path: str, lock: Lock, *, everything: bool) -> bool:
    if not everything and (name == "lock.json" or name.startswith(lock.digest.short)):
        return False
    held = name.removesuffix(".json") + ".json"
    return not marker.is_held(os.path.join(path, held))


def _remove(root: Root, name: str, *, dry_run: bool) -> int:
    size = 0
    for directory, _, files in os.walk(os.path.join(root.path, name)):
        size += sum(os.lstat(os.path.join(directory, file)).st_size for file in files)
    if root.kind(name) == "file":
        size = os.lstat(os.path.join(root.path, name)).st_size
    if not dry_run:
        root.remove(name)
    return size
