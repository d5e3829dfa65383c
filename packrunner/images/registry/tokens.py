"""Tokens of registries: asked for at the token server that a challenge names, kept while they are good.

A login goes only to a token server of the registry's own site, by https, and never along a redirect (REG-08).
"""

from __future__ import annotations

import base64
import ipaddress
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import msgspec

from packrunner.images.registry.failures import RETRIED, Failure, Patience, printable, told
from packrunner.images.registry.transport import Ask, Data, loopback, origin

if TYPE_CHECKING:
    from packrunner.images.registry.challenge import Challenge
    from packrunner.images.registry.credentials import Login
    from packrunner.images.registry.settings import RegistrySettings
    from packrunner.images.registry.transport import Answer, Transport

_SHORTEST = 60.0
_MARGIN = 10.0
_LIMIT = 1 << 20
_CLIENT = "packrunner"


class _Reply(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class _Token(msgspec.Struct, frozen=True):
    text: str
    until: float


class Tokens:
    """The tokens for one registry, by what they allow."""

    def __init__(self, registry: str, transport: Transport, settings: RegistrySettings) -> None:
        self._registry = registry
        self._transport = transport
        self._settings = settings
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], _Token] = {}

    def get(self, challenge: Challenge, scopes: tuple[str, ...], login: Login | None, *, stale: str = "") -> str:
        """A token for `scopes`, another than `stale`. Raises Failure."""
        # One thread asks, the others wait for its answer.
        with self._lock:
            key = (challenge.get("realm"), challenge.get("service"), *scopes)
            known = self._known.get(key)
            if known is None or known.text == stale or self._settings.clock() >= known.until:
                known = self._known[key] = self._fetch(challenge, scopes, login)
            return known.text

    def _fetch(self, challenge: Challenge, scopes: tuple[str, ...], login: Login | None) -> _Token:
        realm = challenge.get("realm")
        self._check(realm, login)
        asked = self._settings.clock()
        reply = _reply(self._ask(realm, challenge.get("service"), scopes, login), urlsplit(realm).netloc)
        # What `issued_at` says is another machine's clock, and sometimes no time at all (REG-13).
        lifetime = max(reply.expires_in or 0.0, _SHORTEST)
        return _Token(reply.token or reply.access_token or "", asked + lifetime - _MARGIN)

    def _check(self, realm: str, login: Login | None) -> None:
        """Whether the registry's token server may be asked at all, and told the login."""
        host = printable(urlsplit(realm).netloc)
        try:
            scheme, name, _ = origin(realm)
        except ValueError as error:
            raise Failure("answer", self._registry, f"its token server has no address: {printable(realm)!r}") from error
        own = self._registry.rpartition(":")[0] if ":" in self._registry else self._registry
        plain = loopback(name) and loopback(own.strip("[]"))
        if scheme == "http" and not plain and self._registry not in self._settings.insecure:
            raise Failure("auth", self._registry, f"its token server {host} is to be asked without TLS")
        known = same_site(own.strip("[]"), name) or name in self._settings.token_servers or plain
        if login and not known:
            raise Failure(
                "auth",
                self._registry,
                f"it wants your login told to {host}, which is another site",
                tries=("go without a login: packrunner logout " + self._registry,),
            )

    def _ask(self, realm: str, service: str, scopes: tuple[str, ...], login: Login | None) -> bytes:
        patience = Patience(self._settings)
        post = bool(login and login.kind == "identity-token")
        while True:
            try:
                with self._transport.send(_request(realm, service, scopes, login, post=post)) as answer:
                    if post and answer.status in {404, 405}:
                        post = False
                        continue
                    return self._taken(answer, scopes, login)
            except Failure as failure:
                patience.after(failure)

    def _taken(self, answer: Answer, scopes: tuple[str, ...], login: Login | None) -> bytes:
        data = answer.small(_LIMIT)
        if answer.status == 200:
            return data
        why = f"its token server {answer.host} answers {answer.status}"
        if said := told(data):
            why += f", {said}"
        if answer.status in {401, 403}:
            who = f"the login from {login.source}" if login else "no login was found"
            raise Failure("auth", self._registry, f"{why} ({who}; for {' '.join(scopes) or 'nothing'})")
        retry = answer.status in RETRIED
        raise Failure("unreachable" if retry else "answer", self._registry, why, retry=retry, status=answer.status)


def _request(realm: str, service: str, scopes: tuple[str, ...], login: Login | None, *, post: bool) -> Ask:
    if post and login:
        fields = {"grant_type": "refresh_token", "refresh_token": login.secret, "client_id": _CLIENT}
        body = urlencode({**fields, "service": service, "scope": " ".join(scopes)}).encode()
        return Ask(
            method="POST",
            url=realm,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=Data(body),
            follow=False,
            wary=not loopback(urlsplit(realm).hostname or ""),
        )
    query = urlencode([*([("service", service)] if service else ()), *(("scope", one) for one in scopes)])
    joined = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}" if query else realm
    headers = {"Authorization": basic(login)} if login else {}
    return Ask(
        method="GET", url=joined, headers=headers, follow=False, wary=not loopback(urlsplit(realm).hostname or "")
    )


def _reply(data: bytes, host: str) -> _Reply:
    try:
        reply = msgspec.json.decode(data, type=_Reply, strict=False)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        reply = _Reply()  # no `from`: the exception may hold a token
    token = reply.token or reply.access_token or ""
    if not token or not token.isascii() or not token.isprintable() or len(data) > _LIMIT:
        raise Failure("answer", printable(host), "its token server does not give a token")
    return reply


def basic(login: Login) -> str:
    """The header of a login with user and password."""
    return "Basic " + base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()


def same_site(registry: str, host: str) -> bool:
    """Whether two hosts are of one site: the same, or below the same name that somebody registered."""
    if registry == host:
        return True
    for name in (registry, host):
        try:
            ipaddress.ip_address(name)
        except ValueError:
            continue
        return False
    return _site(registry) == _site(host) and "." in _site(host)


def _site(host: str) -> str:
    """The registered name of a host: two labels, three below a country's `co` or `com`."""
    labels = host.lower().rstrip(".").split(".")
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3:] if short else labels[-2:])
