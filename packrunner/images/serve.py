"""One image of the store as a registry that only reads, on loopback and only for a moment.

A Docker engine that pulls from it asks for the layers that it lacks, and for no others; an archive would bring all of
them. The repository has a name that nobody can guess, because other users of this machine can connect too.
"""

from __future__ import annotations

import http.server
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.images.manifest import JSON_LIMIT
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore

_log = logging.getLogger(__name__)
_API = ("Docker-Distribution-Api-Version", "registry/2.0")
_IDLE = 60.0


class Served(msgspec.Struct, kw_only=True):
    """Where the image is served, `127.0.0.1:port/name`, and the blobs that were asked for with their content."""

    repository: str
    blobs: list[str] = msgspec.field(default_factory=list)


@contextmanager
def served(image: Image, store: LocalStore) -> Iterator[Served]:
    """Serve an image whose blobs are in the store, by its digest, until the end of the context."""
    name = f"packrunner-{os.urandom(8).hex()}"
    content = _Content(name, image, store)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(content, *args)) as server:
        found = Served(repository=f"127.0.0.1:{server.server_address[1]}/{name}", blobs=content.asked)
        thread = Worker(lambda: server.serve_forever(0.05), "image-server")
        try:
            thread.start()
            yield found
        finally:
            # Where it was never started nobody would answer `shutdown`.
            if not thread.ended:
                server.shutdown()
            thread.wait()


class _Content:
    """What there is: paths and what they stand for."""

    def __init__(self, name: str, image: Image, store: LocalStore) -> None:
        base = f"/v2/{name}"
        self.asked: list[str] = []
        self.small = {
            "/v2/": ("application/json", b"{}"),
            f"{base}/manifests/{image.digest}": (image.manifest.media_type, image.manifest_bytes()),
            f"{base}/blobs/{image.config.digest}": (image.config.media_type, image.config_bytes()),
        }
        self.large = {f"{base}/blobs/{layer.blob.digest}": store.blob_path(layer.blob.digest) for layer in image.layers}
        assert all(len(data) <= JSON_LIMIT for _, data in self.small.values())


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD for what there is, and 404 for all else."""

    protocol_version = "HTTP/1.1"
    server_version = "packrunner"
    sys_version = ""
    timeout = _IDLE

    def __init__(self, content: _Content, *args: object) -> None:
        self._content = content
        super().__init__(*args)  # type: ignore[arg-type]  # the three that the server gives

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        _log.debug(format, *args)

    def _answer(self, *, body: bool) -> None:
        kind, data = self._content.small.get(self.path, ("", b""))
        path = self._content.large.get(self.path)
        if kind:
            self._head(kind, len(data))
            if body:
                self.wfile.write(data)
        elif path:
            with open(path, "rb") as file:
                self._head("application/octet-stream", os.fstat(file.fileno()).st_size)
                if body:
                    self._content.asked.append(self.path.rpartition("/")[2])
                    self.connection.sendfile(file)
        else:
            self._head("application/json", 0, status=404)

    def _head(self, kind: str, size: int, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header(*_API)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        digest = self.path.rpartition("/")[2]
        if digest.startswith("sha256:") and status == 200:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
