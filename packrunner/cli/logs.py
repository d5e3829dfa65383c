"""What the core logs, shown by the command's reporter: warnings always, the rest with -v."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from packrunner import events

if TYPE_CHECKING:
    from packrunner.cli.session import Session

_LOGGER = logging.getLogger("packrunner")


class _Shown(logging.Handler):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._session.renderer().emit(events.Warned(text=message))
        elif self._session.reporter is not None:
            name = record.name.removeprefix("packrunner.")
            self._session.reporter.emit(events.Noted(text=f"{name}: {message}"))


def show(session: Session) -> None:
    """Let the session show warnings, instead of Python's own last resort."""
    _LOGGER.handlers = [_Shown(session)]
    _LOGGER.propagate = False
    _LOGGER.setLevel(logging.WARNING)


def hide() -> None:
    """End what `show` began: the session is over, and keeps nothing open by being kept itself."""
    _LOGGER.handlers = [logging.NullHandler()]


def show_debugging() -> None:
    """Show everything else too."""
    _LOGGER.setLevel(logging.DEBUG)
