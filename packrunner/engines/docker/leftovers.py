"""Containers whose packrunner was killed: they end with their connection, and the next start removes what is left."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING, Any

from packrunner.engines.docker.container import LABEL, Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
_STARTED = 19  # of the fields of /proc/<pid>/stat after the name: when the process was started


def owner() -> Owner:
    """Our own process."""
    pid = os.getpid()
    return Owner(machine=machine(), pid=pid, started=_started(pid))


def machine() -> str:
    """Our machine and user, seen from this process's namespace: process ids mean something only there."""
    parts = [str(os.geteuid())]
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                parts.append(file.read().strip())
                break
        except OSError:
            continue
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts.append("")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def sweep(api: Any, here: str) -> int:
    """Remove containers of this machine whose process is gone; says how many."""
    removed = 0
    for found in api.containers(all=True, filters={"label": f"{LABEL}machine={here}"}):
        if not is_alive(found.get("Labels") or {}):
            _log.info("removing the container %s, which a killed build left", found["Id"][:12])
            api.remove_container(found["Id"], v=True, force=True)
            removed += 1
    return removed


def is_alive(labels: Mapping[str, str]) -> bool:
    """Whether the process that made a container still runs. Labels that say nothing are nobody's business."""
    pid, started = labels.get(f"{LABEL}pid", ""), labels.get(f"{LABEL}started", "")
    return not pid.isdecimal() or not started or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process was started, so that another one with its number is not taken for it; "" when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[_STARTED].decode()
    except (OSError, IndexError):
        return ""
