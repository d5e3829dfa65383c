"""Requests to registries, one at a time, over connections of httpx: proxies, certificates, redirects, time limits.

httpx's client is not used, only its transports: no cookie is kept, no redirect followed and no body decoded unseen.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from packrunner import certificates
from packrunner.errors import chain, in_words
from packrunner.images.registry.encoding import decoded
from packrunner.images.registry.failures import Failure, printable
from packrunner.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Self

    import httpx

    from packrunner.images.registry.failures import Kind
    from packrunner.images.registry.settings import RegistrySettings

_USER_AGENT = "packrunner"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_SECRET = ("authorization", "cookie", "proxy-authorization")
_PORTS = {"http": 80, "https": 443}
SMALL = 1 << 16
"""Bytes of an answer that is only looked at for what it says."""


class Body(Protocol):
    """What is sent: bytes that can be read again from their start."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    def pieces(self) -> Iterable[bytes]:
        """All of it."""


class Data(msgspec.Struct, frozen=True):
    """A body in memory."""

    data: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.data)

    def pieces(self) -> Iterable[bytes]:
        """All of it."""
        return [self.data] if self.data else []


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `wary`: the address comes from a registry, so nothing of this machine and its network is reached."""

    method: str
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: Body = Data()
    follow: bool = True
    wary: bool = False


class Answer:
    """What came back; a context manager, which frees the connection."""

    def __init__(self, response: httpx.Response, ask: Ask, idle: float) -> None:
        self._response = response
        self.method, self.url = ask.method, ask.url
        self._idle = idle
        self.host = urlsplit(ask.url).netloc.rpartition("@")[2]
        self.status = response.status_code
        self.headers = response.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # the connection is not used again then
            self._response.close()

    def header(self, name: str) -> str:
        """A header's value, "" without one."""
        return str(self.headers.get(name, ""))

    def pieces(self) -> Iterator[bytes]:
        """The body, as it was before what Content-Encoding says was done to it (REG-30). Raises Failure."""
        return decoded(self._received(), self.header("content-encoding"), self.host)

    def small(self, limit: int = SMALL) -> bytes:
        """At most `limit` and a few bytes of the body."""
        data = bytearray()
        for piece in self.pieces():
            data += piece
            if len(data) > limit:
                break
        return bytes(data[: limit + 1])

    def _received(self) -> Iterator[bytes]:
        from packrunner.images.registry.wire import httpx

        # Not iter_raw(), which splits what comes once more.
        stream = self._response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        try:
            yield from stream
        except httpx.HTTPError as error:
            raise _failure(error, self.host, "reading the answer", self._idle, "") from error


class Transport:
    """Sends requests. Any number of threads may use it at once."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._proxies = Proxies(apt={}, environ=settings.environ)
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, int], httpx.BaseTransport] = {}
        self._closed = False

    def close(self) -> None:
        """End all connections for good."""
        self._closed = True
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections, and so what threads wait for; what was begun can be taken back over new ones."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            with suppress(Exception):
                pool.close()

    def send(self, ask: Ask) -> Answer:
        """The answer, after redirects. Raises Failure, UsageError (`ca-cert`, `client-cert`)."""
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._once(ask)
            if not ask.follow or answer.status not in _REDIRECTS:
                return answer
            with answer:
                if ask.method not in {"GET", "HEAD"} and answer.status < 307:
                    raise Failure("answer", answer.host, f"status {answer.status} on {ask.method}")
                ask = redirected(ask, answer.header("location"))
        raise Failure("answer", urlsplit(ask.url).netloc, "too many redirects")

    def _once(self, ask: Ask) -> Answer:
        from packrunner.images.registry.wire import httpx

        scheme, host, port = origin(ask.url)
        shown = urlsplit(ask.url).netloc.rpartition("@")[2]
        self._allowed(host, shown)
        proxy = self._proxies.of(scheme, host, port)
        watch = _Watch(shown, self._is_closed, wary=ask.wary and not proxy)
        length = {} if ask.method in {"GET", "HEAD"} else {"Content-Length": str(ask.body.size)}
        request = httpx.Request(
            ask.method,
            ask.url,
            headers={
                "User-Agent": _USER_AGENT,
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **length,
                **ask.headers,
            },
            content=ask.body.pieces() if ask.body.size else None,
            extensions={
                "timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._settings.idle),
                "trace": watch,
            },
        )
        through = f", through the proxy {urlsplit(proxy).hostname}" if proxy else ""
        try:
            response = self._pool(scheme, host, port, proxy).handle_request(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure(error, shown, watch.phase, self._settings.idle, through) from error
        except RuntimeError as error:
            raise _stopped(shown) from error
        return Answer(response, ask, self._settings.idle)

    def _is_closed(self) -> bool:
        return self._closed

    def _allowed(self, host: str, shown: str) -> None:
        if self._settings.offline and not loopback(host):
            raise Failure("offline", shown, "--offline allows connections to this machine alone")

    def _pool(self, scheme: str, host: str, port: int, proxy: str | None) -> httpx.BaseTransport:
        key = scheme, host, port
        with self._lock:
            if self._closed:
                raise _stopped(host)
            if key not in self._pools:
                self._pools[key] = self._new_pool(scheme, host, port, proxy)
            return self._pools[key]

    def _new_pool(self, scheme: str, host: str, port: int, proxy: str | None) -> httpx.BaseTransport:
        from packrunner.images.registry import tls
        from packrunner.images.registry.wire import httpx

        name = host if port == _PORTS[scheme] else f"{bracketed(host)}:{port}"
        checked = name not in self._settings.insecure
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30)
        via = _proxy(proxy, host, self._settings) if proxy else None
        # For http no certificates are read, which costs some milliseconds.
        trust = tls.context(name, self._settings, checked=checked) if scheme == "https" else ssl.SSLContext(_CLIENT)
        return httpx.HTTPTransport(verify=trust, trust_env=False, limits=limits, proxy=via)


_CLIENT = ssl.PROTOCOL_TLS_CLIENT


class _Watch:
    """Hears from httpx how far a request is, and looks at whom it has connected to."""

    def __init__(self, host: str, closed: Callable[[], bool], *, wary: bool) -> None:
        self.phase = "connecting"
        self._host = host
        self._closed = closed
        self._wary = wary

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        step = event.partition(".")[2]
        self.phase = _PHASES.get(step, self.phase)
        if step != "connect_tcp.complete":
            return
        if self._closed():  # nobody else would end this connection
            info["return_value"].close()
            raise _stopped(self._host)
        if self._wary:
            address = info["return_value"].get_extra_info("server_addr")[0]
            if _inward(address):
                info["return_value"].close()
                raise Failure("denied", self._host, f"it points to {address}, an address inside of this network")


def _stopped(host: str) -> Failure:
    return Failure("unreachable", host, "stopped", phase="connecting")


_PHASES = {
    "start_tls.started": "agreeing on TLS",
    "send_request_headers.started": "sending the request",
    "receive_response_headers.started": "waiting for an answer",
}


def _inward(address: str) -> bool:
    """Whether an address that a registry points to is one that only this machine or its network can reach (REG-08)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.is_link_local or found.is_loopback or found.is_multicast or found.is_unspecified


