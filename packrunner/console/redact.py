"""Text made fit to show: secrets hidden, escape sequences and control characters of others taken out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

HIDDEN = "(hidden)"

_SECRET_NAME = re.compile(
    r"(?i)(token|secret|passw|passphrase|credential|api_?key|access_?key|private_?key|auth)|(^|_)(key|pwd|pass|pat|sas)$"
)
_URL_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s/@:]*(?::[^\s/@]*)?)@")
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONGEST_LINE = 1 << 16


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return name != "PWD" and bool(_SECRET_NAME.search(name))  # the working directory, in every shell


class Redactor:
    """Replaces known secret values, and passwords in URLs, wherever text leaves the program."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: list[str] = []
        self._values: re.Pattern[str] | None = None
        self.learn(values)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Redactor:
        """Know the values of the variables whose names say secret."""
        return cls(value for name, value in environ.items() if is_secret(name))

    def knowing(self, values: Iterable[str]) -> Redactor:
        """A redactor that knows these values too."""
        return Redactor([*self._known, *values])

    def learn(self, values: Iterable[str]) -> None:
        """Know these values too, from here on; whoever holds this redactor profits."""
        # A value of a few characters would hide half of every sentence; the longest go first, being whole.
        self._known = sorted({v for v in (*self._known, *values) if len(v) >= 4}, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, self._known))) if self._known else None

    def __call__(self, text: str) -> str:
        """The text without its secrets."""
        if self._values is not None:
            text = self._values.sub(HIDDEN, text)
        return _URL_USER.sub(rf"\g<1>{HIDDEN}@", text) if "://" in text else text


def visible(text: str) -> str:
    """Somebody else's line without escape sequences, control characters and what a carriage return overwrote."""
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return _CONTROL.sub("", text)


class Lines:
    """Cuts streams of bytes into lines, one stream per key; a line that never ends is cut at 64 KiB."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], bytes] = {}

    def feed(self, source: str, stream: str, data: bytes) -> list[str]:
        """Add data; the lines now complete."""
        *whole, rest = (self._open.pop((source, stream), b"") + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole.append(rest)
            rest = b""
        if rest:
            self._open[source, stream] = rest
        return [visible(line.decode(errors="replace")) for line in whole]

    def finish(self) -> Iterator[tuple[str, str]]:
        """End every stream: (source, line) for each that did not end in a newline."""
        while self._open:
            (source, _), rest = self._open.popitem()
            yield source, visible(rest.decode(errors="replace"))


def cleaned(value: Any, redact: Callable[[str], str]) -> Any:
    """Secrets hidden wherever they are, and what JSON has no form for (a date in a plan's metadata) as text."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): cleaned(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item, redact) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
