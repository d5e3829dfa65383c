"""A version of the application that runs: its processes in one sandbox, and the way in by which it is changed."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner.dev.attach import Attachment
from packrunner.dev.doors import Ended, Heard, Lost, Said
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from packrunner.dev.attach import Parcel
    from packrunner.dev.changes import Change
    from packrunner.dev.doors import Item
    from packrunner.engines.base import Command, Exit, OutputSink, Sandbox

_log = logging.getLogger(__name__)
_GRACE = 5.0


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process to start, and where it will be found, "" for nowhere."""

    name: str
    command: Command
    place: str = ""


class App:
    """Started when it is made; `opened` is the sandbox for it, `attach` the reloader's command, None for no reloader.

    `put` gets what happens, marked with `run`; `parcel` adds bytes to changes.
    """

    def __init__(
        self,
        opened: AbstractContextManager[Sandbox],
        processes: Sequence[Process],
        attach: Command | None,
        *,
        run: int,
        put: Callable[[Item], None],
        parcel: Callable[[Sequence[Change]], Parcel],
    ) -> None:
        self._run = run
        self._put = put
        self._processes = tuple(processes)
        self._stack = ExitStack()
        self._attachment: Attachment | None = None
        self._sandbox = self._stack.enter_context(opened)
        self._threads = [
            threading.Thread(target=self._serve, args=(process,), name=f"process-{process.name}", daemon=True)
            for process in processes
        ]
        for thread in self._threads:
            thread.start()
        if attach is not None:
            self._attachment = Attachment(
                lambda stdin, output, ended: self._feed(attach, stdin, output, ended),
                parcel=parcel,
                heard=lambda event: put(Heard(run, event)),
                lost=lambda error: put(Lost(run, error)),
            )

    @property
    def attached(self) -> bool:
        """Whether changes can be sent to it."""
        return self._attachment is not None

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that were started."""
        return tuple(process.name for process in self._processes)

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Its processes and where they are found."""
        return tuple((process.name, process.place) for process in self._processes)

    def send(self, changes: Sequence[Change], dest: str = "") -> int:
        """Have changes made; the number by which events refer to this."""
        assert self._attachment
        return self._attachment.send(changes, dest)

    def restart(self, processes: Sequence[str] = ()) -> int:
        """Have processes started again."""
        assert self._attachment
        return self._attachment.restart(processes)

    def close(self) -> None:
        """Ask the processes to end; what has not ended after a while is killed."""
        try:
            if self._attachment:
                self._attachment.close()
            self._sandbox.end(_GRACE)
        except EngineError as error:
            _log.debug("%s: %s", error.slug, error.brief)
        finally:
            self._leave()

    def _leave(self) -> None:
        try:
            self._stack.close()
        except EngineError as error:
            # Of a place that is broken already, and that has been said.
            _log.debug("%s: %s", error.slug, error.brief)

    def _feed(self, attach: Command, stdin: Iterable[bytes], output: OutputSink, ended: Callable[[], object]) -> Exit:
        return self._sandbox.feed(attach, stdin, output, ended=ended)

    def _serve(self, process: Process) -> None:
        try:
            ended = self._sandbox.run(
                process.command, lambda stream, data: self._put(Said(self._run, process.name, stream, data))
            )
        except EngineError as error:
            self._put(Lost(self._run, error))
        else:
            self._put(Ended(self._run, process.name, ended.code, ended.signal or 0, ended.error or ""))
