"""A container that somebody else runs: its description, its output, and a command in it that is fed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.engines.base import Exit
from packrunner.engines.docker.channel import Channel
from packrunner.errors import EngineError
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from packrunner.engines.base import OutputSink
    from packrunner.images.daemon import Daemon

_STEP = 1 << 16


class Visited(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a container: its labels are those of its image, and its own."""

    id: str
    name: str
    image: str
    labels: dict[str, str]
    directory: str


class Visit:
    """A running container. Raises EngineError: `container-unknown`, and what Dockerd raises."""

    def __init__(self, daemon: Daemon, container: str) -> None:
        self._daemon = daemon
        self.about = self._looked_up(container)

    def feed(
        self, argv: Sequence[str], stdin: Iterable[bytes], output: OutputSink, ended: Callable[[], object]
    ) -> Exit:
        """Run a command in the container, as its user and with its environment; see `Sandbox.feed`."""
        api = self._daemon.api
        with self._daemon.translated():
            made = api.exec_create(self.about.id, list(argv), stdin=True, stdout=True, stderr=True)
            attached = api.exec_start(made["Id"], socket=True)
        channel = Channel(attached)
        reader = Worker(lambda: _read(channel, output, ended), "exec-output")
        try:
            reader.start()
            # It may have ended: then it says why.
            with contextlib.suppress(OSError):
                for data in stdin:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(channel.to_agent, view) :]
        finally:
            channel.hang_up()
            reader.wait()
            for line in channel.said():
                output("stderr", line.encode() + b"\n")
            channel.close()
        with self._daemon.translated():
            code = api.exec_inspect(made["Id"]).get("ExitCode")
        return Exit(code=code if isinstance(code, int) else 0)

    def follow(self, output: OutputSink) -> None:
        """Pass on what the container writes from now on, until it ends."""
        with self._daemon.translated():
            for out, err in self._daemon.api.attach(
                self.about.id, stdout=True, stderr=True, stream=True, logs=False, demux=True
            ):
                if out:
                    output("stdout", out)
                if err:
                    output("stderr", err)

    def _looked_up(self, container: str) -> Visited:
        from docker.errors import NotFound

        with self._daemon.translated():
            try:
                found: dict[str, Any] = self._daemon.api.inspect_container(container)
            except NotFound:
                raise _unknown(container, "the Docker engine has none of this name") from None
        if not found["State"].get("Running"):
            raise _unknown(container, "it does not run")
        config = found["Config"]
        return Visited(
            id=found["Id"],
            name=found["Name"].lstrip("/"),
            image=config.get("Image") or found["Image"],
            labels=config.get("Labels") or {},
            directory=config.get("WorkingDir") or "/workspace",
        )


def _unknown(container: str, cause: str) -> EngineError:
    return EngineError(
        f"there is no container {container} to bring changes into",
        slug="container-unknown",
        cause=cause,
        tries=("docker ps", "packrunner dev, which runs one itself"),
    )


def _read(channel: Channel, output: OutputSink, ended: Callable[[], object]) -> None:
    while data := os.read(channel.from_agent, _STEP):
        output("stdout", data)
    ended()
