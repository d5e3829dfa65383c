"""When an image says that it was made (EXP-28)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from packrunner.events import Warned
from packrunner.images.image import CREATED

if TYPE_CHECKING:
    from packrunner.events import Reporter


def created_at(epoch: str | None, reporter: Reporter) -> str:
    """The time that an image says it was made: SOURCE_DATE_EPOCH, else a constant (EXP-28)."""
    if not epoch:
        return CREATED
    try:
        seconds = int(epoch)
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        reporter.emit(Warned(text=f"SOURCE_DATE_EPOCH is ignored: {epoch!r} is not a number of seconds since 1970"))
        return CREATED
