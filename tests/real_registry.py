"""Debian's docker-registry with a log that says what it was asked, and how it is when it takes nothing."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.services import LOGIN, RegistryService, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = LOGIN
_LINE = re.compile(rb'"([A-Z]+) (/v2/[^ ]*) HTTP/1\.1" (\d+)')


class Asked(NamedTuple):
    """A request and how it was answered."""

    method: str
    path: str
    status: int


class RealRegistry(RegistryService):
    """A registry at `host`, in `root`; with `read_only` it takes nothing."""

    def __init__(self, root: Path, *, closed: bool = False, read_only: bool = False) -> None:
        super().__init__(root, closed=closed)
        self._read_only = read_only
        self._seen = 0
        self._marks = itertools.count()

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        config["log"]["accesslog"]["disabled"] = False
        config["storage"]["maintenance"] = {"readonly": {"enabled": self._read_only}}
        return config

    def asked(self) -> list[Asked]:
        """The requests since this was called last."""
        # The registry logs after it answered: once it has logged one of ours, it has logged those before.
        ours = f"/v2/asked-{next(self._marks)}/tags/list"
        with contextlib.suppress(urllib.error.HTTPError):
            _open(urllib.request.Request(f"http://{self.host}{ours}")).close()
        for _ in range(500):
            data = (self.root / "registry.log").read_bytes()
            found = [Asked(m[1].decode(), m[2].decode(), int(m[3])) for m in _LINE.finditer(data, self._seen)]
            if any(one.path == ours for one in found):
                self._seen = len(data)
                return [one for one in found if one.path != ours]
            time.sleep(0.02)
        raise ServiceError("docker-registry does not log what it is asked")

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


def _open(request: urllib.request.Request) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def blobs_sent(asked: list[Asked]) -> list[Asked]:
    """Requests that carried, or ended, a blob."""
    return [one for one in asked if one.method in {"PATCH", "PUT"} and "/blobs/" in one.path]


@contextmanager
def real_registry(root: Path, *, closed: bool = False, read_only: bool = False) -> Iterator[RealRegistry]:
    """A registry for a while."""
    registry = RealRegistry(root, closed=closed, read_only=read_only)
    with registry.running():
        yield registry
