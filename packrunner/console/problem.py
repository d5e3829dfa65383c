"""Errors as people read them, and as machines do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packrunner.console import layout
from packrunner.console.redact import Redactor, visible
from packrunner.errors import ShownError, StoppedError

if TYPE_CHECKING:
    from packrunner.console.terminal import Terminal

FOREIGN_LINES = 20


def exit_code(error: ShownError) -> int:
    """The process's exit code; 128 + the signal for a stop."""
    return 128 + error.signal if isinstance(error, StoppedError) else error.exit_code


def render(error: ShownError, terminal: Terminal, redact: Redactor | None = None) -> list[str]:
    """The block of an error: title, somebody else's last lines, then cause, at, try, or, more, kept."""
    redact = redact or Redactor()
    if isinstance(error, StoppedError):
        return [f"Stopped. {redact(error.kept)}" if error.kept else "Stopped."]
    title = f"error[{error.slug}]: {redact(error.brief)}" + (" (transient)" if error.transient else "")
    first, *more = _wrapped(title, terminal, indent=2)
    lines = [terminal.paint("error", "red") + first.removeprefix("error"), *more]
    lines += [f"  | {visible(redact(text))}" for text in error.foreign[-FOREIGN_LINES:]]
    for label, text in _labelled(error):
        lines += _wrapped(f"  {label + ':':<6} {redact(text)}", terminal, indent=9)
    return lines


def _labelled(error: ShownError) -> list[tuple[str, str]]:
    tries = [("or" if i else "try", text) for i, text in enumerate(error.tries)]
    labels = [("cause", error.cause), ("at", error.at), *tries, ("more", error.more), ("kept", error.kept)]
    return [(label, text) for label, text in labels if text]


def _wrapped(text: str, terminal: Terminal, *, indent: int) -> list[str]:
    first, *rest = text.split("\n")
    return layout.wrap(first, terminal, indent=indent) + [
        line for part in rest for line in layout.wrap(part, terminal, indent=indent, lead=indent)
    ]


def to_json(error: ShownError, redact: Redactor | None = None) -> dict[str, Any]:
    """An error as one JSON object (fields are added, never renamed)."""
    redact = redact or Redactor()
    optional = {"cause": error.cause, "at": error.at, "more": error.more, "kept": error.kept}
    return {
        "code": error.slug,
        "message": redact(error.brief),
        **{key: redact(text) for key, text in optional.items() if text},
        "try": [redact(text) for text in error.tries],
        "output": [visible(redact(text)) for text in error.foreign],
        "exit_code": exit_code(error),
        "transient": error.transient,
    }
