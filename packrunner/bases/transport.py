"""HTTP for archives: kept connections, proxies, redirects, byte ranges. Files for mirrors on a disk.

Nothing here is trusted: whoever calls compares a digest or a signature. One Transport belongs to one thread.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.parse
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from packrunner import certificates
from packrunner.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.proxies import Proxies

IDLE_SECONDS = 20.0
NO_SUCH_RANGE = 416
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_USER_AGENT = "packrunner"


class Readable(Protocol):
    """A body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class TransferError(Exception):
    """A transfer failed: at which `host`, in which `phase`, why. `retry`: it may go better next time.

    `status` is the HTTP status where there was one, `wait` what the server asked for in seconds, `refused`:
    one side of TLS does not believe the other, and `tries` may help.
    """

    def __init__(
        self,
        host: str,
        phase: str,
        why: str,
        *,
        retry: bool = True,
        status: int = 0,
        wait: float = 0.0,
        refused: bool = False,
        tries: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{host}: {why} while {phase}")
        self.host = host
        self.phase = phase
        self.why = why
        self.retry = retry
        self.status = status
        self.wait = wait
        self.refused = refused
        self.tries = tries


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: it begins at byte `start` of the file; `host` is who sent it, after redirects.

    `size` is that of the whole file, where it was said.
    """

    stream: Readable
    start: int
    host: str
    size: int | None = None


class _Answer:
    """The body of an HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse, host: str) -> None:
        self._response = response
        self._host = host

    def read(self, size: int, /) -> bytes:
        try:
            return self._response.read(size)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: closed by another thread
            raise _failed(self._host, "reading the answer", error) from error


class _Tunnel(http.client.HTTPSConnection):
    """TLS through a proxy. http.client forgets to close the answer of a proxy that refuses."""

    def connect(self) -> None:
        answers: list[http.client.HTTPResponse] = []

        class Remembered(http.client.HTTPResponse):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                answers.append(self)

        self.response_class = Remembered
        try:
            super().connect()
        except BaseException:
            for answer in answers:
                answer.close()
            raise
        finally:
            self.response_class = http.client.HTTPResponse


