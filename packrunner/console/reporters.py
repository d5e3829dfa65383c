"""Choosing a renderer, and giving the same events to several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from packrunner.console.terminal import Terminal, Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner import events
    from packrunner.console.redact import Redactor
    from packrunner.errors import ShownError

Progress = Literal["auto", "tty", "plain", "json"]


class Renderer(Protocol):
    """A Reporter that can also end a story."""

    def emit(self, event: events.Event) -> None:
        """Show or record the event."""

    def stopping(self) -> None:
        """Say at once that a stop was asked for."""

    def problem(self, error: ShownError) -> None:
        """Show what ended the story."""

    def close(self) -> None:
        """End threads, leave the terminal as it was."""


def choose(
    progress: Progress,
    stream: TextIO | None,
    terminal: Terminal,
    *,
    quiet: int = 0,
    verbose: int = 0,
    animation: bool = True,
    redact: Redactor | None = None,
) -> Renderer:
    """The renderer for a stream. `tty` needs a terminal; `auto` also one that may move, and no -v."""
    if progress == "json":
        from packrunner.console.machine import JsonReporter

        return JsonReporter(Writer(stream), quiet=quiet, redact=redact)
    moving = terminal.is_terminal if progress == "tty" else terminal.motion and animation and progress == "auto"
    if stream is not None and moving and not verbose and not quiet:
        from packrunner.console.live import LiveReporter

        return LiveReporter(stream, terminal, redact=redact)
    from packrunner.console.plain import PlainReporter

    return PlainReporter(Writer(stream), terminal, quiet=quiet, verbose=verbose, redact=redact)


class Tee:
    """Several renderers as one."""

    def __init__(self, renderers: Sequence[Renderer]) -> None:
        self._renderers = tuple(renderers)

    def emit(self, event: events.Event) -> None:
        """Pass the event on."""
        for renderer in self._renderers:
            renderer.emit(event)

    def stopping(self) -> None:
        """Pass it on."""
        for renderer in self._renderers:
            renderer.stopping()

    def problem(self, error: ShownError) -> None:
        """Pass it on."""
        for renderer in self._renderers:
            renderer.problem(error)

    def close(self) -> None:
        """Close all."""
        for renderer in self._renderers:
            renderer.close()
