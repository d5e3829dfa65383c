"""`--volume HOST:TARGET[:ro|rw]`: files of this machine that buildpacks see, and where they may not be seen."""

from __future__ import annotations

import os
import posixpath
from typing import NamedTuple

from packrunner.errors import UsageError
from packrunner.lifecycle.bindings import BINDINGS_DIR
from packrunner.workspace import LAYERS_DIR, PLATFORM_DIR

_RESERVED = ("/cnb", LAYERS_DIR, PLATFORM_DIR, "/proc", "/dev", "/sys", "/run/packrunner")
_TRIES = ("--volume ./certs:/certs, read only", "--volume ./cache:/cache:rw")


class Volume(NamedTuple):
    """A directory or file of this machine, by its absolute path, shown at `target`."""

    source: str
    target: str
    writable: bool = False

    @property
    def bindings(self) -> bool:
        """Whether it stands among the service bindings, which are copied and never mounted."""
        return self.target == BINDINGS_DIR or self.target.startswith(f"{BINDINGS_DIR}/")


def parse_volume(text: str, cwd: str, app: str) -> Volume:
    """Read one; `app` is where the application is shown. Raises UsageError (`volume`)."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target:
        raise _wrong(f"{text!r} is not a volume", "it has to be HOST:TARGET, then :ro or :rw")
    if mode not in {"", "ro", "rw"}:
        raise _wrong(f"{text!r} has the mode {mode!r}", "there are ro, the default, and rw")
    if not source.startswith(("/", ".", "~")):
        raise _wrong(
            f"{source!r} is no path",
            "named volumes belong to a Docker engine; here a volume is a directory or a file of this machine",
            f"--volume ./{source}:{target}",
        )
    if any(character < " " for character in text):
        raise _wrong(f"{text!r} has a control character", "paths that are mounted are plain text")
    if not target.startswith("/") or posixpath.normpath(target) != target.rstrip("/"):
        raise _wrong(f"{target!r} is not an absolute path without `..`", "that is where buildpacks see it")
    volume = Volume(
        os.path.normpath(os.path.join(cwd, os.path.expanduser(source))), target.rstrip("/"), writable=mode == "rw"
    )
    _check_target(volume, app)
    return volume


def _check_target(volume: Volume, app: str) -> None:
    target = volume.target
    if volume.bindings:
        if volume.writable:
            raise _wrong(f"{target} cannot be written to", "bindings are copies, which go when the build ends")
        return
    for reserved in (*_RESERVED, app):
        if target == reserved or target.startswith(f"{reserved}/") or reserved.startswith(f"{target}/"):
            raise _wrong(f"a volume cannot be at {target}", f"{reserved} belongs to the build")


def bindings_of(volumes: tuple[Volume, ...]) -> tuple[tuple[str, str], ...]:
    """(name, directory) of the bindings that volumes stand for: one, or every directory of a volume of all."""
    found: list[tuple[str, str]] = []
    for volume in volumes:
        name = volume.target.removeprefix(BINDINGS_DIR).strip("/")
        if not volume.bindings:
            continue
        if "/" in name:
            raise _wrong(f"{volume.target} is inside of a binding", f"a binding is at {BINDINGS_DIR}/NAME")
        if name:
            found.append((name, volume.source))
            continue
        try:
            with os.scandir(volume.source) as entries:
                found += sorted((entry.name, entry.path) for entry in entries if entry.is_dir())
        except OSError as e:
            raise UsageError(f"{volume.source} cannot be read: {e.strerror}", slug="volume") from e
    return tuple(found)


def _wrong(brief: str, cause: str, *tries: str) -> UsageError:
    return UsageError(brief, slug="volume", cause=cause, tries=tries or _TRIES)
