"""What a build tells its user: a handful of typed events, and the Protocol that receives them.

Core code logs for debugging and emits these for people; console.py renders them. Sizes are bytes, times seconds.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class BuildStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what is built, from where, with which builder and engine."""

    name: str
    source: str
    builder: str
    engine: str
    note: str = ""


class StepStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A step begins: `phase` (8 columns), `subject` (20), `detail`."""

    phase: str
    subject: str
    detail: str = ""


class StepProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The running step has come further; `done` and `total` are bytes or counts, named in `detail`."""

    detail: str
    done: int = 0
    total: int = 0


class StepDone(msgspec.Struct, frozen=True, kw_only=True):
    """The step's one final line, in the past tense."""

    phase: str
    subject: str
    detail: str
    seconds: float


class LayerReported(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of the buildpack that just ran: reused or new, and why; size in bytes where known."""

    name: str
    detail: str
    size: int | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else's output, verbatim; `source` is the short name of the buildpack, or a process. `detail` is for -v
    and the log; `again`: a process wrote the same when it was started the last time.
    """

    source: str
    stream: Literal["stdout", "stderr"]
    data: bytes
    detail: bool = False
    again: bool = False


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Which source files differ from the last build."""

    paths: tuple[str, ...]
    total: int


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """Something the reader can change, with the change."""

    text: str
    hint: str = ""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """Free information; shown by default when `always`, else with -v."""

    text: str
    always: bool = False


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last line on stderr; `hint` is shown on an application's first build only."""

    text: str
    hint: str = ""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """`packrunner dev`: the application runs; `places` are its processes and where they are found, "" for nowhere.

    `rules` says what becomes of changed files, `keys` what can be pressed, "" where nothing can.
    """

    name: str
    note: str
    seconds: float
    places: tuple[tuple[str, str], ...]
    rules: str
    keys: str = ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """`packrunner dev`: one thing that happened to the running application; `seconds` are from the save on.

    `action` is one word: sync, restart, rebuild, ready, crash, failed. `source` and `lines` are somebody's last words.
    """

    action: str
    subject: str
    detail: str = ""
    seconds: float | None = None
    source: str = ""
    lines: tuple[str, ...] = ()


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that are in no output from here on: it is never shown or recorded itself."""

    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "Hidden(...)"


Event = (
    BuildStarted
    | StepStarted
    | StepProgress
    | StepDone
    | LayerReported
    | Output
    | Changed
    | Warned
    | Noted
    | Finished
    | Ready
    | Happened
    | Hidden
)


class Reporter(Protocol):
    """Receives events, from any thread."""

    def emit(self, event: Event) -> None:
        """Show or record the event; never raises for a closed or full terminal."""
