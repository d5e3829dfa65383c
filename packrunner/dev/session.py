"""What `packrunner dev` does: one loop that hears of changed files, of the running application, of builds and of keys.

Everything that happens is put into one queue and taken from it by one thread, so that nothing here needs a lock:

    watcher ──batches──►┐                      ┌──► the running application (send, restart)
    application ─events─┤   Session.handle     ├──► builds, one at a time
    builds ────results──┤   (this thread)      ├──► the reporter
    terminal ──keys─────┘                      └──► the source: what the application should have

A change is ignored, sent, or needs a rebuild; while that runs, the old version serves and is given what it can take.
What was touched since a build began, its image may not have: it is sent to the new version (LIV-14).
"""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner import events
from packrunner.dev import attachment, wording
from packrunner.dev.changes import Batch
from packrunner.dev.doors import Built, Ended, Heard, Key, Lost, Said, Unbuilt
from packrunner.dev.output import Output
from packrunner.dev.rules import decide
from packrunner.dev.tracebacks import HELD
from packrunner.errors import PackrunnerError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.dev.changes import Change
    from packrunner.dev.doors import Doors, Item, Running, Version


class _Sent(msgspec.Struct, kw_only=True):
    """A request under way."""

    paths: tuple[str, ...]
    seen: float
    why: str = ""
    copied: float = 0.0
    ran: list[attachment.Executed] = msgspec.field(default_factory=list)


