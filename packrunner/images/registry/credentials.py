"""Who a registry is told that we are: a login, and where logins come from.

A login goes to the registry that it is of and to that registry's token server, to nobody else.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login: `basic` is user and password, `identity-token` is sent to the token server, `header` as it is.

    `source` names for messages where it was found.
    """

    kind: Literal["basic", "identity-token", "header"]
    user: str
    secret: str
    source: str

    def __repr__(self) -> str:
        return f"Login(kind={self.kind!r}, source={self.source!r})"


class Logins(Protocol):
    """Where logins come from."""

    def of(self, registry: str, repository: str) -> Login | None:
        """The login for a repository; None to go without."""


class Anonymous:
    """No logins."""

    def of(self, registry: str, repository: str) -> Login | None:  # noqa: ARG002  as the Protocol has it
        """None, whatever is asked for."""
        return None
