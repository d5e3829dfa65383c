"""What a session of `packrunner dev` hears and what it works with; see session.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from packrunner.dev.changes import Batch, Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from packrunner.dev.attachment import Event
    from packrunner.errors import PackrunnerError
    from packrunner.events import Reporter
    from packrunner.formats.sync import SyncRules


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the application: `line` is name@digest in short, `summary` what is new in it, `built` when."""

    line: str
    image: str = ""
    """By what the store finds it."""
    rules: SyncRules | None
    app: str = "/workspace"
    summary: str = ""
    built: float = 0.0
    fresh: bool = True
    """Whether it was made just now: nothing had changed otherwise."""


class Heard(msgspec.Struct, frozen=True):
    """The reloader says something; `run` numbers the versions that were started."""

    run: int
    event: Event


class Said(msgspec.Struct, frozen=True):
    """A process writes."""

    run: int
    process: str
    stream: Literal["stdout", "stderr"]
    data: bytes


class Ended(msgspec.Struct, frozen=True):
    """A process that nobody starts again has ended, or could not be started."""

    run: int
    process: str
    code: int
    signal: int = 0
    error: str = ""


class Lost(msgspec.Struct, frozen=True):
    """The place in which the application runs, or the way into it, is broken."""

    run: int
    error: PackrunnerError


class Built(msgspec.Struct, frozen=True):
    """A build has ended well."""

    version: Version


class Unbuilt(msgspec.Struct, frozen=True):
    """A build has failed."""

    error: PackrunnerError


class Over(msgspec.Struct, frozen=True):
    """Something without which it cannot go on."""

    error: PackrunnerError


class Key(msgspec.Struct, frozen=True):
    """A key was pressed."""

    name: str


Item = Batch | Heard | Said | Ended | Lost | Built | Unbuilt | Over | Key


class Source(Protocol):
    """The application's files, and what is known of what the other side has (dev/tree.py)."""

    def mark(self) -> int:
        """Now, for `since`."""

    def since(self, mark: int) -> tuple[Change, ...]:
        """Every path that was touched after the mark, as it is now."""

    def failed(self, paths: Iterable[str]) -> None:
        """The other side does not have these."""


class Running(Protocol):
    """A version that runs."""

    @property
    def attached(self) -> bool:
        """Whether changes can be sent to it."""

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that were started."""

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Its processes and where they are found."""

    def send(self, changes: Sequence[Change], dest: str = "") -> int:
        """Have changes made, below the application or below `dest`; the number by which events refer to this."""

    def restart(self, processes: Sequence[str] = ()) -> int:
        """Have processes started again."""

    def close(self) -> None:
        """End it."""


class Browser(Protocol):
    """Who shows the application (dev/proxy.py)."""

    def refresh(self, kind: Literal["page", "styles"] = "page") -> None:
        """Show it again."""

    def failed(self, title: str, text: str) -> None:
        """Say why it is not there."""


class Nobody:
    """No browser."""

    def refresh(self, kind: Literal["page", "styles"] = "page") -> None:
        """Nothing."""

    def failed(self, title: str, text: str) -> None:
        """Nothing."""


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """What a session works with.

    `start` runs a version, whose number is given; `build` makes one and puts what came of it into the queue, None
    where somebody else makes images. `problem` shows an error that does not end the session.
    """

    source: Source
    start: Callable[[Version, int], Running]
    build: Callable[[], object] | None
    reporter: Reporter
    problem: Callable[[PackrunnerError], object]
    browser: Browser = msgspec.field(default_factory=Nobody)
    clock: Callable[[], float] = time.monotonic
