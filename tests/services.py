"""Services that tests start by hand, and end by their process ids."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKERD = "/usr/sbin/dockerd"
# Whoever ends a run of several workers ends these first, and nobody is left to stop what they started.
WITH_US = ("setpriv", "--pdeathsig", "TERM")
LOGIN = ("tester", "hunter2hunter2")
"""What registries want to hear that want a login."""
# Of LOGIN's password; the registry reads bcrypt only, which Python has not.
_HASHED = "$2b$05$0.0PGspz8NQMZSQBrqZRpOgVmNw4wCBGwcxzEv2FjcFg/TH9IBpIq"


def free_port() -> int:
    """A port of this machine that nobody has.

    It is not one of those that the system hands out: until our own server has it, that would be given to whatever
    else starts at this moment, another worker's tests for example.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("", port))
            return port


def open_to_others(place: Path) -> None:
    """Let other users reach a temporary directory, which pytest keeps for us, or for a worker of ours."""
    for directory in (place, *place.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o711)


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
                    *WITH_US, DOCKERD, "--host", self.host, "--group", "nogroup",
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
        # Its helper goes with it; a note of one that nobody has reaped yet would stop the next engine from starting.
        note = self.root / "exec" / "containerd" / "containerd.pid"
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int(note.read_text()), signal.SIGKILL)
        note.unlink(missing_ok=True)

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


class RegistryService:
    """Debian's docker-registry, which keeps images below `root` and answers at `host` (HOST:PORT).

    With `closed` it wants LOGIN; with `tls` (certificate, key: paths) it speaks TLS.
    """

    def __init__(self, root: Path, *, closed: bool = False, tls: tuple[str, str] | None = None) -> None:
        self.root = root
        self.host = f"127.0.0.1:{free_port()}"
        self._closed = closed
        self._tls = tls

    @contextmanager
    def running(self) -> Iterator[RegistryService]:
        """It runs inside of the context."""
        config = self.root / "config.json"
        config.write_text(json.dumps(self._config()))
        with (self.root / "registry.log").open("wb") as log:
            command = [*WITH_US, "docker-registry", "serve", str(config)]
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._await(child)
            yield self
        finally:
            child.terminate()
            child.wait()

    def _config(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.host, "secret": "of-tests"}
        if self._tls:
            http["tls"] = {"certificate": self._tls[0], "key": self._tls[1]}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.root / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        if self._closed:
            (self.root / "htpasswd").write_text(f"{LOGIN[0]}:{_HASHED}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.root / "htpasswd")}}
        return config

    def _await(self, child: subprocess.Popen[bytes]) -> None:
        address = self.host.rpartition(":")
        for _ in range(200):
            if child.poll() is not None:
                raise ServiceError((self.root / "registry.log").read_text()[-2000:])
            with contextlib.suppress(OSError), socket.create_connection((address[0], int(address[2])), 1):
                return
            time.sleep(0.05)
        raise ServiceError("docker-registry does not answer")


@functools.cache
def missing_sandbox() -> str | None:
    """Why no sandbox can be made here."""
    from packrunner.engines.probe import try_namespaces
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.errors import EngineError

    try:
        refusal = try_namespaces(SandboxEngine("", environ={}).bwrap)
    except EngineError as error:
        return error.brief
    return f"{refusal.cause}: {' '.join(refusal.foreign)}" if refusal else None


@functools.cache
def missing_network() -> str | None:
    """Why nothing can be installed here: package indexes count as reachable when pip can fetch a small package."""
    with tempfile.TemporaryDirectory() as scratch:
        trial = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, "six"],
            capture_output=True,
            check=False,
        )
    return None if trial.returncode == 0 else "pip cannot reach a package index"


def missing_docker() -> str | None:
    """Why no Docker engine can be started here."""
    return None if os.path.exists(DOCKERD) and os.geteuid() == 0 else "needs root and Debian's docker.io"
