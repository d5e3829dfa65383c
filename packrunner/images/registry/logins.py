"""Where logins are found: CNB_REGISTRY_AUTH, docker's config.json, Podman's auth.json, in this order (RES-07).

Files are read, and helpers asked, when a registry is first spoken to. A helper that fails is warned of and passed over:
most images need no login, and the registry's own refusal is clear.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import TYPE_CHECKING

from packrunner.errors import UsageError
from packrunner.events import Hidden, Warned
from packrunner.images.reference import DOCKER_HUB
from packrunner.images.registry import authfile
from packrunner.images.registry.credentials import Login
from packrunner.images.registry.helpers import SECONDS, Helper, HelperError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.events import Reporter
    from packrunner.images.registry.authfile import AuthFile
    from packrunner.images.registry.helpers import Answer

VARIABLE = "CNB_REGISTRY_AUTH"
TOKEN_USER = "<token>"  # noqa: S105 - a name that helpers give instead of a user's
_HEADER = re.compile(r"(Basic|Bearer|X-Identity) +(\S+)", re.IGNORECASE)


class StoredLogins:
    """The logins of the user who runs packrunner; see `credentials.Logins`."""

    def __init__(self, environ: Mapping[str, str], reporter: Reporter, *, seconds: float = SECONDS) -> None:
        self._environ = environ
        self._reporter = reporter
        self._seconds = seconds
        self._lock = threading.Lock()
        self._files: dict[str, AuthFile | None] = {}
        self._answers: dict[tuple[str, str], Answer | None] = {}
        self._told: set[int] = set()

    def of(self, registry: str, repository: str) -> Login | None:
        """The login for a repository. Raises UsageError (`registry-config`) for a file that cannot be read."""
        # One thread asks, the others wait for its answer: a helper may show a window.
        with self._lock:
            found = self._given(registry) or self._kept(registry, repository)
        if found and hash(found.secret) not in self._told:
            self._told.add(hash(found.secret))
            pair = authfile.encode(found.user, found.secret) if found.kind == "basic" else ""
            self._reporter.emit(Hidden(secrets=(found.secret, found.secret.rpartition(" ")[2], pair)))
        return found

    def _given(self, registry: str) -> Login | None:
        text = self._environ.get(VARIABLE, "")
        if not text:
            return None
        for key, value in _table(text).items():
            if authfile.scope(key) == (registry, ""):
                return _from_header(key, value)
        return None

    def _kept(self, registry: str, repository: str) -> Login | None:
        for path, hub in places(self._environ):
            if path not in self._files:
                self._files[path] = authfile.read(path)
            file = self._files[path]
            found = file and (self._helped(file, registry, hub) or file.login(registry, repository))
            if found:
                return found
        return None

    def _helped(self, file: AuthFile, registry: str, hub: str) -> Login | None:
        name = file.helper(registry)
        if not name:
            return None
        helper = Helper(name, self._environ, seconds=self._seconds)
        server = hub if registry == DOCKER_HUB else registry
        asked = (helper.program, server)
        if asked not in self._answers:
            self._answers[asked] = None
            try:
                self._answers[asked] = helper.get(server)
            except HelperError as error:
                text = f"{helper.program}, which keeps the logins of {file.shown}, {error}"
                hint = f"going on without a login for {registry}; packrunner login {registry}"
                self._reporter.emit(Warned(text=text, hint=hint))
        answer = self._answers[asked]
        if answer is None:
            return None
        source = f"{helper.program}, by {file.shown}"
        if answer.user == TOKEN_USER:
            return Login(kind="identity-token", user="", secret=answer.secret, source=source)
        return Login(kind="basic", user=answer.user, secret=answer.secret, source=source)


def places(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The files that may hold logins, and what each calls Docker Hub."""
    yield docker_file(environ), authfile.HUB_KEY
    if environ.get("REGISTRY_AUTH_FILE"):
        yield os.path.abspath(environ["REGISTRY_AUTH_FILE"]), "docker.io"
        return
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    settings = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(environ), ".config")
    for directory in (runtime, settings):
        yield os.path.join(directory, "containers", "auth.json"), "docker.io"


def docker_file(environ: Mapping[str, str]) -> str:
    """Where docker's command line keeps its settings."""
    directory = environ.get("DOCKER_CONFIG") or os.path.join(_home(environ), ".docker")
    return os.path.join(os.path.abspath(directory), "config.json")


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _table(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None  # no `from`: the exception holds the secrets
    if not isinstance(found, dict):
        raise _wrong("it is not a JSON object")
    return found


def _from_header(key: str, value: object) -> Login:
    source = f"the variable {VARIABLE}"
    match = _HEADER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise _wrong(f"the value of {key} does not begin with Basic, Bearer or X-Identity")
    kind, secret = match.group(1).lower(), match.group(2)
    if kind == "bearer":
        return Login(kind="header", user="", secret=f"Bearer {secret}", source=source)
    if kind == "x-identity":
        return Login(kind="identity-token", user="", secret=secret, source=source)
    pair = authfile.decode(secret)
    if pair is None:
        raise _wrong(f"Basic of {key} is not followed by base64 of user:password")
    return Login(kind="basic", user=pair[0], secret=pair[1], source=source)


def _wrong(cause: str) -> UsageError:
    return UsageError(
        f"the logins in the variable {VARIABLE} cannot be read",
        slug="registry-config",
        cause=cause,
        tries=(VARIABLE + """='{"registry.example": "Basic <base64 of user:password>"}'""",),
    )
