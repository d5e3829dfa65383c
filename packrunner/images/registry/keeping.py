"""Logins kept for later where docker and Podman find them too: by the helper that the file names, else in the file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.disk import disk_error, write_atomic
from packrunner.errors import UsageError
from packrunner.images.reference import DOCKER_HUB, Reference
from packrunner.images.registry import authfile
from packrunner.images.registry.authfile import AuthFile
from packrunner.images.registry.helpers import SECONDS, Helper, HelperError
from packrunner.images.registry.logins import docker_file, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A login that is kept: of which registry (or part of it), whose, where. `plain`: whoever reads the file has it."""

    registry: str
    user: str
    where: str
    plain: bool


class Keeper:
    """Changes the files of one user."""

    def __init__(self, environ: Mapping[str, str], *, seconds: float = SECONDS) -> None:
        self._environ = environ
        self._seconds = seconds

    def keep(self, registry: str, user: str, secret: str) -> Kept:
        """Keep a login. Raises UsageError (`registry-config`, `registry-helper`) and StoreError."""
        path, hub = self._target()
        file = authfile.read(path) or AuthFile(path=path, content={})
        key = hub if registry == DOCKER_HUB else registry
        helper = file.helper(registry)
        auths = file.table("auths")
        for other in [other for other in auths if authfile.scope(other) == (registry, "")]:
            del auths[other]
        if helper:
            self._ask(helper, file, "keep", lambda one: one.store(key, user, secret))
        # Docker lists a registry whose login a helper keeps, too.
        auths[key] = {} if helper else {"auth": authfile.encode(user, secret)}
        _write(file, {**file.content, "auths": auths})
        where = f"docker-credential-{helper}" if helper else file.shown
        return Kept(registry=registry, user=user, where=where, plain=not helper)

    def forget(self, registry: str) -> list[str]:
        """Remove the logins of a whole registry from every file and its helper; says from where."""
        gone = []
        for path, hub in places(self._environ):
            file = authfile.read(path)
            if file is None:
                continue
            helper = file.helper(registry)
            auths = file.table("auths")
            keys = [key for key in auths if authfile.scope(key) == (registry, "")]
            if helper:
                self._erase(helper, file, hub if registry == DOCKER_HUB else registry)
                gone.append(f"docker-credential-{helper}")
            if keys:
                _write(file, {**file.content, "auths": {key: one for key, one in auths.items() if key not in keys}})
                gone += [] if helper else [file.shown]
        return gone

    def listed(self) -> Iterator[Kept]:
        """What is kept in the files; of what only a helper knows, that it does."""
        for path, _ in places(self._environ):
            file = authfile.read(path)
            for key in file.table("auths") if file else ():
                assert file
                registry, prefix = authfile.scope(key)
                found, helper = file.entry(key), file.helper(registry)
                if found:
                    name = f"{registry}/{prefix}".rstrip("/")
                    yield Kept(registry=name, user=found.user, where=file.shown, plain=True)
                elif helper:
                    yield Kept(registry=registry, user="", where=f"docker-credential-{helper}", plain=False)

    def _target(self) -> tuple[str, str]:
        """The file that podman was told to use, else docker's, which all read."""
        named = self._environ.get("REGISTRY_AUTH_FILE")
        return (os.path.abspath(named), "docker.io") if named else (docker_file(self._environ), authfile.HUB_KEY)

    def _erase(self, helper: str, file: AuthFile, key: str) -> None:
        self._ask(helper, file, "forget", lambda one: one.erase(key))

    def _ask(self, name: str, file: AuthFile, what: str, ask: Callable[[Helper], None]) -> None:
        helper = Helper(name, self._environ, seconds=self._seconds)
        try:
            ask(helper)
        except HelperError as error:
            raise UsageError(
                f"{helper.program} did not {what} the login",
                slug="registry-helper",
                cause=f"it {error}",
                at=file.shown,
                tries=(f"install or repair it, or take it out of {file.shown}",),
            ) from None


def _write(file: AuthFile, content: Mapping[str, Any]) -> None:
    """Replace the file, for its owner only; a link to it stays a link."""
    path = os.path.realpath(file.path)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise disk_error(error, os.path.dirname(path)) from error
    write_atomic(path, (json.dumps(content, indent="\t") + "\n").encode(), sync=True)


def registry_name(text: str) -> str:
    """The registry that somebody typed, as references have it. Raises UsageError (`name`)."""
    host, _, path = text.rpartition("://")[2].rstrip("/").partition("/")
    if path in {"", "v1", "v2"} and (host == "localhost" or "." in host or ":" in host):
        return Reference.parse(f"{host}/x").registry
    raise UsageError(
        f"{text!r} is not a registry",
        slug="name",
        cause="a registry is a host: with a dot in its name, with a port, or localhost",
        tries=("packrunner login registry.example", "packrunner login docker.io"),
    )
