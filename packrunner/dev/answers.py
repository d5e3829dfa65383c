"""What was asked of the running application, and what its reloader answers: made into what the user is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner import events
from packrunner.dev import attachment, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from packrunner.dev.doors import Doors
    from packrunner.dev.output import Output

_LAST_LINES = 20


class _Asked(msgspec.Struct, kw_only=True):
    """A request under way; `told` is whether the user knows of its end."""

    paths: tuple[str, ...]
    seen: float
    why: str = ""
    copied: float = 0.0
    ran: list[attachment.Executed] = msgspec.field(default_factory=list)
    restarting: list[str] = msgspec.field(default_factory=list)
    revived: list[str] = msgspec.field(default_factory=list)
    told: bool = False


class Answers:
    """For one version that runs. `settled` is called once, when what was started is up or has ended."""

    def __init__(
        self, doors: Doors, output: Output, *, starting: Iterable[str], attached: bool, settled: Callable[[], object]
    ) -> None:
        self._doors = doors
        self._output = output
        self._starting = set(starting)
        self._attached = attached
        self._settled = settled
        self._down: set[str] = set()
        self._asked: dict[int, _Asked] = {}

    def expect(self, number: int, paths: tuple[str, ...], *, seen: float, why: str = "") -> None:
        """A request was made about these paths, which changed at `seen`; `why` is how the application takes it."""
        self._asked[number] = _Asked(paths=paths, seen=seen, why=why)

    def take(self, event: attachment.Event) -> None:
        """The reloader says something."""
        asked = None if isinstance(event, attachment.Hello | attachment.Crash) else self._asked.get(event.id)
        match event:
            case attachment.Copied():
                self._copied(event, asked)
            case attachment.Executed() if asked:
                asked.ran.append(event)
            case attachment.Restarting():
                self._output.starting(event.process)
                if asked:
                    asked.restarting.append(event.process)
            case attachment.Up():
                self._output.up(event.process)
                self._up(event, asked)
            case attachment.Crash():
                self.crashed(event.process, wording.ended(event.process, event.code, event.signal))
            case attachment.Done() if asked:
                self._done(event, asked)
            case attachment.Failed():
                self._asked.pop(event.id, None)
                self._doors.reporter.emit(events.Warned(text=f"the reloader cannot do that: {event.why}"))
            case _:
                pass

    def crashed(self, process: str, how: str) -> None:
        """A process ended, which it should not."""
        for asked in self._asked.values():
            if process in asked.restarting and not asked.told:
                # Which change it was comes first.
                asked.told = True
                self._tell("restart", asked, process, self._doors.clock())
        last = self._output.last_words(process)
        self._doors.reporter.emit(
            events.Happened(
                action="crash",
                subject=how,
                detail="waiting for a change (r: try again)" if self._attached else "b: build it again",
                source=process,
                lines=last,
            )
        )
        self._doors.browser.failed(how, "\n".join(last))
        self._down.add(process)
        self._started(process)

    def _copied(self, event: attachment.Copied, asked: _Asked | None) -> None:
        if asked:
            asked.copied = self._doors.clock()
        for refused in event.failed:
            self._doors.reporter.emit(events.Warned(text=f"{refused.path} is not in the application: {refused.why}"))
        self._doors.source.failed(refused.path for refused in event.failed)

    def _up(self, event: attachment.Up, asked: _Asked | None) -> None:
        if event.process in self._down:
            self._down.remove(event.process)
            if asked:
                asked.revived.append(event.process)
            else:
                self._doors.reporter.emit(
                    events.Happened(
                        action="restart", subject=event.process, detail="is up again", seconds=event.ms / 1000
                    )
                )
                self._doors.browser.refresh()
        self._started(event.process)

    def _started(self, process: str) -> None:
        if process in self._starting:
            self._starting.remove(process)
            if not self._starting:
                self._settled()

    def _done(self, event: attachment.Done, asked: _Asked) -> None:
        del self._asked[event.id]
        broken = [ran for ran in asked.ran if ran.code]
        for ran in broken:
            self._broken(ran, asked)
        if broken or asked.told:
            return
        now = self._doors.clock()
        if asked.revived:
            self._tell("sync", asked, f"{', '.join(asked.revived)} is up again", now)
        elif event.restarted:
            self._tell("restart", asked, ", ".join(event.restarted), now)
        elif event.self:
            how = asked.why or f"{', '.join(event.self)} takes it by itself"
            self._tell("sync", asked, how, asked.copied or now)
        else:
            self._tell("sync", asked, "no restart needed", asked.copied or now)
        self._doors.browser.refresh("styles" if all(path.endswith(".css") for path in asked.paths) else "page")

    def _tell(self, action: str, asked: _Asked, detail: str, until: float) -> None:
        after = "".join(f", after {' '.join(ran.command)}" for ran in asked.ran)
        self._doors.reporter.emit(
            events.Happened(
                action=action,
                subject=wording.subject(asked.paths),
                detail=detail + after,
                seconds=max(0.0, until - asked.seen),
            )
        )

    def _broken(self, ran: attachment.Executed, asked: _Asked) -> None:
        self._doors.reporter.emit(
            events.Happened(
                action="failed",
                subject=wording.subject(asked.paths),
                detail=f"{' '.join(ran.command)} ended with {ran.code}, nothing restarted",
                seconds=ran.ms / 1000,
                source=os.path.basename(ran.command[0]) if ran.command else "",
                lines=tuple(ran.output.splitlines()[-_LAST_LINES:]),
            )
        )
