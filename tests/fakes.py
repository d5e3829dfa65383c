"""Hand-written stand-ins for the seams: a sandbox whose programs are Python functions, a reporter that remembers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from packrunner.engines.base import Command, Exit, OutputSink, Sandbox, SandboxSpec
from packrunner.events import Event

E = TypeVar("E", bound=Event)


@dataclass
class Call:
    """What a fake program sees: its command, its output, and the host paths behind the paths inside."""

    command: Command
    output: OutputSink
    mounts: Mapping[str, str]
    stdin: Iterable[bytes] = ()

    @property
    def env(self) -> Mapping[str, str]:
        """The exact environment of the command."""
        return self.command.env

    @property
    def args(self) -> tuple[str, ...]:
        """The arguments after the program's own path."""
        return self.command.argv[1:]

    def host(self, inside: str) -> str:
        """The host path of a path inside, by the longest mount that holds it."""
        for target in sorted(self.mounts, key=len, reverse=True):
            if inside == target or inside.startswith(target + "/"):
                return self.mounts[target] + inside[len(target) :]
        raise AssertionError(f"{inside} is in no mount: {sorted(self.mounts)}")

    def path(self, relative: str) -> str:
        """The host path of something in the buildpack's layers directory (its first argument)."""
        return os.path.join(self.host(self.args[0]), relative)

    def write(self, relative: str, text: str | bytes = "", *, mode: int = 0o644) -> str:
        """Write a file into the buildpack's layers directory, making parents; returns its host path."""
        path = self.path(relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        os.chmod(path, mode)
        return path

    def read(self, inside: str) -> str:
        """The text of a file, by its path inside."""
        with open(self.host(inside), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()

    def say(self, text: str) -> None:
        """Write to the standard output."""
        self.output("stdout", text.encode())


Program = Callable[[Call], int | Exit | None]
"""A fake program: acts on host paths, returns its exit code; None is 0."""


@dataclass
class FakeSandbox:
    """A sandbox that runs `programs`, found by the absolute path in argv[0]; records what it was asked to do.

    `mounts` maps paths inside to host directories. `on_sweep` stands for processes that act until they are killed.
    """

    programs: Mapping[str, Program]
    mounts: Mapping[str, str] = field(default_factory=dict)
    trust: Mapping[str, str] = field(default_factory=dict)
    on_sweep: Callable[[], object] | None = None
    commands: list[Command] = field(default_factory=list)
    sweeps: int = 0
    ends: int = 0
    sent: list[tuple[str, ...]] = field(default_factory=list)
    fetched: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        """As in sandboxes of this machine."""
        return True

    @property
    def trust_env(self) -> Mapping[str, str]:
        return self.trust

    def run(self, command: Command, output: OutputSink) -> Exit:
        return self.feed(command, (), output)

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        self.commands.append(command)
        program = self.programs.get(command.argv[0])
        if program is None:
            return Exit(code=127, error=f"{command.argv[0]}: no such file")
        exit_ = program(Call(command=command, output=output, mounts=self.mounts, stdin=stdin))
        if ended:
            ended()
        return exit_ if isinstance(exit_, Exit) else Exit(code=exit_ or 0)

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        return [self.run(command, output) for command, output in commands]

    def end(self, limit: float) -> None:
        self.ends += 1

    def sweep(self) -> None:
        self.sweeps += 1
        if self.on_sweep is not None:
            self.on_sweep()

    def send(self, *targets: str) -> None:
        self.sent.append(targets)

    def fetch(self, *targets: str) -> None:
        self.fetched.append(targets)


@dataclass
class FakeEngine:
    """An engine whose sandbox is a FakeSandbox with the mounts and overlays of the specification it is opened with."""

    programs: Mapping[str, Program] = field(default_factory=dict)
    name: str = "fake"
    specs: list[SandboxSpec] = field(default_factory=list)
    sandboxes: list[FakeSandbox] = field(default_factory=list)

    @contextmanager
    def open(self, spec: SandboxSpec) -> Iterator[Sandbox]:
        self.specs.append(spec)
        mounts = {m.target: m.source for m in spec.mounts} | {o.target: o.lower for o in spec.overlays}
        sandbox = FakeSandbox(programs=self.programs, mounts=mounts)
        self.sandboxes.append(sandbox)
        yield sandbox


@dataclass
class FakeReporter:
    """Remembers every event."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]
