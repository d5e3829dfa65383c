"""An application's image in a test: built as its users build it, started, asked.

The application is built where it is, under a name that its path and buildpacks give it: a test that runs again finds
its layers, and most of the time that nothing changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

    from packrunner.testing.buildpack import Buildpack

_COMMAND = (sys.executable, "-c", "import sys; from packrunner.start import main; sys.exit(main())")
_PATIENCE = 30.0
"""Seconds until an application has to answer."""


class ApplicationError(AssertionError):
    """The image could not be built, or the application did not do what was asked; with what was printed."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the application; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Application:
    """A built image; `output` is what the build told, `image` what `packrunner inspect --json` says of it."""

    def __init__(self, name: str, *, output: str) -> None:
        self.name = name
        self.output = output
        self.image: dict[str, Any] = json.loads(_packrunner("inspect", name, "--json").stdout)

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """What can be started, by type: command, args, whether it is the default."""
        return {one["type"]: one for one in self.image["processes"]}

    def run(self, *command: str) -> str:
        """Run a program in the image, with the environment of the launch; what it prints. It has to succeed."""
        return _packrunner("run", self.name, "--command", "--", *command).stdout

    @contextmanager
    def start(
        self, process: str = "", *, env: Mapping[str, str] | None = None, port: int | None = None
    ) -> Iterator[Running]:
        """Start a process, the default one unless named. It finds a free port in `PORT`.

        One that always listens at the same is reached through a free one, if that `port` is given.
        """
        own = _free_port()
        args = ["run", self.name, *(["--process", process] if process else [])]
        args += ["--publish", f"{own}:{port}"] if port else ["-e", f"PORT={own}"]
        for name, value in (env or {}).items():
            args += ["-e", f"{name}={value}"]
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen(
                [*_COMMAND, *args], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                yield Running(child, output, own)
            finally:
                child.terminate()
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


class Running:
    """A started process; `port` is where it is reached on this machine."""

    def __init__(self, child: subprocess.Popen[bytes], output: IO[bytes], port: int) -> None:
        self.port = port
        self._child = child
        self._file = output

    @property
    def output(self) -> str:
        """What it has printed so far."""
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode(errors="replace")

    def get(self, path: str = "/", *, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for a path until there is an answer, whatever its status. Raises ApplicationError when none comes."""
        from http.client import HTTPConnection, HTTPException

        until = time.monotonic() + _PATIENCE
        while True:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
            try:
                connection.request("GET", path, headers=dict(headers or {}))
                found = connection.getresponse()
                headers = {name.lower(): value for name, value in found.getheaders()}
                return Response(status=found.status, headers=headers, body=found.read())
            except (OSError, HTTPException) as error:
                self._check(until, error)
            finally:
                connection.close()
            time.sleep(0.02)

    def wait(self) -> int:
        """Wait for its end; the exit code. For processes that end by themselves."""
        return self._child.wait(_PATIENCE)

    def _check(self, until: float, error: Exception) -> None:
        code = self._child.poll()
        if code is not None:
            raise ApplicationError(f"{self.output}\nthe process ended with {code}") from error
        if time.monotonic() > until:
            raise ApplicationError(f"{self.output}\nno answer at port {self.port} within {_PATIENCE:.0f} s") from error


def build(
    directory: Path, *, near: Path, buildpacks: Sequence[str | Path | Buildpack] = (), args: Sequence[str] = ()
) -> Application:
    """Build the application in `directory`. Raises ApplicationError, with the story, when that fails.

    A buildpack is one under test, a directory from `near` (a Path, or a text that starts with a point), or what
    `packrunner build --buildpack` takes; `args` are further ones of that command.
    """
    source = directory.resolve()
    chosen = [_buildpack(one, near) for one in buildpacks]
    key = hashlib.sha256("\0".join([str(source), *chosen, *args]).encode()).hexdigest()[:12]
    name = f"packrunner-test/{key}"
    flags = [flag for one in chosen for flag in ("--buildpack", one)]
    ended = _packrunner("build", name, "--path", str(source), *flags, *args)
    return Application(name, output=ended.stderr)


def _buildpack(one: str | Path | Buildpack, near: Path) -> str:
    if isinstance(one, str):
        return str((near / one).resolve()) if one.startswith((".", "/")) else one
    return str((near / (one if isinstance(one, Path) else one.source)).resolve())


def _packrunner(*args: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [*_COMMAND, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if ended.returncode:
        raise ApplicationError(
            f"{ended.stdout}{ended.stderr}\npackrunner {' '.join(args)} ended with {ended.returncode}"
        )
    return ended


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
