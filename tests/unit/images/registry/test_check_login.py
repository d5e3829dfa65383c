"""A login is tried before it is kept."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import RefusedError
from packrunner.images.registry.credentials import Login
from packrunner.images.registry.registry import Registry
from packrunner.images.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT = "Basic " + base64.b64encode(b"ana:hunter2hunter2").decode()


class One:
    """One login for every registry."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def of(self, registry: str, repository: str) -> Login:
        return Login(kind="basic", user="ana", secret=self.secret, source="what was typed")


@contextmanager
def registry(scheme: str) -> Iterator[tuple[str, list[str]]]:
    """A registry on loopback that knows one user; its name, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            said = self.headers.get("Authorization", "")
            if self.path.startswith("/token"):
                self.answer(200 if said == RIGHT else 401, {"token": "of ana"})
            elif scheme == "none" or said == (RIGHT if scheme == "basic" else "Bearer of ana"):
                self.answer(200, {})
            else:
                realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="r"'
                self.answer(401, {}, 'Basic realm="r"' if scheme == "basic" else realm)

        def answer(self, status: int, body: dict[str, str], challenge: str = "") -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if challenge:
                self.send_header("WWW-Authenticate", challenge)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check(name: str, secret: str) -> None:
    with Registry(RegistrySettings(sleep=lambda seconds: None), One(secret)) as client:
        client.check_login(name)


@pytest.mark.parametrize("scheme", ["basic", "bearer", "none"])
def test_a_right_login(scheme: str) -> None:
    with registry(scheme) as (name, asked):
        check(name, "hunter2hunter2")
        assert not [path for path in asked if "scope=" in path], "no repository is asked for"


@pytest.mark.cnb("RES-07")
@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_wrong_login_is_refused_and_not_shown(scheme: str) -> None:
    with registry(scheme) as (name, _), pytest.raises(RefusedError) as caught:
        check(name, "wrongwrong")
    error = caught.value
    assert (error.slug, error.transient) == ("registry-auth", False)
    assert "what was typed" in str(error.cause)
    assert "wrongwrong" not in f"{error.brief}{error.cause}{error.tries}"
