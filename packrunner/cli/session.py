"""One call of packrunner: its streams, environment, reporter and results. Results go to stdout, the story to stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from packrunner import config
from packrunner.console.redact import Redactor
from packrunner.console.reporters import choose
from packrunner.console.terminal import Terminal
from packrunner.errors import StoreError, UsageError

if TYPE_CHECKING:
    from packrunner.cli.services import Known, Services
    from packrunner.console.reporters import Renderer
    from packrunner.console.terminal import ColorChoice


class OutputClosedError(Exception):
    """Whoever reads the result has stopped reading: end quietly."""


class Session:
    """Made by `main`, given to every command."""

    def __init__(self, services: Services | None = None, known: Known | None = None) -> None:
        self._services = services
        self.known = known
        self.environ = os.environ
        self.reporter: Renderer | None = None
        self.redact = Redactor.of(self.environ)
        self.color: ColorChoice = "auto"
        self.json = False
        self.verbose = 0

    @property
    def services(self) -> Services:
        """The composition root, imported when first needed."""
        if self._services is None:
            import packrunner.cli.wiring as composed

            self._services = composed
        return self._services

    def settle(self) -> None:
        """Read the settings that every command has."""
        settings = config.load()
        self.color = config.resolve("color", environ=self.environ, config=settings).value
        self.verbose = config.resolve("verbose", environ=self.environ, config=settings).value

    @property
    def out(self) -> Terminal:
        """What stdout can show."""
        return Terminal.of(sys.stdout, self.environ, self.color)

    def renderer(self) -> Renderer:
        """The reporter of the running command, or a plain one for its errors."""
        if self.reporter is None:
            terminal = Terminal.of(sys.stderr, self.environ, self.color)
            self.reporter = choose("json" if self.json else "plain", sys.stderr, terminal, redact=self.redact)
        return self.reporter

    def result(self, text: str) -> None:
        """Write a result to stdout. Raises OutputClosedError, or StoreError where it cannot be written."""
        if sys.stderr is not None:
            try:
                sys.stderr.flush()
            except OSError:
                # The story is lost where it cannot be written; the result is not.
                _discard(2)
        if sys.stdout is None:
            return
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            _discard(1)
            raise OutputClosedError from None
        except OSError as e:
            _discard(1)
            raise StoreError(f"the result could not be written to stdout: {e.strerror}", slug="stdout") from e

    def say(self, text: str) -> None:
        """Write a line of the story to stderr."""
        if sys.stderr is not None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def document(self, schema: str, values: dict[str, Any]) -> None:
        """Write a JSON document."""
        import json

        self.result(json.dumps({"schema": f"packrunner.{schema}", **values}, indent=2, ensure_ascii=True))

    def confirm(self, question: str, *, command: str) -> bool:
        """Ask on a terminal; elsewhere raise UsageError naming the command that needs no question."""
        if sys.stdin is None or not sys.stdin.isatty() or sys.stderr is None:
            raise UsageError(
                "this removes things, and there is no terminal to ask at",
                slug="confirm",
                cause=question,
                tries=(command,),
            )
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _discard(descriptor: int) -> None:
    # The interpreter flushes once more when it ends, and would complain again.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
