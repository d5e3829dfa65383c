"""What can go wrong with a registry, first as something that may be tried again, then as an error for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import CorruptError, NetworkError, PackrunnerError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.images.registry.settings import RegistrySettings

Kind = Literal["unreachable", "throttled", "tls", "no-tls", "answer", "corrupt", "offline", "auth", "denied", "refused"]

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may go better (REG-16)."""
_ATTEMPTS = 5
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_SILENCES = 4
"""Connecting, agreeing on TLS, sending and waiting may each be silent for the idle time."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202f-\u205f\u2070-\ud7ff]+")


class Failure(Exception):  # noqa: N818 - not an error before nobody tries again
    """A request failed: at which `host`, in which `phase`, why. `retry`: it may go better next time.

    `wait` is what the server asked for in seconds, `status` the HTTP status where there was one, `tries` what may help.
    """

    def __init__(
        self,
        kind: Kind,
        host: str,
        why: str,
        *,
        phase: str = "",
        retry: bool = False,
        wait: float = 0,
        status: int = 0,
        tries: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{host}: {why}")
        self.kind = kind
        self.host = host
        self.why = why
        self.phase = phase
        self.retry = retry
        self.wait = wait
        self.status = status
        self.tries = tries

    def error(self) -> PackrunnerError:
        """The error for people."""
        cause = f"{self.why} (while {self.phase})" if self.phase else self.why
        match self.kind:
            case "throttled":
                return NetworkError(
                    f"{self.host} lets nobody in this often: it is rate limited",
                    slug="registry-throttled",
                    cause=cause,
                    tries=(f"packrunner login {self.host}, as limits are wider for who is known",),
                )
            case "unreachable":
                return NetworkError(
                    f"{self.host} cannot be reached, or gives no answer",
                    slug="registry-unreachable",
                    cause=cause,
                    tries=("check the network and the proxy settings, then repeat the command",),
                )
            case "corrupt":
                return CorruptError(
                    f"{self.host} sends other bytes than those that were asked for",
                    slug="registry-corrupt",
                    cause=cause,
                    tries=("repeat the command; if it ends like this again, what the registry keeps is damaged",),
                )
            case _:
                return self._refusal(cause)

    def _refusal(self, cause: str) -> PackrunnerError:
        """The errors that the same request would end in again."""
        match self.kind:
            case "auth":
                return RefusedError(
                    f"{self.host} does not know you",
                    slug="registry-auth",
                    cause=cause,
                    tries=self.tries or (f"packrunner login {self.host}",),
                )
            case "denied":
                return RefusedError(
                    f"{self.host} does not let you do this",
                    slug="registry-denied",
                    cause=cause,
                    tries=self.tries or ("ask for rights on the repository, or use another name",),
                )
            case "tls" | "no-tls":
                return RefusedError(
                    f"the connection to {self.host} cannot be trusted",
                    slug="registry-tls",
                    cause=cause,
                    tries=self.tries,
                )
            case "offline":
                return RefusedError(
                    f"{self.host} would be needed, and the network is off",
                    slug="offline",
                    cause=cause,
                    tries=("where there is a network: packrunner pull", "repeat the command without --offline"),
                )
            case "answer":
                return RefusedError(f"{self.host} does not answer like a registry", slug="registry-answer", cause=cause)
            case _:
                return RefusedError(f"{self.host} refuses", slug="registry-refused", cause=cause)


class Patience:
    """Attempts at one thing: so many without getting further, under one deadline, with growing pauses between."""

    def __init__(self, settings: RegistrySettings, *, attempts: int = _ATTEMPTS) -> None:
        self._settings = settings
        self._attempts = attempts
        self._failed = 0
        self._began = settings.clock()
        self._deadline = self._began + settings.patience

    def further(self) -> None:
        """Something came, or went: the count begins anew."""
        if self._failed:
            self._failed = 0
        self._began = self._settings.clock()
        self._deadline = self._began + self._settings.patience

    def after(self, failure: Failure) -> None:
        """Wait before the next attempt; raises the failure when there shall be none."""
        self._failed += 1
        now = self._settings.clock()
        if now - self._began > _SILENCES * self._settings.idle:
            # No attempt is silent for so long: this process was stopped meanwhile, or the machine slept (PRO-09).
            self._deadline = now + self._settings.patience
        left = self._deadline - now
        pause = max(failure.wait, _FIRST_PAUSE * 2.0 ** (self._failed - 1) * _jitter())
        if not failure.retry or self._failed >= self._attempts or pause > left:
            raise failure
        self._settings.sleep(pause)
        self._began = self._settings.clock()


def _jitter() -> float:
    import random

    return random.uniform(0.75, 1.25)  # noqa: S311 - spreads clients, no secret


def retry_after(value: str, now: Callable[[], float]) -> float:
    """Seconds that a Retry-After header asks for, up to a cap; 0 for what is neither a number nor a date (REG-15)."""
    text = value.strip()
    if text.isdecimal():
        return min(float(text), _LONGEST_PAUSE)
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, min(when - now(), _LONGEST_PAUSE))


class _Item(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Body(msgspec.Struct, frozen=True):
    errors: tuple[_Item, ...] = ()


def told(body: bytes) -> str:
    """What a registry says about its refusal: code and text, printable and short; "" for what is no such answer."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    return printable("; ".join(f"{item.code}: {item.message}".strip(": ") for item in found.errors[:3]))


def printable(text: str) -> str:
    """Foreign text for one line of a message."""
    return _UNPRINTABLE.sub(" ", text)[:300].strip()
