"""A company's proxy: it ends every TLS connection and shows certificates of its own authority, as those that look into
connections do. It can demand a login, refuse, and hang, and remembers everything that it saw.

Behind it is a world of made-up hosts, so nothing leaves this machine.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from tests.tls import Authority

World = dict[str, dict[str, bytes]]
"""Hosts, and their files by path."""


@dataclass
class Seen:
    """One request: through which tunnel ("" for none), what was asked for, with which headers."""

    tunnel: str
    method: str
    target: str
    headers: Mapping[str, str]


@dataclass
class Proxy:
    """What the proxy does; tests may change it while it runs."""

    world: World
    authority: Authority
    login: str = ""
    """`user:password` that it demands."""
    status: int = 200
    """What it answers to CONNECT."""
    hangs: bool = False
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, login: str = "") -> str:
        """Its address for the proxy variables, with a login as it is written in them."""
        return f"http://{login}{'@' if login else ''}127.0.0.1:{self.port}"

    def environ(self, login: str = "") -> dict[str, str]:
        """The variables that lead to it."""
        return {"http_proxy": self.url(login), "https_proxy": self.url(login), "no_proxy": ""}

    def inside(self) -> list[str]:
        """What was asked for within tunnels, as `host/path`."""
        return [seen.tunnel + seen.target for seen in self.seen if seen.tunnel and seen.method != "CONNECT"]

    def context(self, host: str) -> ssl.SSLContext:
        """For a connection that is meant for `host`."""
        with self.lock:
            if host not in self.contexts:
                self.contexts[host] = self.authority.issue(host).server_context()
            return self.contexts[host]


@contextmanager
def running(authority: Authority, world: World | None = None) -> Iterator[Proxy]:
    """A proxy on a port of this machine."""
    proxy = Proxy(world if world is not None else {}, authority)

    class Handler(_Handler):
        pass

    Handler.proxy = proxy

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that do not believe it hang up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    tunnel = ""

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.tunnel = self.path.rpartition(":")[0].strip("[]")
        self.rfile.close()
        self.wfile.close()
        self.connection = self.proxy.context(self.tunnel).wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def do_GET(self) -> None:
        self._serve(body=True)

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def _serve(self, *, body: bool) -> None:
        if self.tunnel:
            self._remember()
        elif not self._admitted():
            return
        asked = urllib.parse.urlsplit(self.path)
        files = self.proxy.world.get(self.tunnel or asked.hostname or "", {})
        content = files.get(urllib.parse.unquote(asked.path))
        self._answer(404 if content is None else 200, content or b"", body=body)

    def _admitted(self) -> bool:
        self._remember()
        proxy = self.proxy
        if proxy.hangs:
            proxy.ended.wait(60)
            self.close_connection = True
            return False
        wanted = f"Basic {base64.b64encode(proxy.login.encode()).decode()}"
        if proxy.login and self.headers.get("Proxy-Authorization") != wanted:
            self._answer(407, b"who are you?", {"Proxy-Authenticate": 'Basic realm="company"'})
            return False
        if proxy.status != 200:
            self._answer(proxy.status, b"not now")
            return False
        return True

    def _remember(self) -> None:
        seen = Seen(self.tunnel, self.command, self.path, dict(self.headers))
        with self.proxy.lock:
            self.proxy.seen.append(seen)

    def _answer(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", _kind(content))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        return


def _kind(content: bytes) -> str:
    """Package indexes are pages, manifests say themselves what they are."""
    if content.startswith(b"{"):
        return str(json.loads(content).get("mediaType", "application/json"))
    return "text/html" if content.startswith(b"<") else "application/octet-stream"
