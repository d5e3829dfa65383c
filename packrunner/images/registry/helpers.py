"""Credential helpers: programs named `docker-credential-NAME` that keep logins for docker, Podman and us.

They get one word and a line on stdin, and answer in JSON on stdout. What they print is secret or foreign: it is bounded
and never shown or logged (REG-34).
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner import process

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60.0
"""A person may have to unlock a keyring meanwhile."""
_LIMIT = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# How the helpers of docker say that they have no login for a registry.
_NONE = re.compile(rb"credentials not found|no credentials server URL", re.IGNORECASE)


class HelperError(Exception):
    """A helper could not be asked, or its answer is none; the text continues `docker-credential-x ...`."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a helper keeps for a registry; `user` is `<token>` where `secret` is an identity token."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return "Answer(...)"


class Helper:
    """One helper, run with the caller's environment."""

    def __init__(self, name: str, environ: Mapping[str, str], *, seconds: float = SECONDS) -> None:
        self.program = f"docker-credential-{name}"
        self._usable = bool(_NAME.fullmatch(name))
        self._environ = environ
        self._seconds = seconds

    def get(self, server: str) -> Answer | None:
        """The login for a server; None where the helper has none. Raises HelperError."""
        code, said = self._run("get", server.encode())
        if code:
            if _NONE.search(said):
                return None
            raise HelperError(f"ended with {code}")
        try:
            answer = json.loads(said)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError):
            # No `from`: the exception holds what the helper printed.
            raise HelperError("answered something that is no login") from None
        if not isinstance(user, str) or not isinstance(secret, str):
            raise HelperError("answered something that is no login")
        return Answer(user=user, secret=secret) if secret else None

    def store(self, server: str, user: str, secret: str) -> None:
        """Let the helper keep a login. Raises HelperError."""
        self._must("store", json.dumps({"ServerURL": server, "Username": user, "Secret": secret}).encode())

    def erase(self, server: str) -> None:
        """Let the helper forget a login, if it has one. Raises HelperError."""
        self._must("erase", server.encode())

    def _must(self, verb: Literal["store", "erase"], stdin: bytes) -> None:
        code, said = self._run(verb, stdin)
        if code and not (verb == "erase" and _NONE.search(said)):
            raise HelperError(f"ended with {code}")

    def _run(self, verb: str, stdin: bytes) -> tuple[int, bytes]:
        if not self._usable:
            raise HelperError("is not the name of a program")
        # Looked for first: a directory of PATH that is closed to this user says "permission denied" for all of them.
        program = shutil.which(self.program, path=self._environ.get("PATH"))
        if program is None:
            raise HelperError("is not installed")
        said = bytearray()

        def keep(stream: process.Stream, data: bytes) -> None:
            if stream == "stdout":
                said.extend(data)
            if len(said) > _LIMIT:
                raise HelperError("printed more than a login can be")

        ended = process.run([program, verb], env=self._environ, output=keep, stdin=stdin, timeout=self._seconds)
        if ended.timed_out:
            raise HelperError(f"gave no answer within {self._seconds:g} s")
        if ended.error:
            raise HelperError("cannot be started")
        return ended.code, bytes(said)
