"""What builds have left in a Docker engine to be faster the next time: volumes and build images, and removing them.

Each is noted on this machine with its last use. What others made is never touched; what they use, the engine keeps by
itself.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from packrunner.engines.docker import leftovers
from packrunner.engines.docker.container import LABEL
from packrunner.engines.docker.image import REPOSITORY
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from packrunner.images.daemon import Daemon

UNUSED_FOR = 30 * 24 * 3600.0
"""Seconds after its last use that something is kept."""

_log = logging.getLogger(__name__)


def prune(daemon: Daemon, state: str, *, everything: bool, dry_run: bool) -> int:
    """Remove volumes and build images that were not used lately, or all of them; the bytes that go, or would."""
    with daemon.translated():
        found: dict[str, Any] = daemon.api.df()
    here, freed = leftovers.machine(), 0
    for volume in found.get("Volumes") or ():
        labels = volume.get("Labels") or {}
        if labels.get(f"{LABEL}machine", here) != here or f"{LABEL}volume" not in labels:
            continue
        if everything or not _used_lately(os.path.join(state, volume["Name"])):
            usage = volume.get("UsageData") or {}
            if usage.get("RefCount", 0) == 0 and (dry_run or _removed(daemon, "volume", volume["Name"])):
                freed += max(usage.get("Size", 0), 0)
    for image in found.get("Images") or ():
        for name in image.get("RepoTags") or ():
            repository, _, tag = name.rpartition(":")
            if repository == REPOSITORY and (everything or not _used_lately(os.path.join(state, f"image-{tag}"))):
                last = len(image["RepoTags"]) == 1
                if dry_run or _removed(daemon, "image", name):
                    freed += max(image.get("Size", 0) - image.get("SharedSize", 0), 0) if last else 0
    return freed


def note_use(state: str, name: str) -> None:
    """Note that something is used now."""
    path = os.path.join(state, name)
    try:
        os.utime(path)
    except FileNotFoundError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _used_lately(note: str) -> bool:
    try:
        return time.time() - os.stat(note).st_mtime < UNUSED_FOR
    except FileNotFoundError:
        return False


def _removed(daemon: Daemon, kind: str, name: str) -> bool:
    """Remove it; what is used meanwhile stays."""
    try:
        with daemon.translated():
            if kind == "volume":
                daemon.api.remove_volume(name)
            else:
                daemon.api.remove_image(name)
    except EngineError as e:
        _log.info("%s %s stays: %s", kind, name, e.cause)
        return False
    return True
