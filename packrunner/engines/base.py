"""What an engine is: one verb, `open`, which gives a sandbox that runs commands through the agent.

Paths named `source` are on this host; paths named `target` are inside. A sandbox's root is read-only apart
from /tmp, the user's home and what is mounted writable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from packrunner.images.image import Image

Stream = Literal["stdout", "stderr"]
Network = Literal["host", "none"]
OutputSink = Callable[[Stream, bytes], None]
"""Receives a command's output in the order it was written; may be called from another thread."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A host directory or file shown at `target`; equal `content` names equal content, "" what may change."""

    source: str
    target: str
    writable: bool = False
    content: str = ""


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """A directory shown copy-on-write: writes land in `upper`; `work` is overlayfs's own (same file system).

    Without `writable` both trees are only read.
    """

    lower: str
    upper: str
    work: str
    target: str
    writable: bool = True


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who commands run as inside: the image's numeric user, its home and login name."""

    uid: int = 1000
    gid: int = 1000
    home: str = "/home/cnb"
    name: str = "cnb"


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that an engine needs to open a sandbox.

    `rootfs` is a stack of host directories, lowest first. For engines that cannot show them, `image` is the stored
    image whose layers they are; where `tree` is not "", that is the lowest directory, and of no layer. `trust` adds
    the host's CA bundle and proxy settings. `scratch` lets programs write anywhere in the root, and forgets it at the
    end. `publish` are ports (of this machine, inside) that engines with a network of their own pass on.
    """

    rootfs: tuple[str, ...]
    image: Image | None = None
    tree: str = ""
    user: User = msgspec.field(default_factory=User)
    mounts: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    network: Network = "host"
    trust: bool = True
    scratch: bool = False
    publish: tuple[tuple[int, int], ...] = ()


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One program: argv[0] is an absolute path; `env` is complete, nothing is inherited. `timeout` in seconds.

    `user` is another uid and gid than the sandbox's own, which only a workbench has the right to.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    timeout: float | None = None
    user: tuple[int, int] | None = None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: `code` is its status, or 128 + `signal`; `error` is set when it never started."""

    code: int
    signal: int | None = None
    error: str | None = None
    timed_out: bool = False


class Sandbox(Protocol):
    """A running place, good for any number of commands until its context ends."""

    @property
    def trust_env(self) -> Mapping[str, str]:
        """Variables by which tools find the host's CA bundle and proxy inside; empty without `trust`."""

    @property
    def shared(self) -> bool:
        """Whether writable places are one with this host's: files then have the times at which programs wrote them."""

    def run(self, command: Command, output: OutputSink) -> Exit:
        """Run one command to its end. Raises EngineError when the sandbox itself broke (SBX-29)."""

    def run_all(self, commands: Sequence[tuple[Command, OutputSink]]) -> list[Exit]:
        """Run several commands, some at once; exits are in the order of `commands`."""

    def feed(
        self, command: Command, stdin: Iterable[bytes], output: OutputSink, *, ended: Callable[[], object] | None = None
    ) -> Exit:
        """Run one command that reads `stdin`, to its end; no more is taken from there once it has ended.

        `ended` is called then, from another thread, so that what waits for more to feed can give up.
        """

    def end(self, limit: float) -> None:
        """Ask the commands under way to end, by SIGTERM; returns when they have, or after `limit` seconds."""

    def sweep(self) -> None:
        """Kill every process inside but the agent, and wait until they are gone (SBX-14)."""

    def send(self, *targets: str) -> None:
        """Show what this host changed below writable places since the sandbox was opened, or they were last sent."""

    def fetch(self, *targets: str) -> None:
        """Bring what programs wrote below writable places to the host's side; after `sweep` only.

        Both do nothing where the two sides are one. The end of the sandbox's context fetches everything.
        """


class Engine(Protocol):
    """A way to open sandboxes."""

    name: str

    def open(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        """Open a sandbox; at the end of the context no process of it is alive. Raises EngineError."""


class Workbench(Protocol):
    """A root file system to change: its sandbox's commands are root of a user namespace, never root of this host."""

    def open(self) -> AbstractContextManager[Sandbox]:
        """Open the sandbox; once, what it changes is kept until the workbench ends. Raises EngineError."""

    @property
    def shows_owners(self) -> bool:
        """Whether files belong inside to whom they belong in the image; else all are root's."""

    def pack(self, write: Callable[[bytes], object], below: Mapping[str, tuple[int, int]]) -> Changes:
        """Write what the closed sandbox changed as the tar of a layer, with the owners that it gave.

        `below` says whose files of the image are that are not root's, for where `shows_owners` is false.
        """


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What was packed: how many entries, and sentences about what could not be."""

    entries: int
    warnings: tuple[str, ...] = ()


class Extender(Protocol):
    """An engine that can change root file systems (EXT-11 - EXT-15)."""

    @property
    def ids(self) -> int:
        """How many users and groups there are on a workbench; 1 where all must be root's."""

    def workbench(self, spec: SandboxSpec) -> AbstractContextManager[Workbench]:
        """A workbench for `spec.rootfs`, on which `spec.user` is root. Raises EngineError."""
