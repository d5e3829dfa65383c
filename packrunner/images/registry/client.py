"""Talking to one registry: the distribution API's way to say who asks, with attempts where they help.

Every request names what it wants to do; the token for it is found, kept and renewed here.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin, urlsplit

import msgspec

from packrunner.images.reference import DOCKER_HUB
from packrunner.images.registry import challenge
from packrunner.images.registry.failures import RETRIED, Failure, Patience, retry_after, told
from packrunner.images.registry.tokens import Tokens, basic
from packrunner.images.registry.transport import Ask, Data, loopback, origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.images.registry.challenge import Challenge
    from packrunner.images.registry.credentials import Login, Logins
    from packrunner.images.registry.settings import RegistrySettings
    from packrunner.images.registry.transport import Answer, Body, Transport

_HUB_API = "registry-1.docker.io"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is for: a repository, to read or to write too, and another one to read from.

    Without a repository it is for nothing but a login.
    """

    repository: str
    action: Literal["pull", "push"] = "pull"
    source: str = ""

    def scopes(self) -> tuple[str, ...]:
        """As token servers have them."""
        if not self.repository:
            return ()
        actions = "pull,push" if self.action == "push" else "pull"
        own = f"repository:{self.repository}:{actions}"
        return (own, f"repository:{self.source}:pull") if self.source else (own,)


