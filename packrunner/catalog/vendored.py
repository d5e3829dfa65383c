"""What a staged buildpack gets of packrunner, where its buildpack.toml asks: the SDK, and the program `reloader`.

    [metadata.packrunner]
    sdk = true        lib/packrunner/sdk/*.py
    reloader = true   lib/packrunner/bin/linux-<arch>/reloader

So a buildpack is complete by itself, and runs under any lifecycle.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.disk import disk_error

if TYPE_CHECKING:
    from packrunner.formats.buildpack import BuildpackDescriptor

PLACE = "lib/packrunner"
RELOADER = "reloader"
_PREFIX = "linux-"


class Wanted(msgspec.Struct, frozen=True):
    """What a buildpack asks for."""

    sdk: bool = False
    reloader: bool = False


def wanted(descriptor: BuildpackDescriptor) -> Wanted:
    """What buildpack.toml asks for."""
    own = descriptor.metadata.get("packrunner")
    if not isinstance(own, dict):
        return Wanted()
    return Wanted(sdk=own.get("sdk") is True, reloader=own.get("reloader") is True)


def lacking(source: str, descriptor: BuildpackDescriptor) -> Wanted:
    """What a buildpack asks for and does not have yet: what was packaged is complete, and stays what it was."""
    asked = wanted(descriptor)
    has_sdk = os.path.isfile(os.path.join(source, PLACE, "sdk", "__init__.py"))
    has_programs = os.path.isdir(os.path.join(source, PLACE, "bin"))
    return Wanted(sdk=asked.sdk and not has_sdk, reloader=asked.reloader and not has_programs)


class Vendored:
    """The files, by their place in a staged tree; read once."""

    def __init__(self, *, sdk_dir: str, programs_dir: str) -> None:
        self._sdk_dir = sdk_dir
        self._programs_dir = programs_dir
        self._sdk: dict[str, bytes] | None = None

    def files(self, of: Wanted) -> dict[str, bytes]:
        """What is only read."""
        return self._sdk_files() if of.sdk else {}

    def programs(self, of: Wanted) -> dict[str, bytes]:
        """What is run: one program for each architecture that this installation has it for."""
        found = {}
        for path, _ in self._reloaders() if of.reloader else ():
            try:
                with open(path, "rb") as file:
                    found[f"{PLACE}/bin/{os.path.relpath(path, self._programs_dir)}"] = file.read()
            except OSError as error:
                raise disk_error(error, path) from error
        return found

    def digest(self, of: Wanted) -> str:
        """Another one when something would be staged otherwise: of the SDK's content, of a stat of the programs."""
        if of == Wanted():
            return "-"
        hashed = hashlib.sha256()
        for path, data in self.files(of).items():
            hashed.update(f"{path} {len(data)}\n".encode() + data)
        for path, st in self._reloaders() if of.reloader else ():
            hashed.update(f"{path} {st.st_ino} {st.st_size} {st.st_mtime_ns}\n".encode())
        return hashed.hexdigest()

    def _reloaders(self) -> list[tuple[str, os.stat_result]]:
        found = []
        try:
            for name in sorted(os.listdir(self._programs_dir)):
                path = os.path.join(self._programs_dir, name, RELOADER)
                if name.startswith(_PREFIX) and os.path.isfile(path):
                    found.append((path, os.stat(path)))
        except OSError as error:
            raise disk_error(error, self._programs_dir) from error
        return found

    def _sdk_files(self) -> dict[str, bytes]:
        if self._sdk is None:
            files = {f"{PLACE}/__init__.py": b""}
            try:
                for name in sorted(os.listdir(self._sdk_dir)):
                    if name.endswith(".py"):
                        with open(os.path.join(self._sdk_dir, name), "rb") as file:
                            files[f"{PLACE}/sdk/{name}"] = file.read()
            except OSError as error:
                raise disk_error(error, self._sdk_dir) from error
            self._sdk = files
        return self._sdk
