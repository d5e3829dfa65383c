"""A container's life: made, given the agent, attached to, started; and always removed.

Two things that it is made of can be gone without notice, since others may clean up the engine: the build image (K8S-14)
and the agent's volume. Then they are put there again, once.
"""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from packrunner.engines.docker.channel import Channel
from packrunner.engines.docker.container import RUN_DIRECTORY, Volume
from packrunner.errors import EngineError
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.engines.docker.agentfiles import AgentFiles
    from packrunner.images.daemon import Daemon

    Body = Callable[[Volume], dict[str, Any]]
    """What a container is made of, given the agent's volume."""


class Lifetime:
    """Starts and removes containers of one engine."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._removals: list[Worker] = []

    def close(self) -> None:
        """Wait until every container whose use has ended is removed."""
        while self._removals:
            self._removals.pop().wait()

    @contextmanager
    def started(self, body: Body, files: AgentFiles) -> Iterator[tuple[str, Channel]]:
        """A started container and its streams. At the end it is dead at once, and removed by `close` at the latest."""
        container = self._made(body, files)
        try:
            channel, container = self._running(container, body, files)
            try:
                yield container, channel
            finally:
                channel.close()
        finally:
            thread = Worker(lambda: self.remove(container), "docker-remove")
            self._removals.append(thread)
            try:
                thread.start()
            except BaseException:
                # A stop just now: the thread may do nothing.
                self.remove(container)
                raise

    def remove(self, container: str) -> None:
        """Remove it; where the engine is gone meanwhile, our next start does."""
        with contextlib.suppress(EngineError), self._daemon.translated():
            self._daemon.check()
            self._daemon.api.remove_container(container, v=True, force=True)

    def why_ended(self, container: str, channel: Channel) -> EngineError:
        """Why the agent's stream ended without a farewell (K8S-12)."""
        cause = "the Docker engine closed the connection"
        try:
            self._daemon.check()
            self._daemon.check()
            with self._daemon.translated():
                state: dict[str, Any] = self._daemon.api.inspect_container(container)["State"]
        except EngineError as e:
            cause = f"the Docker engine went away: {e.cause or e.brief}"
        else:
            if state.get("OOMKilled"):
                cause = "the container ran out of memory"
            elif not state.get("Running"):
                error = state.get("Error")
                cause = f"the container ended with {state.get('ExitCode')}{f': {error}'[:500] if error else ''}"
        return EngineError(
            "the container ended before its command did", slug="sandbox-died", cause=cause, foreign=channel.said()
        )

    def _made(self, body: Body, files: AgentFiles) -> str:
        """A container with the agent in it, not started."""
        filled, volume = files.are_there, files.volume
        try:
            container = self._created(body(volume))
        except EngineError as e:
            if "no such image" not in (e.cause or "").lower():
                raise
            # Pruned in the moment since it was seen.
            container = self._created(body(volume))
        if filled:
            return container
        with self._daemon.translated():
            try:
                self._daemon.api.put_archive(container, RUN_DIRECTORY, files.archive())
            except BaseException:
                self.remove(container)
                raise
        files.note(filled=True)
        return container

    def _created(self, body: dict[str, Any]) -> str:
        with self._daemon.translated():
            return str(self._daemon.api.create_container_from_config(body)["Id"])

    def _running(self, container: str, body: Body, files: AgentFiles) -> tuple[Channel, str]:
        """The container started, or another one where the agent's volume turned out to be empty."""
        try:
            return self._attached(container), container
        except EngineError as e:
            if not (e.slug == "docker-api" and "no such file" in (e.cause or "")):
                raise
        files.note(filled=False)
        self.remove(container)
        container = self._made(body, files)
        try:
            return self._attached(container), container
        except BaseException:
            self.remove(container)
            raise

    def _attached(self, container: str) -> Channel:
        api = self._daemon.api
        with self._daemon.translated():
            # Before the start, so that nothing of what it says is lost (K8S-12).
            attached = api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        channel = Channel(attached)
        try:
            with self._daemon.translated():
                api.start(container)
        except BaseException:
            channel.close()
            raise
        return channel