class Client:
    """One registry, by its name in references; `prefix` is put before repositories (mirrors)."""

    def __init__(self, registry: str, transport: Transport, logins: Logins, settings: RegistrySettings) -> None:
        self.registry, _, self.prefix = registry.partition("/")
        self.settings = settings
        self._transport = transport
        self._logins = logins
        self._tokens = Tokens(self.registry, transport, settings)
        self._lock = threading.Lock()
        self._base = ""
        self._challenges: list[Challenge] = []

    def path(self, repository: str, rest: str) -> str:
        """The path of something in a repository."""
        return f"/v2/{self.prefix + '/' if self.prefix else ''}{repository}/{rest}"

    def request(
        self,
        method: str,
        target: str,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = Data(),  # noqa: B008 - a frozen value
        patience: Patience | None = None,
    ) -> Answer:
        """The answer to one request; `target` is a path, or an address that the registry gave.

        Attempts are repeated by `patience`, by its own where there is none. Any status that no attempt makes better is
        an answer; raises Failure for the others.
        """
        patience = patience or Patience(self.settings)
        while True:
            try:
                return self.attempt(method, target, scope, headers=headers, body=body)
            except Failure as failure:
                patience.after(failure)

    def attempt(
        self,
        method: str,
        target: str,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = Data(),  # noqa: B008 - a frozen value
    ) -> Answer:
        """As `request`, once; a token that is no longer good is renewed."""
        url = urljoin(self.base(), target)
        own = origin(url) == origin(self.base())
        login = self._logins.of(self.registry, scope.repository) if own else None
        wary = not own and not loopback(_name(self.host()))
        proof = self._proof(scope, login, "") if own else {}
        ask = Ask(method=method, url=url, headers={**(headers or {}), **proof}, body=body, wary=wary)
        answer = self._transport.send(ask)
        if answer.status == 401 and own and answer.host == urlsplit(url).netloc:
            with answer:
                self._challenges = challenge.parse(answer.headers.get_list("www-authenticate")) or self._challenges
                said = answer.small()
            renewed = self._proof(scope, login, proof.get("Authorization", "").removeprefix("Bearer "))
            if renewed == proof:
                raise self._unknown(said, scope, login)
            answer = self._transport.send(msgspec.structs.replace(ask, headers={**(headers or {}), **renewed}))
        if answer.status == 401:
            with answer:
                raise self._unknown(answer.small(), scope, login)
        return self._looked_at(answer)

    def base(self) -> str:
        """`https://host`, once the registry was found to be one there. Raises Failure."""
        with self._lock:
            if not self._base:
                self._base = self._find()
            return self._base

    def host(self) -> str:
        """Host and port of the API."""
        return _HUB_API if self.registry == DOCKER_HUB else self.registry

    def refusal(self, answer: Answer, scope: Scope, what: str) -> Failure:
        """The failure that an answer means which nothing was hoped for; its body is read."""
        said = told(answer.small())
        why = f"status {answer.status} for {what}" + (f": {said}" if said else "")
        if answer.status in {401, 403}:
            login = self._logins.of(self.registry, scope.repository)
            who = f"with the login from {login.source}" if login else "without a login"
            kind: Literal["auth", "denied"] = "denied" if login or answer.status == 403 else "auth"
            return Failure(kind, self.registry, f"{why} ({who})", status=answer.status)
        return Failure("refused", self.registry, why, status=answer.status)

    def _find(self) -> str:
        """Where the API answers: by https; by http too on loopback and where that was allowed (REG-33)."""
        host = self.host()
        if loopback(_name(host)):
            # Nothing is told to a ping, and what speaks http there is no server of https: certificates cost 40 ms.
            return self._either(f"http://{host}", f"https://{host}", frozenset({"unreachable", "answer"}))
        if self.registry in self.settings.insecure:
            # A certificate is not checked then; that there is TLS is taken.
            return self._either(f"https://{host}", f"http://{host}", frozenset({"unreachable", "no-tls"}))
        return self._ping(f"https://{host}")

    def _either(self, first: str, second: str, kinds: frozenset[str]) -> str:
        """The first address, unless it fails as something does that speaks another protocol."""
        try:
            return self._pinged(first)
        except Failure as failure:
            if failure.status in RETRIED:
                return self._ping(first)
            if failure.kind not in kinds:
                raise
            try:
                return self._ping(second)
            except Failure as other:
                raise (failure if other.kind == "no-tls" else other) from other

    def _ping(self, base: str) -> str:
        patience = Patience(self.settings)
        while True:
            try:
                return self._pinged(base)
            except Failure as failure:
                patience.after(failure)

    def _pinged(self, base: str) -> str:
        with self._looked_at(self._transport.send(Ask(method="GET", url=f"{base}/v2/"))) as answer:
            kind = answer.header("content-type").lower()
            if answer.status not in {200, 401} or (answer.status == 200 and "html" in kind):
                raise Failure("answer", self.registry, f"status {answer.status}, {kind or 'no type'}, for /v2/")
            answer.small()
            self._challenges = (
                challenge.parse(answer.headers.get_list("www-authenticate")) if answer.status == 401 else []
            )
        return base

    def _proof(self, scope: Scope, login: Login | None, stale: str) -> dict[str, str]:
        """The header that says who asks."""
        if login and login.kind == "header":
            return {"Authorization": login.secret}
        schemes = {one.scheme: one for one in reversed(self._challenges)}
        if "bearer" in schemes:
            token = self._tokens.get(schemes["bearer"], self._scopes(scope), login, stale=stale)
            return {"Authorization": f"Bearer {token}"}
        if "basic" in schemes and login and login.kind == "basic":
            return {"Authorization": basic(login)}
        return {}

    def _scopes(self, scope: Scope) -> tuple[str, ...]:
        if not self.prefix or not scope.repository:
            return scope.scopes()
        source = f"{self.prefix}/{scope.source}" if scope.source else ""
        return Scope(repository=f"{self.prefix}/{scope.repository}", action=scope.action, source=source).scopes()

    def _looked_at(self, answer: Answer) -> Answer:
        """The answer, unless its status says to try again."""
        if answer.status not in RETRIED:
            return answer
        with answer:
            said = told(answer.small())
        why = f"status {answer.status}" + (f": {said}" if said else "")
        wait = retry_after(answer.header("retry-after"), time.time)
        throttled = answer.status == 429
        raise Failure(
            "throttled" if throttled else "unreachable",
            self.registry,
            why,
            retry=True,
            wait=wait,
            status=answer.status,
        )

    def _unknown(self, body: bytes, scope: Scope, login: Login | None) -> Failure:
        said = told(body)
        who = f"the login from {login.source}" if login else "no login was found"
        why = f"status 401{': ' + said if said else ''} ({who}; for {' '.join(scope.scopes())})"
        return Failure("auth", self.registry, why, status=401)


def _name(host: str) -> str:
    """A host without its port."""
    return urlsplit(f"//{host}").hostname or ""
