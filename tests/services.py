"""Services that tests start by hand, and end by their process ids."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKERD = "/usr/sbin/dockerd"


class ServiceError(Exception):
    """A service did not start; what it said is the message."""


class DockerService:
    """A Docker engine of our own below `root`, without networking of its own: containers have the host's, or none.

    Its socket is also for the group `nogroup`, in which ordinary users of tests are.
    """

    def __init__(self, root: Path, *, driver: str = "") -> None:
        self.root = root
        self.host = f"unix://{root}/docker.sock"
        self._driver = driver or _driver(root)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        root = self.root
        with (root / "dockerd.log").open("ab") as log:
            self._child = subprocess.Popen(
                [
                    DOCKERD, "--host", self.host, "--group", "nogroup",
                    "--data-root", str(root / "data"), "--exec-root", str(root / "exec"),
                    "--pidfile", str(root / "pid"), "--bridge", "none", "--iptables=false",
                    "--storage-driver", self._driver,
                ],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        for _ in range(300):
            if self._child.poll() is not None:
                raise ServiceError((root / "dockerd.log").read_text()[-2000:])
            if subprocess.run(["docker", "-H", self.host, "info"], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise ServiceError("dockerd does not answer")

    def kill(self) -> None:
        """End it at once, as when the machine's administrator or the kernel does."""
        assert self._child
        self._child.kill()
        self._child.wait()

    def stop(self) -> None:
        """End it in good order, and what it mounted."""
        if self._child and self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=30)
        for mounted in reversed(mounts_below(self.root)):
            subprocess.run(["umount", mounted], check=True)


@contextmanager
def docker_engine(root: Path) -> Iterator[DockerService]:
    """A running Docker engine."""
    service = DockerService(root)
    try:
        service.start()
        yield service
    finally:
        service.stop()


def _driver(root: Path) -> str:
    """Stacked layers where the directory allows it: the plain driver copies the whole image for each container."""
    for name in ("lower", "upper", "work", "merged"):
        (root / "try" / name).mkdir(parents=True)
    place = root / "try"
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    tried = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(place / "merged")], capture_output=True, check=False
    )
    if tried.returncode:
        return "vfs"
    subprocess.run(["umount", str(place / "merged")], check=True)
    return "overlay2"


def mounts_below(root: Path) -> list[str]:
    """Mount points that an engine left behind; a temporary directory with one cannot be removed."""
    with open("/proc/self/mounts") as mounts:
        return [fields[1] for line in mounts if (fields := line.split())[1].startswith(f"{root}/")]


def is_missing() -> str | None:
    """Why no Docker engine can be started here."""
    return None if os.path.exists(DOCKERD) and os.geteuid() == 0 else "needs root and Debian's docker.io"
