"""The topmost layer of every sandbox's root: its mount points, the agent, and what the host trusts.

Being on top it hides what an image has under the same names. So a link that an image ships at `/layers` or
`/etc/resolv.conf` leads no mount astray (SBX-12), the files need no mounts of their own, and the agent
inside is a copy, not the installed file (SBX-22).

    <state>/skeletons/<key>/root    made once for equal content; kept while a sandbox holds its lock
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.confined import Root
from packrunner.disk import FileLock, disk_error, temporary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AGENT = "/run/packrunner/agent"
"""Where the agent is inside."""

_UNUSED_AFTER = 24 * 3600.0


class Skeleton(msgspec.Struct, frozen=True, kw_only=True):
    """What the layer holds: paths inside; `agent` is the path of the binary on this host."""

    directories: frozenset[str]
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    agent: str

    def key(self) -> str:
        """Equal keys, equal layers. The agent counts by its stat fingerprint, the files by content."""
        found = os.stat(self.agent)
        digest = hashlib.sha256(f"2 {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}".encode())
        for path in sorted(self.directories):
            digest.update(b"\0d" + os.fsencode(path))
        for path in sorted(self.files):
            digest.update(b"\0f" + os.fsencode(path) + b"\0" + hashlib.sha256(self.files[path]).digest())
        return digest.hexdigest()[:20]


@contextmanager
def held_skeleton(state: str, skeleton: Skeleton) -> Iterator[str]:
    """The host path of the layer, made if need be; nobody removes it inside of the context."""
    parent = os.path.join(state, "skeletons")
    try:
        key = skeleton.key()
        os.makedirs(parent, mode=0o700, exist_ok=True)
        lock = _hold(parent, key)
        while lock is None:
            with FileLock(os.path.join(parent, "lock")):
                _make(parent, key, skeleton)
            lock = _hold(parent, key)
    except OSError as error:
        raise disk_error(error, parent) from error
    try:
        yield os.path.join(parent, key, "root")
    finally:
        os.close(lock)


def _hold(parent: str, key: str) -> int | None:
    """A shared lock on the finished layer; None when it does not exist, or is just being removed."""
    path = os.path.join(parent, key)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(fd), os.stat(path)):
            raise FileNotFoundError(path)
        os.utime(fd)
    except FileNotFoundError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make(parent: str, key: str, skeleton: Skeleton) -> None:
    """Make the layer beside and rename it, unless somebody else did while we waited for the lock."""
    building = temporary("skeleton")
    with Root.open(parent) as tree:
        if tree.kind(key) is not None:
            return
        try:
            tree.makedirs(building, mode=0o700)
            root = f"{building}/root"
            tree.makedirs(root)
            for path in sorted(skeleton.directories):
                tree.makedirs(root + path)
            files = {**skeleton.files, AGENT: _read(skeleton.agent)}
            for path, content in files.items():
                tree.makedirs((root + os.path.dirname(path)).rstrip("/"))
                tree.write(root + path, content, mode=0o755 if path == AGENT else 0o644)
            tree.rename(building, key)
        finally:
            tree.remove(building)
        _remove_unused(tree, key)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _remove_unused(tree: Root, current: str) -> None:
    """Older layers that no sandbox holds; most are of other networks, and of releases gone by."""
    for entry in tree.names():
        path = os.path.join(tree.path, entry.name)
        if entry.name == current or entry.kind != "dir" or time.time() - os.stat(path).st_mtime < _UNUSED_AFTER:
            continue
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tree.remove(entry.name)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
