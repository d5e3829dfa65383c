"""The words of a Dockerfile's instructions: where they end, their quotes, and the variables in them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from packrunner.errors import PackrunnerError

DEEPEST = 20
"""How far defaults of variables may stand inside each other."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PAIR = re.compile(r"[^\s=\"']+=")


def split(text: str, escape: str) -> list[str]:
    """The words of a text, quotes and escapes still in them; blanks inside quotes do not divide."""
    words: list[str] = []
    word, quote, i = "", "", 0
    while i < len(text):
        char = text[i]
        if char == escape and quote != "'" and i + 1 < len(text):
            word += text[i : i + 2]
            i += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in " \t":
            if word:
                words.append(word)
            word = ""
            i += 1
            continue
        word += char
        i += 1
    return [*words, word] if word else words


def pairs(text: str, escape: str) -> list[tuple[str, str]]:
    """Names and values of `a=1 b="2 3"`, or of the old form `a 1 2 3`, whose value is the whole rest."""
    if not _PAIR.match(text) and "=" not in (split(text, escape) or [""])[0]:
        name, *rest = text.split(None, 1)
        return [(name, rest[0])] if rest else [("", "")]
    found = [word.partition("=") for word in split(text, escape)]
    return [(name if equals else "", value) for name, equals, value in found]


class Expander(msgspec.Struct, frozen=True, kw_only=True):
    """Takes quotes and escapes out of a word and puts values in; `refuse` makes the error for a word that is broken."""

    escape: str
    refuse: Callable[[str], PackrunnerError]

    def expand(self, word: str, values: Mapping[str, str]) -> str:
        """`$name`, `${name}`, `${name:-word}` and `${name:+word}` outside of single quotes; unknown names are empty."""
        text, _ = self._until(word, 0, values, "", 0)
        return text

    def _until(self, text: str, at: int, values: Mapping[str, str], end: str, depth: int) -> tuple[str, int]:
        """Expand from `at` to `end`, a character or "" for the whole text; gives the place behind it too."""
        if depth > DEEPEST:
            raise self.refuse(f"variables are nested more than {DEEPEST} deep")
        out: list[str] = []
        quote = ""
        while at < len(text):
            char = text[at]
            if char == end and not quote:
                return "".join(out), at + 1
            if char == self.escape and quote != "'" and at + 1 < len(text):
                # Inside double quotes the escape character is itself before anything but these.
                out.append(text[at + 1] if not quote or text[at + 1] in f'"${self.escape}' else text[at : at + 2])
                at += 2
            elif char in "\"'" and quote in {"", char}:
                quote = "" if quote else char
                at += 1
            elif char == "$" and quote != "'":
                value, at = self._variable(text, at + 1, values, depth)
                out.append(value)
            else:
                out.append(char)
                at += 1
        if quote or end:
            raise self.refuse(f"a {quote or end} is missing")
        return "".join(out), at

    def _variable(self, text: str, at: int, values: Mapping[str, str], depth: int) -> tuple[str, int]:
        """The value of what follows a `$`, and the place after it."""
        braces = text.startswith("{", at)
        found = _VARIABLE.match(text, at + braces)
        if not found:
            if braces:
                raise self.refuse("${ is not followed by the name of a variable")
            return "$", at
        name, at = found[0], found.end()
        value = values.get(name, "")
        if not braces:
            return value, at
        if text.startswith("}", at):
            return value, at + 1
        colon = text.startswith(":", at)
        operator = text[at + colon : at + colon + 1]
        if operator not in {"-", "+"}:
            raise self.refuse(f"${{{name}{text[at : at + 2]}...}} is not supported: only :- and :+ are")
        word, at = self._until(text, at + colon + 1, values, "}", depth + 1)
        there = name in values and (value != "" or not colon)
        return (word if there else "") if operator == "+" else (value if there else word), at