class Transport:
    """Opens addresses, keeping one connection a host. `context` makes what TLS believes, when first needed."""

    def __init__(
        self, proxies: Proxies, *, idle: float = IDLE_SECONDS, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._proxies = proxies
        self._idle = idle
        self._context = context or ssl.create_default_context
        self._connections: dict[tuple[str, str, int], http.client.HTTPConnection] = {}

    def close(self) -> None:
        """End all connections; safe from another thread, whose read then fails."""
        for connection in list(self._connections.values()):
            with suppress(OSError):
                if connection.sock:
                    connection.sock.shutdown(2)
            connection.close()

    @contextmanager
    def open(self, url: str, *, start: int = 0) -> Iterator[Body]:
        """The file at `url` from byte `start`, or from 0 where the server knows no ranges. Raises TransferError."""
        if url.startswith("file:"):
            with _open_file(url, start) as file:
                yield Body(stream=file, start=start, host="this machine")
            return
        key, response = self._follow(url, start)
        try:
            yield self._body(key, response, start)
        finally:
            if not response.isclosed():  # unread bytes would be taken for the next answer
                self._drop(key)

    def _follow(self, url: str, start: int) -> tuple[tuple[str, str, int], http.client.HTTPResponse]:
        for _ in range(_MAX_REDIRECTS + 1):
            key, target = _split(url)
            response = self._ask(key, target, start)
            if response.status not in _REDIRECTS:
                return key, response
            self._drop(key)
            url = self._redirected(url, response.headers.get("Location", ""))
        host = urllib.parse.urlsplit(url).hostname or ""
        raise TransferError(host, "waiting for an answer", "too many redirects", retry=False)

    def _ask(self, key: tuple[str, str, int], target: str, start: int) -> http.client.HTTPResponse:
        """Send the request; a connection that was kept and has died meanwhile is made anew, once."""
        kept = key in self._connections
        phase = "connecting"
        try:
            connection = self._connection(key)
            if not connection.sock:
                connection.connect()
            phase = "waiting for an answer"
            connection.request("GET", self._target(key, target), headers=self._headers(key, start))
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._drop(key)
            if kept and not isinstance(error, TimeoutError):
                return self._ask(key, target, start)
            raise _failed(key[1], phase, error, self._through(key)) from error

    def _body(self, key: tuple[str, str, int], response: http.client.HTTPResponse, start: int) -> Body:
        status = response.status
        if status == 206:
            span, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            begins = span.partition("-")[0]
            if begins != str(start) or not start:
                why = "another range than asked for came"
                raise TransferError(key[1], "waiting for an answer", why, status=NO_SUCH_RANGE)
            return Body(stream=_Answer(response, key[1]), start=start, host=key[1], size=_number(whole))
        if status == 200:
            length = _number(response.headers.get("Content-Length", ""))
            return Body(stream=_Answer(response, key[1]), start=0, host=key[1], size=length)
        wait = response.headers.get("Retry-After", "")
        retry = status in {408, NO_SUCH_RANGE, 429} or status >= 500
        why = f"status {status} {response.reason[:60]}"
        seconds = min(float(wait), 10.0) if wait.isdigit() else 0.0
        raise TransferError(
            key[1], "waiting for an answer", why + self._through(key), retry=retry, status=status, wait=seconds
        )

    def _connection(self, key: tuple[str, str, int]) -> http.client.HTTPConnection:
        if key not in self._connections:
            self._connections[key] = self._connect(key)
        return self._connections[key]

    def _connect(self, key: tuple[str, str, int]) -> http.client.HTTPConnection:
        scheme, host, port = key
        proxy = self._proxy(key)
        if proxy is None:
            return self._plain_or_tls(scheme, host, port)
        proxy_port = proxy.port or (443 if proxy.scheme == "https" else 80)
        if scheme == "http":
            return self._plain_or_tls(proxy.scheme, proxy.hostname or "", proxy_port)
        tunnel = _Tunnel(proxy.hostname or "", proxy_port, timeout=self._idle, context=self._context())
        tunnel.set_tunnel(host, port, _proxy_login(proxy))
        return tunnel

    def _plain_or_tls(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._idle)
        return http.client.HTTPSConnection(host, port, timeout=self._idle, context=self._context())

    def _proxy(self, key: tuple[str, str, int]) -> urllib.parse.SplitResult | None:
        address = self._proxies.of(*key)
        if not address:
            return None
        proxy = urllib.parse.urlsplit(address)
        if proxy.scheme not in {"http", "https"} or not proxy.hostname:
            raise TransferError(key[1], "connecting", "the proxy configured for it is not an http address", retry=False)
        return proxy

    def _through(self, key: tuple[str, str, int]) -> str:
        """The proxy for messages, without its login (NET-04)."""
        proxy = self._proxy(key)
        return f", through the proxy {proxy.hostname}" if proxy else ""

    def _target(self, key: tuple[str, str, int], target: str) -> str:
        scheme, host, port = key
        whole = scheme == "http" and self._proxy(key) is not None
        return f"{scheme}://{_host_header(host, port, scheme)}{target}" if whole else target

    def _headers(self, key: tuple[str, str, int], start: int) -> dict[str, str]:
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        proxy = self._proxy(key)
        if proxy and key[0] == "http":
            headers |= _proxy_login(proxy)
        return headers

    def _redirected(self, url: str, location: str) -> str:
        target = urllib.parse.urljoin(url, location)
        host = urllib.parse.urlsplit(url).hostname or ""
        allowed = ("https://",) if url.startswith("https:") else ("http://", "https://")
        if not location or not target.startswith(allowed):
            raise TransferError(host, "waiting for an answer", "a redirect that is not followed", retry=False)
        return target

    def _drop(self, key: tuple[str, str, int]) -> None:
        connection = self._connections.pop(key, None)
        if connection:
            connection.close()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _split(url: str) -> tuple[tuple[str, str, int], str]:
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise TransferError(parts.netloc, "connecting", "the port is not a number", retry=False) from error
    target = urllib.parse.quote(parts.path or "/", safe="/%:+~!$&'()*,;=@") + (f"?{parts.query}" if parts.query else "")
    return (parts.scheme, parts.hostname or "", port), target


def _host_header(host: str, port: int, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port == {"http": 80, "https": 443}[scheme] else f"{shown}:{port}"


def _proxy_login(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


@contextmanager
def _open_file(url: str, start: int) -> Iterator[BinaryIO]:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; opening alone is guarded
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise TransferError(path, "opening it", _reason(error), retry=False, status=404 if missing else 0) from error
    with file:
        file.seek(start)
        yield file


def _failed(host: str, phase: str, error: Exception, through: str = "") -> TransferError:
    if isinstance(error, ssl.SSLError):
        found = certificates.explain(error, host)
        why = found.why + through
        return TransferError(host, phase, why, retry=not found.lasting, refused=found.lasting, tries=found.tries)
    return TransferError(host, phase, _reason(error) + through)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {IDLE_SECONDS:.0f} s"
    return in_words(error)
