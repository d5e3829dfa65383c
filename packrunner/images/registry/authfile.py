"""Files of logins as docker and Podman keep them: config.json and auth.json, which are alike.

    {"auths": {"ghcr.io": {"auth": "<base64 of user:password>"}, "quay.io/acme": {...}},
     "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "secretservice"}

A key is a registry, with a port where it is not the usual one, or (Podman) a registry and the beginning of
repositories. Older dockers wrote addresses, `https://index.docker.io/v1/`: of these only the host counts.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import paths
from packrunner.errors import UsageError
from packrunner.images.reference import DOCKER_HUB
from packrunner.images.registry.credentials import Login

if TYPE_CHECKING:
    from collections.abc import Mapping

HUB_KEY = "https://index.docker.io/v1/"
"""What docker calls Docker Hub in its file and to its helpers."""

_LIMIT = 4 << 20
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_API_PATHS = frozenset({"", "v1", "v2"})


class AuthFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its whole content, so that what is not ours survives a change."""

    path: str
    content: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"AuthFile({self.path!r})"

    @property
    def shown(self) -> str:
        """Its path for people."""
        return paths.readable(self.path)

    def table(self, name: str) -> dict[str, Any]:
        """One of its tables; raises UsageError where it is none."""
        found = self.content.get(name) or {}
        if not isinstance(found, dict):
            raise _wrong(self.shown, f"its {name} is not a table")
        return found

    def helper(self, registry: str) -> str:
        """The credential helper that keeps the logins of a registry; "" where the file itself does."""
        own = (name for key, name in self.table("credHelpers").items() if scope(key) == (registry, ""))
        found = next(own, None) or self.content.get("credsStore") or ""
        if not isinstance(found, str):
            raise _wrong(self.shown, f"the credential helper of {registry} is not a name")
        return found

    def login(self, registry: str, repository: str) -> Login | None:
        """The login under the key that says most about the repository."""
        keys = [(prefix, key) for key in self.table("auths") for host, prefix in [scope(key)] if host == registry]
        for prefix, key in sorted(keys, key=lambda one: -len(one[0])):
            if not prefix or f"{repository}/".startswith(f"{prefix}/"):
                found = self.entry(key)
                if found:
                    return found
        return None

    def entry(self, key: str) -> Login | None:
        """The login that a key has; None where it has none."""
        entry = self.table("auths")[key] or {}
        if not isinstance(entry, dict) or not all(isinstance(entry.get(name, ""), str) for name in _FIELDS):
            raise _wrong(self.shown, f"the entry of {key} is not as docker and Podman write it")
        user, secret = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            pair = decode(entry["auth"])
            if pair is None:
                raise _wrong(self.shown, f"`auth` of {key} is not base64 of user:password")
            user, secret = pair
        if entry.get("registrytoken"):
            return Login(kind="header", user="", secret=f"Bearer {entry['registrytoken']}", source=self.shown)
        if entry.get("identitytoken"):
            return Login(kind="identity-token", user=user, secret=entry["identitytoken"], source=self.shown)
        return Login(kind="basic", user=user, secret=secret, source=self.shown) if user else None


_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")


def read(path: str) -> AuthFile | None:
    """The file, or None where there is none. Raises UsageError (`registry-config`) naming it."""
    shown = paths.readable(path)
    try:
        with open(path, "rb") as file:
            text = file.read(_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _wrong(shown, os.strerror(error.errno or 0)) from error
    if len(text) > _LIMIT:
        raise _wrong(shown, f"it is larger than {_LIMIT >> 20} MiB")
    if not text.strip():
        return AuthFile(path=path, content={})
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        # No `from`: the exception holds the whole text.
        raise _wrong(shown, f"it is not JSON: {error.msg} in line {error.lineno}") from None
    except (UnicodeDecodeError, RecursionError):
        raise _wrong(shown, "it is not JSON") from None
    if not isinstance(content, dict):
        raise _wrong(shown, "it is not a JSON object")
    return AuthFile(path=path, content=content)


def _wrong(shown: str, cause: str) -> UsageError:
    return UsageError(
        f"the logins in {shown} cannot be read",
        slug="registry-config",
        cause=cause,
        at=shown,
        tries=(f"repair {shown}, or move it away and log in again: packrunner login",),
    )


def scope(key: str) -> tuple[str, str]:
    """The registry and the beginning of repositories that a key is about (REG-35: host and port, exactly)."""
    _, mark, rest = key.rpartition("://")
    host, _, path = rest.partition("/")
    path, host = path.strip("/"), host.lower()
    return (DOCKER_HUB if host in _HUB else host), ("" if mark or path in _API_PATHS else path)


def decode(text: str) -> tuple[str, str] | None:
    """User and password from their base64; None for anything else."""
    try:
        user, colon, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    # Docker pads what it encodes with NULs in some versions.
    return (user, secret.rstrip("\0")) if user and colon else None


def encode(user: str, secret: str) -> str:
    """What `decode` reads."""
    return base64.b64encode(f"{user}:{secret}".encode()).decode()
