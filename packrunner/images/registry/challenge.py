"""`WWW-Authenticate`: how a registry wants to be told who asks (RFC 9110, section 11)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LIMIT = 16 << 10
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?=\s|,|$)")
_PARAM = re.compile(r"""\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))""")


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """One challenge: its scheme and the names of its parameters are in lower case."""

    scheme: str
    params: Mapping[str, str]

    def get(self, name: str) -> str:
        """A parameter, "" where there is none."""
        return self.params.get(name, "")


def parse(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all headers; text that is none of them ends a header."""
    found: list[Challenge] = []
    for header in headers:
        text = header[:_LIMIT]
        at = 0
        while match := _SCHEME.match(text, at):
            at = match.end()
            params: dict[str, str] = {}
            while pair := _PARAM.match(text, at):
                name, quoted, plain = pair.groups()
                params.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
                at = pair.end()
            found.append(Challenge(scheme=match.group(1).lower(), params=params))
    return found
