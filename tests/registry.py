"""A registry in this process: the distribution API over memory, scripted to fail, with a record of all it was asked.

registry.script("PATCH", "uploads", Reply(503), Cut(1000))   the first gets 503, the second is cut, the third works
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import itertools
import json
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from packrunner.images.image import Image, Layer
from packrunner.images.manifest import LAYER_GZIP, MANIFEST
from packrunner.images.registry.settings import RegistrySettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

CHUNK = 1 << 16


@dataclass
class Reply:
    """An answer. `length` announces another length than the body has; it is cut after `cut` bytes, reset if need be."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    cut: int | None = None
    reset: bool = False
    stall: float = 0.0
    read: bool = True
    """Whether the request's body is read first."""


@dataclass
class Cut:
    """The registry's own answer, cut after so many bytes."""

    after: int
    reset: bool = False


@dataclass
class Take:
    """Take so many bytes of the request's body, keep them where they belong, then hang up."""

    bytes: int


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    size: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class _Step:
    method: str
    pattern: str
    does: Reply | Cut | Take | Callable[[_Handler], None] | None


class ScriptedRegistry:
    """The registry; `host` is how references name it."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.sessions = itertools.count()
        self.seen: list[Seen] = []
        self.auth = ""  # "", basic or bearer
        self.login = "ana:pass word"
        self.realm = ""
        self.tokens: list[str] = []
        self.token_reply: dict[str, Any] = {"expires_in": 300}
        self.least_part = 0
        self.own_query = False
        self.compress_bodies = False
        self._steps: list[_Step] = []
        self._lock = threading.Lock()
        self._server = _Server(self, tls)
        self.scheme = "https" if tls else "http"
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{self.scheme}://{self.host}"

    def script(self, method: str, pattern: str, *does: Reply | Cut | Take | Callable[[_Handler], None] | None) -> None:
        """What the next matching requests get; None is the registry's own answer."""
        with self._lock:
            self._steps += [_Step(method, pattern, one) for one in does]

    def unscript(self) -> None:
        """Forget what was to come."""
        self._steps.clear()

    def next_step(self, method: str, path: str) -> Reply | Cut | Take | Callable[[_Handler], None] | None:
        with self._lock:
            for step in self._steps:
                if step.method == method and re.search(step.pattern, path):
                    self._steps.remove(step)
                    return step.does
        return None

    def asked(self, method: str = "", pattern: str = "") -> list[Seen]:
        """The requests that came, pings and tokens left out unless they are asked for."""
        return [one for one in self.seen if one.method.startswith(method) and re.search(pattern, one.path)]

    @property
    def blob_bytes(self) -> int:
        """Bytes of blobs that were sent to the registry."""
        return sum(one.size for one in self.seen if "/blobs/" in one.path)

    def add_image(self, repository: str, tag: str, *layers: bytes, **changes: Any) -> Image:
        """An image with these uncompressed layers, gzipped there."""
        made = [self.add_layer(repository, data) for data in layers]
        image = Image(**changes).with_layers(*made)
        self.blobs[repository, image.config.digest] = image.config_bytes()
        self.manifests[repository, tag] = self.manifests[repository, image.digest] = MANIFEST, image.manifest_bytes()
        return image

    def add_layer(
        self, repository: str, data: bytes, stored: bytes | None = None, media_type: str = LAYER_GZIP
    ) -> Layer:
        """A layer, gzipped unless `stored` says how it is kept."""
        kept = gzip.compress(data, mtime=0) if stored is None else stored
        self.blobs[repository, sha256(kept)] = kept
        return layer_of(data, kept, media_type)

    def serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(data: bytes, kept: bytes, media_type: str) -> Layer:
    from packrunner.images.image import Descriptor
    from packrunner.names import Digest

    blob = Descriptor(digest=Digest(sha256(kept)), size=len(kept), media_type=media_type)
    return Layer(diff_id=Digest(sha256(data)), blob=blob)


