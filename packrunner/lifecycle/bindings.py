"""Bindings and secrets: what buildpacks may read while they run, and nothing keeps (BND-01 - BND-04).

    /platform/bindings/<name>/type, <key>...   a directory that --binding named, one file a key
    /platform/bindings/<id>/type               "secret"
    /platform/bindings/<id>/value              what --secret named: the bytes of a file or of a variable

Contents are read here, once, and go into the workspace for the time of the build; requests and records hold only
where they come from.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packrunner.errors import UsageError
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BINDINGS_DIR = "/platform/bindings"
ROOT_VARIABLE = "SERVICE_BINDING_ROOT"
FROM_ENVIRONMENT = "env:"
"""Before the name of a variable, where a secret's place stands."""

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}")
_LEGACY = ("metadata", "secret")
_PLAIN_KEYS = frozenset({"type", "provider", "metadata/kind", "metadata/provider"})
_MAX_BYTES = 1 << 20
_MAX_FILES = 1000
_SHORTEST_LINE = 8


@dataclass(frozen=True, slots=True)
class Held:
    """The contents of all bindings, by name and key; its representation shows none."""

    bindings: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """What tells buildpacks where to look; nothing without bindings (BND-02)."""
        return {ROOT_VARIABLE: BINDINGS_DIR} if self.bindings else {}

    def texts(self) -> Iterator[str]:
        """Everything that must not be shown: whole values, and the lines of those that have several."""
        for files in self.bindings.values():
            for key, data in files.items():
                if key not in _PLAIN_KEYS:
                    text = data.decode(errors="replace").strip()
                    yield text
                    yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= _SHORTEST_LINE)


def parse_binding(text: str, cwd: str) -> tuple[str, str]:
    """`NAME=DIR` as name and absolute path. Raises UsageError (`binding`)."""
    name, _, place = text.partition("=")
    if not _NAME.fullmatch(name) or not place:
        raise _wrong(f"{text!r} is not a binding", "--binding database=./db, for a directory with a file `type`")
    return name, os.path.normpath(os.path.join(cwd, place))


def parse_secret(text: str, cwd: str) -> tuple[str, str]:
    """`ID=FILE`, `ID=env` or `ID=env:VARIABLE` as id and place. Raises UsageError (`binding`).

    The value itself is never taken from the command line, which others can read.
    """
    name, _, place = text.partition("=")
    if not _NAME.fullmatch(name) or not place or place == FROM_ENVIRONMENT:
        # Its right side is not repeated: it may be the secret itself, given by mistake.
        raise _wrong(f"--secret {name!r} names no secret", "--secret token=./FILE or --secret token=env:VARIABLE")
    if place == "env":
        return name, FROM_ENVIRONMENT + name
    return name, place if place.startswith(FROM_ENVIRONMENT) else os.path.normpath(os.path.join(cwd, place))


def variables(secrets: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The names of the variables that secrets are taken from."""
    places = [place for _, place in secrets if place.startswith(FROM_ENVIRONMENT)]
    return tuple(sorted({place.removeprefix(FROM_ENVIRONMENT) for place in places}))


def watched(bindings: tuple[tuple[str, str], ...], secrets: tuple[tuple[str, str], ...]) -> list[str]:
    """The paths that have to be unchanged for contents to be: also those that links in a binding lead to."""
    found = [place for _, place in bindings]
    for place in tuple(found):
        for folder, directories, files in os.walk(place):
            paths = [os.path.join(folder, name) for name in (*directories, *files)]
            found += sorted(os.path.realpath(path) for path in paths if os.path.islink(path))
    return [*found, *(place for _, place in secrets if not place.startswith(FROM_ENVIRONMENT))]


def hold(
    bindings: tuple[tuple[str, str], ...], secrets: tuple[tuple[str, str], ...], environ: Mapping[str, str]
) -> Held:
    """Read all contents. Raises UsageError (`binding`) naming the file or variable that is missing or wrong."""
    held: dict[str, dict[str, bytes]] = {}
    for name, place in (*bindings, *secrets):
        if name in held:
            raise _wrong(f"two bindings or secrets are called {name}", "give one of them another name")
        held[name] = {}
        if (name, place) in bindings:
            held[name] = _directory(name, place)
        else:
            held[name] = {"type": b"secret", "value": _secret(name, place, environ)}
    return Held(held)


def _secret(name: str, place: str, environ: Mapping[str, str]) -> bytes:
    if not place.startswith(FROM_ENVIRONMENT):
        return _file(place)
    variable = place.removeprefix(FROM_ENVIRONMENT)
    if variable not in environ:
        raise _wrong(
            f"the secret {name} is to come from the variable {variable}, which is not set", f"export {variable}"
        )
    return os.fsencode(environ[variable])


def _directory(name: str, place: str) -> dict[str, bytes]:
    files = {key: _file(os.path.join(place, key)) for key in _keys(place)}
    if any(key.startswith("metadata/") for key in files):
        return files  # the layout before servicebinding.io has its type in metadata/kind (BND-04)
    if "type" not in files:
        raise UsageError(
            f"the binding {name} has no file {readable(os.path.join(place, 'type'))}",
            slug="binding",
            cause="a binding is a directory with a file `type`, and a file for each key",
            at=readable(place),
            tries=(f"echo TYPE > {readable(os.path.join(place, 'type'))}",),
        )
    return files


def _keys(place: str) -> list[str]:
    """The files of a binding. Names that start with two dots are how Kubernetes swaps mounted secrets."""
    keys: list[str] = []
    for key in _names(place):
        if key.startswith(".."):
            continue
        if os.path.isdir(os.path.join(place, key)):
            if key in _LEGACY:
                keys += [f"{key}/{inner}" for inner in _names(os.path.join(place, key)) if not inner.startswith("..")]
            continue
        keys.append(key)
    for key in keys:
        if not all(_NAME.fullmatch(part) for part in key.split("/")):
            raise _wrong(f"{readable(place)} holds a file that cannot be a key: {key!r}", "rename it")
    if len(keys) > _MAX_FILES:
        raise _wrong(f"{readable(place)} holds more than {_MAX_FILES} files", "name the binding's own directory")
    return keys


def _names(place: str) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError as error:
        raise _unreadable(place, error) from error


def _file(path: str) -> bytes:
    """A regular file, through links: it is the user who named it. A FIFO would block, so it is not opened as one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _wrong(f"{readable(path)} is not a file", "name a regular file")
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > _MAX_BYTES:
        raise _wrong(f"{readable(path)} is larger than 1 MB", "bindings hold settings and credentials, not data")
    return data


def _unreadable(path: str, error: OSError) -> UsageError:
    return UsageError(f"{readable(path)} cannot be read: {error.strerror}", slug="binding", at=readable(path))


def _wrong(brief: str, fix: str) -> UsageError:
    return UsageError(brief, slug="binding", tries=(fix,))