def redirected(ask: Ask, location: str) -> Ask:
    """The request at another address; what proves who we are stays with its origin (REG-06, REG-07)."""
    host = urlsplit(ask.url).netloc
    try:
        target = urljoin(ask.url, location)
        before, after = origin(ask.url), origin(target)
    except ValueError as error:
        raise Failure("answer", host, f"it sends on to {printable(location)!r}") from error
    if not location or (before[0] == "https" and after[0] != "https"):
        raise Failure("answer", host, f"it sends on to {printable(location)!r}, which is not followed")
    if before == after:
        return msgspec.structs.replace(ask, url=target)
    headers = {name: value for name, value in ask.headers.items() if name.lower() not in _SECRET}
    # A registry on loopback may well point to a store there.
    return msgspec.structs.replace(ask, url=target, headers=headers, wary=ask.wary or not loopback(before[1]))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; raises ValueError for what is no http address."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def bracketed(host: str) -> str:
    """A host as addresses have it."""
    return f"[{host}]" if ":" in host else host


def loopback(host: str) -> bool:
    """Whether the host is this machine by its very name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy(address: str, host: str, settings: RegistrySettings) -> httpx.Proxy:
    from packrunner.images.registry import tls
    from packrunner.images.registry.wire import httpx

    parts = urlsplit(address)
    try:
        ends = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        ends = False
    if not ends:
        raise Failure("unreachable", host, "the proxy configured for it is not an http address", phase="connecting")
    where = f"{parts.scheme}://{bracketed(parts.hostname or '')}:{parts.port or _PORTS[parts.scheme]}"
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
    trust = tls.context(parts.hostname or "", settings) if parts.scheme == "https" else None
    return httpx.Proxy(where, auth=login, ssl_context=trust)


def _speaks_tls(error: ssl.SSLError) -> bool:
    """Whether it was another TLS that the connection ended with, and not something that knows none."""
    reason = error.reason or ""
    return isinstance(error, ssl.SSLCertVerificationError) or any(
        word in reason for word in ("ALERT", "HANDSHAKE", "CERTIFICATE")
    )


def _of_the_system(error: BaseException) -> OSError | None:
    """The system's own error in the chain of causes, which says more than what was made of it."""
    return next((cause for cause in chain(error) if isinstance(cause, OSError) and cause.errno), None)


def _failure(error: Exception, host: str, phase: str, idle: float, through: str) -> Failure:
    """An exception of httpx as a failure; its text may hold an address, so only some of them are shown."""
    from packrunner.images.registry.wire import httpx

    for cause in chain(error):
        if isinstance(cause, Failure):
            return cause
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            found = certificates.explain(cause, host)
            if found.lasting:
                kind: Kind = "tls" if _speaks_tls(cause) else "no-tls"
                return Failure(kind, host, found.why + through, phase=phase, tries=found.tries)
    if isinstance(error, httpx.TimeoutException):
        why = f"nothing within {idle:g} s"
    elif isinstance(error, httpx.ProxyError):
        # "407 Proxy Authentication Required": the proxy's status, without its login (NET-04)
        why = f"the proxy says: {printable(str(error))}"
        return Failure("unreachable", host, why + through, phase=phase, retry=not str(error).startswith("4"))
    elif isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return Failure("answer", host, "an address that is none")
    else:
        why = printable(in_words(_of_the_system(error) or error))
    return Failure("unreachable", host, why + through, phase=phase, retry=True)
