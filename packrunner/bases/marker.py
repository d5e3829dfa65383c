"""What says that an image of a base is complete: one small file each, written last.

    <home>/77a0c1f2d9e4-build.json     {"top": ...}    the tree is <home>/77a0c1f2d9e4-build
    <home>/77a0c1f2d9e4-python.json    {"image": ...}  the image in the store

Loaded by every build: imports next to nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

_DEEPER = ("usr/lib",)


def tree_path(home: str, digest: Digest) -> str:
    """Where the build image's tree is."""
    return os.path.join(home, f"{digest.short}-build")


def read(home: str, digest: Digest, image: str) -> dict[str, str]:
    """What the marker says; nothing where there is none, or a damaged one: the image is then made again."""
    try:
        with open(_path(home, digest, image), "rb") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("digest") != digest:
        return {}
    return {str(key): str(value) for key, value in content.items()}


def write(home: str, digest: Digest, image: str, content: Mapping[str, str]) -> None:
    """Mark the image as complete."""
    from packrunner.disk import write_atomic

    text = json.dumps({"digest": digest, **content}, sort_keys=True)
    write_atomic(_path(home, digest, image), text.encode(), sync=True)


def hold(home: str, digest: Digest, image: str) -> int:
    """A descriptor by which this process keeps the image from being pruned; -1 where it cannot."""
    try:
        fd = os.open(_path(home, digest, image), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def is_held(path: str) -> bool:
    """Whether any process holds the image whose marker is at `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def is_ready(home: str, digest: Digest, image: str, store: LocalStore) -> bool:
    """Is the image made, and still as it was made? A cheap look, not at every file."""
    marked = read(home, digest, image)
    if "top" in marked:
        return marked["top"] == top_fingerprint(tree_path(home, digest))
    return stored(home, digest, image, store) is not None


def stored(home: str, digest: Digest, image: str, store: LocalStore) -> Image | None:
    """An image that is in the store with all of its blobs."""
    marked = read(home, digest, image)
    found = store.read(marked["image"]) if "image" in marked else None
    if found is None:
        return None
    blobs = [layer.blob for layer in found.image.layers]
    return found.image if all(store.has(blob.digest, blob.size) for blob in blobs) else None


def top_fingerprint(tree: str) -> str:
    """A digest of the upper levels of a tree, by which to see cheaply that it is there and was left alone.

    Directories count with their times, so a name added or removed one level below is seen too.
    """
    lines = []
    try:
        names = sorted(os.listdir(tree))
        for directory in ("", *names, *_DEEPER):
            path = os.path.join(tree, directory)
            if os.path.islink(path):
                lines.append(f"{directory} -> {os.readlink(path)}")
                continue
            if not os.path.isdir(path):
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    size = found.st_size if entry.is_file(follow_symlinks=False) else 0
                    lines.append(f"{directory}/{entry.name} {found.st_mode:o} {size} {found.st_mtime_ns}")
    except OSError:
        return ""
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _path(home: str, digest: Digest, image: str) -> str:
    return os.path.join(home, f"{digest.short}-{image}.json")
