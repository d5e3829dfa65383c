"""A container with the agent in it, as those who run commands see it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from packrunner.engines.agent import AgentClient
    from packrunner.engines.base import Command, Exit, OutputSink
    from packrunner.engines.docker.twin import Twin


class ContainerSandbox:
    """A container and the agent in it; see `engines.base.Sandbox`."""

    def __init__(self, client: AgentClient, trust_env: Mapping[str, str], twins: Mapping[str, Twin]) -> None:
        self._client = client
        self._trust_env = dict(trust_env)
        self._twins = twins
        self._stale = set(twins)
        """Places where programs may have written something that this host has not."""
        self.has_failed = False
        """Whether the caller has been told that the container broke."""

    @property
    def trust_env(self) -> Mapping[str, str]:
        """Variables by which tools find the host's CA bundle and proxy inside; empty without `trust`."""
        return self._trust_env

    @property
    def shared(self) -> bool:
        """Never: files are copied."""
        return False

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end. Raises EngineError when the container broke (SBX-29, K8S-12)."""
        self._stale = set(self._twins)
        with self._noticed():
            return self._client.run(command, output)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        """Run several commands, some at once; exits are in the order of `commands`."""
        self._stale = set(self._twins)
        with self._noticed():
            return self._client.run_all(commands)

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        """Run one command that reads `stdin`, to its end; `ended` is called then."""
        self._stale = set(self._twins)
        with self._noticed():
            return self._client.feed(command, stdin, output, ended=ended)

    def end(self, limit: float) -> None:
        """Ask the commands under way to end, by SIGTERM; returns when they have, or after `limit` seconds."""
        with self._noticed():
            self._client.end(limit)

    def sweep(self) -> None:
        """Kill every process inside but the agent, and wait until they are gone (SBX-14)."""
        with self._noticed():
            self._client.sweep()

    def send(self, *targets: str) -> None:
        """Show what this host changed below writable places since they were last sent."""
        with self._noticed():
            self._each(lambda twin: twin.send(self._client), [twin for twin, _ in self._meant(targets)])

    def fetch(self, *targets: str) -> None:
        """Bring what programs wrote below writable places to this host; after `sweep` only (K8S-13)."""
        with self._noticed():
            for twin, place in self._meant(targets):
                if twin.target not in self._stale:
                    continue
                twin.fetch(self._client, place)
                if not place:
                    self._stale.discard(twin.target)

    def begin(self) -> None:
        """Make the inside equal to this host."""

        def meet(twin: Twin) -> None:
            twin.meet(self._client)
            twin.send(self._client)

        self._each(meet, list(self._twins.values()))
        self._stale.clear()

    def finish(self) -> None:
        """Bring everything to this host, unless it was said already why that cannot be."""
        if self.has_failed:
            return
        self.sweep()
        self.fetch(*self._twins)
        for twin in self._twins.values():
            twin.keep()

    def _each(self, work: Callable[[Twin], None], twins: Sequence[Twin]) -> None:
        """Work on several places at once: most of the time the other side is waited for."""
        if len(twins) < 2:
            for twin in twins:
                work(twin)
            return
        pool = ThreadPoolExecutor(len(twins), thread_name_prefix="docker-twin")
        try:
            for _ in pool.map(work, twins):
                pass
        except BaseException:
            # Not waited for: what ends the container ends them too.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except EngineError:
            self.has_failed = True
            raise

    def _meant(self, targets: Sequence[str]) -> Iterator[tuple[Twin, str]]:
        for target in targets:
            for place, twin in self._twins.items():
                if target == place or target.startswith(f"{place}/"):
                    yield twin, target[len(place) + 1 :]