class Session:
    """See the module. `queue` takes what happens, from any thread."""

    def __init__(self, doors: Doors, *, name: str, keys: str = "") -> None:
        self.queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._doors = doors
        self._name = name
        self._keys = keys
        self._number = 0
        self._version: Version | None = None
        self._app: Running | None = None
        self._starting: set[str] = set()
        self._down: set[str] = set()
        self._sent: dict[int, _Sent] = {}
        self._lines: dict[tuple[str, str], Lines] = {}
        self._partial: dict[tuple[str, str], bytes] = {}
        self._building_mark: int | None = None
        self._mark = 0
        self._again: dict[str, float] = {}
        self._cause = 0.0
        self._ready: Callable[[float], events.Ready | events.Happened] | None = None
        self._stop = False

    def run(self, version: Version, *, began: float, mark: int) -> None:
        """Serve until it is told to quit. `mark` is from before the version was built, `began` when all this began.

        Whatever ends it, nothing runs afterwards.
        """
        try:
            self._swap(version, mark, began, self._first)
            while not self._stop:
                self._step()
        except StoppedError as stop:
            stop.kept = stop.kept or self.farewell()
            raise
        finally:
            if self._app:
                self._app.close()

    def farewell(self) -> str:
        """What is left when it ends: the image, and what it does not have."""
        if self._version is None:
            return ""
        clock = time.strftime("%H:%M", time.localtime(self._version.built))
        later = len({change.path for change in self._doors.source.since(self._mark) if change.kind != "dir"})
        text = f"{self._version.line} is the image as of {clock}"
        if not later:
            return f"{text}."
        return f"{text}; {later} later {'change is' if later == 1 else 'changes are'} only in your files."

    def _step(self) -> None:
        holding = any(lines.holding for lines in self._lines.values())
        try:
            item = self.queue.get(timeout=HELD if holding else None)
        except queue.Empty:
            self._release()
        else:
            self.handle(item)

    def handle(self, item: Item) -> None:
        """Take one thing that happened."""
        if isinstance(item, Heard | Said | Ended | Lost) and item.run != self._number:
            return  # of a version that is gone
        match item:
            case Batch():
                self._changed(item)
            case Heard():
                self._heard(item.event)
            case Said():
                self._said(item)
            case Ended():
                self._crashed(item.process, item.code, item.signal, item.error)
            case Lost():
                self._lost(item.error)
            case Built():
                self._built(item.version)
            case Unbuilt():
                self._unbuilt(item.error)
            case Key():
                self._pressed(item.name)

    # Changes

    def _changed(self, batch: Batch) -> None:
        rules = self._version.rules if self._version else None
        sent: list[Change] = []
        rebuild: list[str] = []
        whys: set[str] = set()
        for change in batch.changes:
            rule = decide(rules, change.path) if rules else None
            if rule is not None and rule.action == "ignore":
                continue
            if change.kind == "dir" or (rule is not None and rule.action != "rebuild"):
                # A directory alone is nothing that a program could tell from none; it comes along.
                sent.append(change)
                whys.add(rule.why if rule and rule.action == "reload" else "")
            else:
                rebuild.append(change.path)
        if sent and self._app and self._app.attached:
            number = self._app.send(sent)
            why = whys.pop() if len(whys) == 1 else ""
            paths = tuple(c.path for c in sent if c.kind != "dir") or tuple(c.path for c in sent)
            self._sent[number] = _Sent(paths=paths, seen=batch.seen, why=why)
        elif any(change.kind != "dir" for change in sent):
            rebuild = [change.path for change in batch.changes if change.kind != "dir"]
        if rebuild:
            self._rebuild(rebuild, batch.seen)

    def _rebuild(self, paths: Sequence[str], seen: float) -> None:
        if self._doors.build is None:
            self._happened("rebuild", wording.subject(paths), "needed: this container is not ours to build")
            return
        if self._building_mark is not None:
            # One at a time, and one more with everything that came meanwhile (LIV-14).
            for path in paths:
                self._again.setdefault(path, seen)
            return
        self._happened("rebuild", wording.subject(paths), "the old version serves" if self._app else "")
        self._cause = seen
        self._building_mark = self._doors.source.mark()
        self._doors.build()

    def _built(self, version: Version) -> None:
        mark, self._building_mark = self._building_mark, None
        assert mark is not None
        again, self._again = self._again, {}
        self._swap(version, mark, self._cause, self._renewed)
        if again:
            self._rebuild(tuple(again), min(again.values()))

    def _unbuilt(self, error: PackrunnerError) -> None:
        self._building_mark = None
        again, self._again = self._again, {}
        self._doors.reporter.emit(events.Broke(error=error))
        self._happened("failed", "rebuild", "the old version still serves" if self._app else "")
        if again:
            self._rebuild(tuple(again), min(again.values()))

    # Versions

    def _swap(
        self,
        version: Version,
        mark: int,
        since: float,
        ready: Callable[[float], events.Ready | events.Happened],
    ) -> None:
        """End the old version, start the new one, and give it what was touched since its build began."""
        self._release()
        old, self._app = self._app, None
        self._number += 1
        if old:
            old.close()
        self._version, self._mark = version, mark
        self._sent, self._lines, self._partial, self._down = {}, {}, {}, set()
        try:
            self._app = self._doors.start(version, self._number)
        except StoppedError:
            raise
        except PackrunnerError as error:
            if old is None:
                raise
            self._doors.reporter.emit(events.Broke(error=error))
            self._happened("failed", version.line, "it could not be started")
            return
        self._starting = set(self._app.processes)
        self._ready, self._since = ready, since
        late = self._doors.source.since(mark)
        if late:
            self._changed(Batch(changes=late, seen=self._doors.clock()))
        if not self._app.attached:
            self._settled()

    def _settled(self) -> None:
        """Every process is up, or has had its chance."""
        ready, self._ready = self._ready, None
        if ready is None:
            return
        self._doors.reporter.emit(ready(self._doors.clock() - self._since))
        self._doors.browser.refresh()

    def _first(self, seconds: float) -> events.Ready:
        assert self._app
        assert self._version
        return events.Ready(
            name=self._name,
            note="" if self._version.fresh else "image kept, nothing changed",
            seconds=seconds,
            places=self._app.places,
            rules=wording.rules_line(self._version.rules),
            keys=self._keys,
        )

    def _renewed(self, seconds: float) -> events.Happened:
        assert self._app
        assert self._version
        return events.Happened(
            action="ready",
            subject=self._version.summary or self._version.line,
            detail=", ".join(self._app.processes),
            seconds=seconds,
        )

    def _lost(self, error: PackrunnerError) -> None:
        old, self._app = self._app, None
        self._number += 1
        if old:
            old.close()
        self._doors.reporter.emit(events.Broke(error=error))
        self._happened("crash", self._name, "b: build and start it again")

    # What the reloader says

    def _heard(self, event: attachment.Event) -> None:  # noqa: C901  one arm per event
        match event:
            case attachment.Copied():
                self._copied(event)
            case attachment.Executed():
                if sent := self._sent.get(event.id):
                    sent.ran.append(event)
            case attachment.Up():
                self._up(event)
            case attachment.Crash():
                self._crashed(event.process, event.code, event.signal)
            case attachment.Done():
                self._done(event)
            case attachment.Failed():
                self._sent.pop(event.id, None)
                self._doors.reporter.emit(events.Warned(text=f"the reloader cannot do that: {event.why}"))
            case attachment.Hello() | attachment.Restarting() | attachment.Manifest():
                pass

    def _copied(self, event: attachment.Copied) -> None:
        sent = self._sent.get(event.id)
        if sent is None:
            return
        sent.copied = self._doors.clock()
        for refused in event.failed:
            self._doors.reporter.emit(events.Warned(text=f"{refused.path} is not in the application: {refused.why}"))
        self._doors.source.failed(refused.path for refused in event.failed)

    def _up(self, event: attachment.Up) -> None:
        was_down = event.process in self._down
        self._down.discard(event.process)
        self._starting.discard(event.process)
        if not self._starting:
            self._settled()
        sent = self._sent.get(event.id)
        if was_down and sent is None:
            self._happened("restart", event.process, f"{event.process} is up again", event.ms / 1000)

    def _done(self, event: attachment.Done) -> None:
        sent = self._sent.pop(event.id, None)
        if sent is None:
            return
        now = self._doors.clock()
        broken = [ran for ran in sent.ran if ran.code]
        for ran in broken:
            self._broken(sent, ran)
        if broken:
            return
        after = "".join(f", after {' '.join(ran.command)}" for ran in sent.ran)
        restarted = [process for process in event.restarted if process not in self._down]
        subject = wording.subject(sent.paths)
        if restarted:
            self._happened("restart", subject, ", ".join(restarted) + after, now - sent.seen)
        elif event.self:
            how = sent.why or f"{', '.join(event.self)} takes it by itself"
            self._happened("sync", subject, how + after, (sent.copied or now) - sent.seen)
        else:
            self._happened("sync", subject, f"no restart needed{after}", (sent.copied or now) - sent.seen)
        self._doors.browser.refresh("styles" if all(path.endswith(".css") for path in sent.paths) else "page")

    def _broken(self, sent: _Sent, ran: attachment.Executed) -> None:
        self._doors.reporter.emit(
            events.Happened(
                action="failed",
                subject=wording.subject(sent.paths),
                detail=f"{' '.join(ran.command)} ended with {ran.code}; the application stays as it was",
                seconds=ran.ms / 1000,
                source=ran.command[0] if ran.command else "",
                lines=tuple(ran.output.splitlines()[-20:]),
            )
        )

    def _crashed(self, process: str, code: int, signal: int, error: str = "") -> None:
        last: list[str] = []
        for stream in ("stdout", "stderr"):
            if lines := self._lines.get((process, stream)):
                last += lines.crashed()
        again = "waiting for a change (r: try again)" if self._app and self._app.attached else "b: build it again"
        self._doors.reporter.emit(
            events.Happened(
                action="crash",
                subject=error or wording.ended(process, code, signal),
                source=process,
                lines=tuple(last),
                detail=again,
            )
        )
        self._doors.browser.failed(wording.ended(process, code, signal), "\n".join(last))
        self._down.add(process)
        self._starting.discard(process)
        if not self._starting:
            self._settled()

    # Output

    def _said(self, item: Said) -> None:
        key = (item.process, item.stream)
        *whole, self._partial[key] = (self._partial.get(key, b"") + item.data).split(b"\n")
        if len(self._partial[key]) > _LONGEST:
            whole.append(self._partial.pop(key))
        app = self._version.app if self._version else "/"
        lines = self._lines.setdefault(key, Lines(app))
        for line in whole:
            self._show(key, lines.feed(line.decode(errors="replace").rstrip("\r")))

    def _show(self, key: tuple[str, str], lines: Iterable[str]) -> None:
        process, stream = key
        data = "".join(f"{line}\n" for line in lines).encode()
        if data:
            self._doors.reporter.emit(
                events.Output(source=process, stream="stderr" if stream == "stderr" else "stdout", data=data)
            )

    def _release(self) -> None:
        for key, lines in self._lines.items():
            self._show(key, lines.release())

    # Keys

    def _pressed(self, name: str) -> None:
        match name:
            case "q":
                self._doors.reporter.emit(events.Finished(text=f"Stopped. {self.farewell()}"))
                self._stop = True
            case "r" if self._app and self._app.attached:
                number = self._app.restart()
                self._sent[number] = _Sent(paths=("by hand",), seen=self._doors.clock())
            case "b" | "r":
                self._rebuild(("by hand",), self._doors.clock())
            case "l":
                for line in wording.rules_table(self._version.rules if self._version else None):
                    self._doors.reporter.emit(events.Noted(text=line, always=True))
            case _:
                pass

    def _happened(self, action: str, subject: str, detail: str = "", seconds: float | None = None) -> None:
        self._doors.reporter.emit(
            events.Happened(action=action, subject=subject, detail=detail, seconds=seconds)
        )


_LONGEST = 64 << 10