@contextmanager
def registry(*, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedRegistry]:
    """A running one."""
    made = ScriptedRegistry(tls=tls)
    made.serve()
    try:
        yield made
    finally:
        made.stop()


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def settings(time: Time | None = None, **changes: Any) -> RegistrySettings:
    """Settings for tests: no real waits, short time limits."""
    chosen = time or Time()
    return RegistrySettings(**{"sleep": chosen.sleep, "clock": chosen.clock, "idle": 5.0, **changes})


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, owner: ScriptedRegistry, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        self.tls = tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if not self.tls:
            super().finish_request(request, client_address)
            return
        request.settimeout(5)
        with self.tls.wrap_socket(request, server_side=True) as secured:
            secured.settimeout(None)
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        del format, args

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def owner(self) -> ScriptedRegistry:
        return self.server.owner

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - names of the base class

    def _serve(self) -> None:
        self.left = int(self.headers.get("Content-Length") or 0)
        self.record = Seen(self.command, self.path, dict(self.headers.items()))
        self.owner.seen.append(self.record)
        step = self.owner.next_step(self.command, self.path)
        match step:
            case Reply():
                if step.read:
                    self.body()
                self.send(step)
            case Cut():
                self.send(self._cut(self.own(), step))
            case Take():
                self._take(step.bytes)
            case None:
                self.send(self.own())
            case _:
                step(self)

    def _cut(self, reply: Reply, step: Cut) -> Reply:
        reply.cut, reply.reset = step.after, step.reset
        return reply

    def body(self, most: int | None = None) -> bytes:
        """The request's body."""
        data = bytearray()
        wanted = self.left if most is None else min(most, self.left)
        while len(data) < wanted and (piece := self.rfile.read(min(CHUNK, wanted - len(data)))):
            data += piece
        self.left -= len(data)
        self.record.size += len(data)
        return bytes(data)

    def send(self, reply: Reply) -> None:
        if reply.stall:
            time.sleep(reply.stall)
        body = reply.body
        headers = dict(reply.headers)
        if self.owner.compress_bodies and self.command == "GET" and body and reply.status == 200:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        self.send_response(reply.status)
        length = len(body) if reply.length is None else reply.length
        if "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = body if reply.cut is None else body[: reply.cut]
        with suppress(OSError):
            self.wfile.write(whole)
            self.wfile.flush()
        if reply.cut is not None or length > len(body):
            self.hang_up(reset=reply.reset)

    def hang_up(self, *, reset: bool = False) -> None:
        """End the connection, with a reset if need be."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            if not reset:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def _take(self, count: int) -> None:
        data = self.body(count)
        if match := re.search(r"/blobs/uploads/([^/?]+)", self.path):
            self.owner.uploads.get(match[1], bytearray()).extend(data)
        self.hang_up(reset=True)

    def own(self) -> Reply:
        """What a registry that works would answer."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/token":
            return self._token(query)
        refused = self._refused()
        if refused:
            self.body()
            return refused
        if parts.path == "/v2/":
            return Reply(body=b"{}", headers={"Content-Type": "application/json"})
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs/uploads|blobs)/(.*)", parts.path)
        if match is None:
            return Reply(404)
        kind = {"manifests": self._manifest, "blobs": self._blob, "blobs/uploads": self._upload}[match[2]]
        return kind(match[1], match[3], query)

    def _refused(self) -> Reply | None:
        given = self.headers.get("Authorization", "")
        realm = self.owner.realm or f"{self.owner.url}/token"
        if self.owner.auth == "basic":
            wanted = "Basic " + base64.b64encode(self.owner.login.encode()).decode()
            challenge = 'Basic realm="here"'
            return None if given == wanted else error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        if self.owner.auth == "bearer" and given.removeprefix("Bearer ") not in self.owner.tokens:
            challenge = f'Bearer realm="{realm}",service="here",scope="repository:x:pull"'
            return error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return None

    def _token(self, query: dict[str, list[str]]) -> Reply:
        self.body()
        token = f"token-{len(self.owner.tokens)}-{'+'.join(query.get('scope', []))}"
        self.owner.tokens.append(token)
        return as_json({"token": token, **self.owner.token_reply})

    def _manifest(self, repository: str, reference: str, query: dict[str, list[str]]) -> Reply:
        del query
        if self.command == "PUT":
            data, kind = self.body(), self.headers.get("Content-Type", "")
            for name in (reference, sha256(data)):
                self.owner.manifests[repository, name] = kind, data
            return Reply(201)
        found = self.owner.manifests.get((repository, reference))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN")
        return Reply(body=found[1], headers={"Content-Type": found[0], "Docker-Content-Digest": sha256(found[1])})

    def _blob(self, repository: str, digest: str, query: dict[str, list[str]]) -> Reply:
        del query
        found = self.owner.blobs.get((repository, digest))
        if found is None:
            return error(404, "BLOB_UNKNOWN")
        kind = {"Content-Type": "application/octet-stream"}
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            part = {"Content-Range": f"bytes {start}-{len(found) - 1}/{len(found)}"}
            return Reply(206, found[start:], {**kind, **part})
        return Reply(body=found, headers=kind)

    def _upload(self, repository: str, session: str, query: dict[str, list[str]]) -> Reply:
        if not session:
            self.body()
            digest, source = query.get("mount", [""])[0], query.get("from", [""])[0]
            if (source, digest) in self.owner.blobs:
                self.owner.blobs[repository, digest] = self.owner.blobs[source, digest]
                return Reply(201)
            session = f"session-{next(self.owner.sessions)}"
            self.owner.uploads[session] = bytearray()
            least = {"OCI-Chunk-Min-Length": str(self.owner.least_part)} if self.owner.least_part else {}
            return Reply(202, headers={**self._session(repository, session), **least})
        held = self.owner.uploads.get(session)
        if held is None:
            self.body()
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "DELETE":
            del self.owner.uploads[session]
            return Reply(204)
        if self.command == "GET":
            return Reply(204, headers=self._session(repository, session))
        start = re.match(r"(\d+)-", self.headers.get("Content-Range", ""))
        if start and int(start[1]) != len(held):
            self.body()
            return Reply(416, headers=self._session(repository, session))
        held.extend(self.body())
        if self.command == "PATCH":
            return Reply(202, headers=self._session(repository, session))
        digest = query["digest"][0]
        if sha256(bytes(held)) != digest:
            return error(400, "DIGEST_INVALID")
        self.owner.blobs[repository, digest] = bytes(held)
        del self.owner.uploads[session]
        return Reply(201)

    def _session(self, repository: str, session: str) -> dict[str, str]:
        own = "?_state=abc%3D" if self.owner.own_query else ""
        end = max(0, len(self.owner.uploads[session]) - 1)
        return {"Location": f"/v2/{repository}/blobs/uploads/{session}{own}", "Range": f"0-{end}"}


def as_json(value: Any) -> Reply:
    return Reply(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": f"{code} it is"}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})
