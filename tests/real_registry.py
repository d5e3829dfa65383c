"""Debian's docker-registry, started by hand and ended by its process id; its log says what it was asked."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "ana", "secret"
_HASHED = "$2b$04$OI6tg/nWFNstdPoeS.asuez/uoP1nL9rIaT47v38idrFNyt.FwJHW"
_LINE = re.compile(rb'"([A-Z]+) (/v2/[^ ]*) HTTP/1\.1" (\d+)')


class Asked(NamedTuple):
    """A request and how it was answered."""

    method: str
    path: str
    status: int


class RealRegistry:
    """A registry at `host`, in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{found.getsockname()[1]}"
        self._seen = 0

    def asked(self) -> list[Asked]:
        """The requests since this was called last."""
        # The registry logs after it answered.
        time.sleep(0.1)
        data = (self.root / "log").read_bytes()
        new, self._seen = data[self._seen :], len(data)
        return [Asked(m[1].decode(), m[2].decode(), int(m[3])) for m in _LINE.finditer(new)]

    def manifest(self, name: str, tag: str = "latest") -> tuple[str, dict[str, Any]]:
        """The digest and the content of a manifest."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{name}/manifests/{tag}",
            headers={
                "Accept": "application/vnd.oci.image.manifest.v1+json",
                "Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
            },
        )
        with _open(request) as answer:
            return str(answer.headers["Docker-Content-Digest"]), json.load(answer)

    def delete(self, name: str, digest: str) -> None:
        """Forget a manifest."""
        with _open(urllib.request.Request(f"http://{self.host}/v2/{name}/manifests/{digest}", method="DELETE")):
            pass


def _open(request: urllib.request.Request | str) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def blobs_sent(asked: list[Asked]) -> list[Asked]:
    """Requests that carried, or ended, a blob."""
    return [one for one in asked if one.method in {"PATCH", "PUT"} and "/blobs/" in one.path]


@contextmanager
def real_registry(root: Path, *, password: bool = False, read_only: bool = False) -> Iterator[RealRegistry]:
    """A registry for a while; `root` may be that of another one, whose images are there then."""
    registry = RealRegistry(root)
    settings: dict[str, Any] = {
        "version": "0.1",
        "storage": {
            "filesystem": {"rootdirectory": str(root / "data")},
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": read_only}},
        },
        "http": {"addr": registry.host},
    }
    if password:
        (root / "htpasswd").write_text(f"{USER}:{_HASHED}\n")
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(root / "htpasswd")}}
    # JSON is YAML.
    (root / "config.yml").write_text(json.dumps(settings))
    with (root / "log").open("wb") as log:
        child = subprocess.Popen(
            ["docker-registry", "serve", str(root / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _await(registry, child)
        yield registry
    finally:
        child.kill()
        child.wait()


def _await(registry: RealRegistry, child: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert child.poll() is None, (registry.root / "log").read_text(errors="replace")[-2000:]
        try:
            with _open(f"http://{registry.host}/v2/"):
                break
        except urllib.error.HTTPError:
            break  # it wants a password
        except OSError:
            time.sleep(0.05)
    registry.asked()
