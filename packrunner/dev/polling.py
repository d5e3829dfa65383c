"""Walking the tree again and again, for where the kernel cannot tell what happens in it (LIV-08)."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 1.0
"""The texts below say it."""
_SHARE = 10
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "vboxsf", "virtiofs", "ceph", "afs", "prl_fs"})
_SYSCTLS = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}


class Polling:
    """When to walk next: after the interval, or later where a walk takes long: a tenth of a processor at most."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self.interval = interval
        self.due = time.monotonic() + interval

    def walked(self, began: float, ended: float) -> None:
        """A walk took from then to then."""
        self.due = ended + max(self.interval, (ended - began) * _SHARE)


def limit_reached(error: OSError) -> Warned:
    """What to tell about a limit of the kernel: which setting holds it."""
    setting = _SYSCTLS.get(error.errno or 0)
    if setting is None:
        return Warned(text=f"changes are found by looking every second: {os.strerror(error.errno or 0)} (inotify)")
    now = _current(setting)
    return Warned(
        text=f"changes are found by looking every second: fs.inotify.{setting}{now} is reached",
        hint=f"sudo sysctl fs.inotify.{setting}={524288 if error.errno == errno.ENOSPC else 1024}",
    )


def remote(root: str, table: str = "/proc/self/mountinfo") -> Warned | None:
    """What to tell where the tree, or a part of it, is on a file system that others change without our kernel."""
    for point, kind in _mounts(table):
        inside = point.startswith(root.rstrip("/") + "/")
        if kind in _REMOTE and (inside or point == _mount_of(root)):
            where = point if inside else root
            return Warned(text=f"what others change in {where} is found by looking every second: it is on {kind}")
    return None


def _mount_of(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _mounts(table: str) -> Iterator[tuple[str, str]]:
    """Mount points and kinds of file systems; a later mount at the same place hides an earlier one."""
    found: dict[str, str] = {}
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                found[_plain(before.split(" ")[4])] = after.split(" ", 1)[0]
    except OSError:
        return
    yield from found.items()


def _plain(point: str) -> str:
    """Blanks, tabs, line feeds and backslashes are written in octal."""
    for octal, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(octal, letter)
    return point


def _current(setting: str) -> str:
    try:
        with open(f"/proc/sys/fs/inotify/{setting}", encoding="ascii") as file:
            return f" ({file.read().strip()})"
    except OSError:
        return ""
