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

from packrunner import events
from packrunner.dev import wording
from packrunner.dev.answers import Answers
from packrunner.dev.changes import Batch
from packrunner.dev.doors import Built, Ended, Heard, Key, Lost, Over, Said, Unbuilt
from packrunner.dev.output import Output
from packrunner.dev.rules import decide, is_ignored
from packrunner.dev.tracebacks import HELD
from packrunner.errors import PackrunnerError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.dev.changes import Change
    from packrunner.dev.doors import Doors, Item, Running, Version


class Session:
    """See the module. `queue` takes what happens, from any thread; `keys` says what can be pressed."""

    def __init__(self, doors: Doors, *, name: str, keys: str = "") -> None:
        self.queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._doors = doors
        self._name = name
        self._keys = keys
        self._number = 0
        self._version: Version | None = None
        self._app: Running | None = None
        self._output = Output(doors.reporter, "/", doors.clock)
        self._answers: Answers | None = None
        self._mark = 0
        self._building: int | None = None
        """While a build runs: the source's mark of when it began."""
        self._again: dict[str, float] = {}
        self._since = 0.0
        self._ready: Callable[[float], events.Ready | events.Happened] | None = None
        self._stop = False

    def run(self, version: Version, *, began: float, mark: int) -> None:
        """Serve until it is told to quit. `mark` is from before the version was built, `began` when all this began.

        Whatever ends it, nothing runs afterwards. Raises EngineError where the version cannot be started.
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
        text = f"{self._version.line} is the image as of {clock}"
        rules = self._version.rules
        later = sum(
            change.kind != "dir" and not (rules and is_ignored(rules, change.path))
            for change in self._doors.source.since(self._mark)
        )
        if not later:
            return f"{text}."
        return f"{text}; {later} later {'change is' if later == 1 else 'changes are'} only in your files."

    def handle(self, item: Item) -> None:
        """Take one thing that happened."""
        match item:
            case Batch():
                self._changed(item)
            case Heard() | Said() | Ended() | Lost():
                # Of a version that is gone nobody wants to hear.
                if item.run == self._number:
                    self._of_the_version(item)
            case Built():
                self._built(item.version)
            case Unbuilt():
                self._unbuilt(item.error)
            case Over():
                raise item.error
            case Key():
                self._pressed(item.name)

    def _of_the_version(self, item: Heard | Said | Ended | Lost) -> None:
        match item:
            case Said():
                self._output.feed(item.process, item.stream, item.data)
            case Lost():
                self._lost(item.error)
            case Heard() if self._answers:
                self._answers.take(item.event)
            case Ended() if self._answers:
                how = item.error or wording.ended(item.process, item.code, item.signal)
                self._answers.crashed(item.process, how)
            case _:
                pass

    def _step(self) -> None:
        try:
            item = self.queue.get(timeout=HELD if self._output.holding else None)
        except queue.Empty:
            self._output.release()
        else:
            self.handle(item)

    def _changed(self, batch: Batch) -> None:
        """Files changed: some are ignored, some are sent, some need a rebuild."""
        rules = self._version.rules if self._version else None
        sent: dict[str, list[tuple[Change, str]]] = {}
        rebuild: list[str] = []
        for change in batch.changes:
            rule = decide(rules, change.path) if rules else None
            if rule is not None and rule.action == "ignore":
                continue
            # A directory alone is nothing that a program could tell from none; it comes along.
            if change.kind == "dir" or (rule is not None and rule.action != "rebuild"):
                sent.setdefault(rule.dest if rule else "", []).append((change, rule.why if rule else ""))
            else:
                rebuild.append(change.path)
        for dest, group in sent.items():
            rebuild += self._send([change for change, _ in group], {why for _, why in group}, dest, batch.seen)
        if rebuild:
            self._rebuild(rebuild, batch.seen)

    def _send(self, changes: Sequence[Change], whys: set[str], dest: str, seen: float) -> tuple[str, ...]:
        """Send changes to the same place; the paths that cannot be sent, as nothing runs that would take them."""
        named = tuple(change.path for change in changes if change.kind != "dir")
        if not (self._app and self._app.attached and self._answers):
            return named
        why = whys.pop() if len(whys) == 1 else ""
        number = self._app.send(changes, dest)
        self._answers.expect(number, named or tuple(change.path for change in changes), seen=seen, why=why)
        return ()

    def _rebuild(self, paths: Sequence[str], seen: float) -> None:
        """Build one at a time, and once more with everything that came meanwhile (LIV-14)."""
        if self._doors.build is None:
            self._happened("rebuild", wording.subject(paths), "is needed, and is not ours to do")
            return
        if self._building is not None:
            for path in paths:
                self._again.setdefault(path, seen)
            return
        self._happened("rebuild", wording.subject(paths), "the old version serves" if self._app else "")
        self._building, self._since = self._doors.source.mark(), seen
        self._doors.build()

    def _built(self, version: Version) -> None:
        mark, self._building = self._building, None
        assert mark is not None
        again, self._again = self._again, {}
        # What was touched meanwhile is looked at there, and may begin the next build.
        self._swap(version, mark, self._since, self._renewed)
        if again and self._building is None:
            self._rebuild(tuple(again), min(again.values()))

    def _unbuilt(self, error: PackrunnerError) -> None:
        self._building = None
        again, self._again = self._again, {}
        self._doors.problem(error)
        self._happened("failed", "rebuild", "the old version still serves" if self._app else "")
        if again:
            self._rebuild(tuple(again), min(again.values()))

    def _swap(
        self, version: Version, mark: int, since: float, ready: Callable[[float], events.Ready | events.Happened]
    ) -> None:
        """End the old version, start the new one, and give it what was touched since its build began."""
        self._output.release()
        first = self._version is None
        old, self._app = self._app, None
        self._number += 1
        if old:
            old.close()
        self._version, self._mark = version, mark
        self._answers, self._output = None, Output(self._doors.reporter, version.app, self._doors.clock)
        try:
            self._app = self._doors.start(version, self._number)
        except PackrunnerError as error:
            if first:
                raise
            self._doors.problem(error)
            self._happened("failed", version.line, "it could not be started")
            return
        self._ready, self._since = ready, since
        self._answers = Answers(
            self._doors, self._output, starting=self._app.processes, attached=self._app.attached, settled=self._settled
        )
        if late := self._doors.source.since(mark):
            self._changed(Batch(changes=late, seen=self._doors.clock()))
        if not (self._app.attached and self._app.processes):
            self._settled()

    def _settled(self) -> None:
        """Every process is up, or has had its chance."""
        ready, self._ready = self._ready, None
        if ready is not None:
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
        self._doors.problem(error)
        self._happened("crash", self._name, "b: build it again, and start it")

    def _pressed(self, name: str) -> None:
        match name:
            case "q":
                self._doors.reporter.emit(events.Finished(text=f"Stopped. {self.farewell()}"))
                self._stop = True
            case "r" if self._app and self._app.attached and self._answers:
                self._answers.expect(self._app.restart(), ("by hand",), seen=self._doors.clock())
            case "b" | "r":
                self._rebuild(("by hand",), self._doors.clock())
            case "l":
                table = wording.rules_table(self._version.rules if self._version else None)
                self._doors.reporter.emit(events.Happened(action="rules", subject="", lines=tuple(table)))
            case _:
                pass

    def _happened(self, action: str, subject: str, detail: str = "", seconds: float | None = None) -> None:
        self._doors.reporter.emit(events.Happened(action=action, subject=subject, detail=detail, seconds=seconds))
