"""The proxy of `dev` between a browser and an application, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from wsproto import ConnectionType, WSConnection, events

from packrunner.dev.proxy import HOST, Proxy
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = b"/__packrunner/reload.js"


class _App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        del format, args

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            self.wfile.write(b"got " + self.rfile.read(4))
            self.close_connection = True
        elif self.path == "/data":
            self._send(b"<head>", "application/json")
        elif self.path == "/zipped":
            self._send(b"<head>", "text/html", encoding="gzip")
        elif self.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\none\r\n")
            self.wfile.flush()
            self.server.released.wait(10)  # type: ignore[attr-defined] # set by the fixture
            self.wfile.write(b"3\r\ntwo\r\n0\r\n\r\n")
        else:
            self._send(b"<html><head></head>" + str(self.headers.get("Accept-Encoding")).encode(), "text/html")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(b"%d of %s" % (len(body), self.headers["Host"].encode()), "text/plain")

    def _send(self, body: bytes, kind: str, *, encoding: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def application(port: int = 0) -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer((HOST, port), _App)
    server.daemon_threads = True
    server.released = threading.Event()  # type: ignore[attr-defined] # read by the handler
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()  # type: ignore[attr-defined] # read by the handler
        server.shutdown()
        server.server_close()
        thread.join()


def asked(
    proxy: Proxy, path: str = "/", method: str = "GET", body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(HOST, proxy.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        return response, response.read()


class Browser:
    """A page's WebSocket."""

    def __init__(self, proxy: Proxy) -> None:
        self._wire = socket.create_connection((HOST, proxy.port), timeout=10)
        self._socket = WSConnection(ConnectionType.CLIENT)
        self._wire.sendall(self._socket.send(events.Request(host="localhost", target="/__packrunner/socket")))
        assert isinstance(self._next(), events.AcceptConnection)

    def heard(self) -> str:
        message = self._next()
        assert isinstance(message, events.TextMessage)
        return message.data

    def _next(self) -> events.Event:
        while True:
            for event in self._socket.events():
                return event
            self._socket.receive_data(self._wire.recv(1 << 16) or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()


def test_pages_get_the_script_and_nothing_else_changes() -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        response, body = asked(proxy)
        assert body == b'<html><head><script src="/__packrunner/reload.js"></script></head>identity'
        assert response.status == 200
        assert asked(proxy, "/data")[1] == b"<head>"
        assert asked(proxy, "/zipped")[1] == b"<head>", "what is compressed cannot be changed"
        script, text = asked(proxy, "/__packrunner/reload.js")
        assert script.headers["Content-Type"].startswith("text/javascript")
        assert b"WebSocket" in text
        assert asked(proxy, "/__packrunner/other")[0].status == 404


def test_bodies_and_the_hosts_name_pass_through() -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        assert asked(proxy, "/", "POST", b"x" * 3_000_000)[1] == b"3000000 of 127.0.0.1:%d" % proxy.port


def test_one_connection_serves_many_requests() -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        connection = http.client.HTTPConnection(HOST, proxy.port, timeout=10)
        with contextlib.closing(connection):
            for _ in range(3):
                connection.request("GET", "/data")
                wire = connection.sock
                assert connection.getresponse().read() == b"<head>"
                assert connection.sock is wire


def test_a_stream_arrives_while_it_goes_on() -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        connection = http.client.HTTPConnection(HOST, proxy.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/stream")
            response = connection.getresponse()
            assert response.read1(100) == b"one", "the second part is not sent before the first was read"
            app.released.set()  # type: ignore[attr-defined] # set by the fixture
            assert response.read() == b"two"


def test_another_protocol_becomes_a_tunnel() -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        with socket.create_connection((HOST, proxy.port), timeout=10) as wire:
            wire.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nping")
            data = b""
            while piece := wire.recv(1 << 16):
                data += piece
        assert data.startswith(b"HTTP/1.1 101")
        assert data.endswith(b"got ping")


def test_every_browser_hears_of_a_change() -> None:
    with application() as app, Proxy(app.server_port) as proxy, Browser(proxy) as one, Browser(proxy) as other:
        proxy.refresh()
        proxy.refresh("styles")
        assert [one.heard(), one.heard()] == [other.heard(), other.heard()] == ["page", "styles"]


def test_a_request_waits_while_the_application_starts_again() -> None:
    with application() as app:
        port = app.server_port
    answers: list[bytes] = []
    with Proxy(port) as proxy:
        waiting = threading.Thread(target=lambda: answers.append(asked(proxy, "/data")[1]))
        waiting.start()
        time.sleep(0.1)
        assert not answers
        with application(port):
            waiting.join()
    assert answers == [b"<head>"]


def test_a_request_is_made_again_when_the_application_ended_over_it() -> None:
    with socket.create_server((HOST, 0)) as dying, Proxy(dying.getsockname()[1]) as proxy:
        answers: list[bytes] = []
        waiting = threading.Thread(target=lambda: answers.append(asked(proxy, "/data")[1]))
        waiting.start()
        connection, _ = dying.accept()
        connection.recv(1 << 16)
        with application() as app:
            proxy.point(app.server_port)
            connection.close()
            waiting.join()
    assert answers == [b"<head>"]


def test_a_crash_is_shown_until_the_application_is_back() -> None:
    with application() as app, Proxy(app.server_port) as proxy, Browser(proxy) as browser:
        proxy.failed("web ended with exit code 1", "NameError: name 'totl' is not defined")
        assert browser.heard() == "page"
        response, body = asked(proxy)
        assert response.status == 502
        assert b"NameError: name &#x27;totl&#x27;" in body
        assert TAG in body
        proxy.refresh()
        assert browser.heard() == "page"
        assert asked(proxy)[0].status == 200


def test_where_nothing_listens_that_is_said() -> None:
    with application() as app:
        port = app.server_port
    with Proxy(port, patience=0.1) as proxy:
        response, body = asked(proxy, "/", "POST", b"data")
    assert response.status == 502
    assert b"port %d" % port in body


def test_a_port_that_is_taken_is_named() -> None:
    with (
        socket.create_server((HOST, 0)) as taken,
        pytest.raises(EngineError) as error,
        Proxy(1, port=taken.getsockname()[1]),
    ):
        pass
    assert error.value.slug == "port-taken"


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b""])
def test_noise_ends_its_own_connection_only(noise: bytes) -> None:
    with application() as app, Proxy(app.server_port) as proxy:
        with socket.create_connection((HOST, proxy.port), timeout=10) as wire:
            wire.sendall(noise)
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(1 << 16):
                pass
        assert asked(proxy, "/data")[1] == b"<head>"
