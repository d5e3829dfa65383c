"""The bodies of `packrunner login` and `logout`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from packrunner.console import layout
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from packrunner.cli.session import Session

HUB = "docker.io"
_LONGEST = 64 << 10


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who logs in where, and how far the registry is believed."""

    registry: str
    user: str | None
    insecure: bool = False
    ca_certs: tuple[str, ...] = ()


def log_in(session: Session, account: Account, *, from_stdin: bool) -> int:
    """Try a login and keep it."""
    wanted = account.registry
    name, secret = _from_stdin(wanted, account.user) if from_stdin else _asked(wanted, account.user)
    session.redact.learn([secret])
    kept = session.services.log_in(
        wanted, name, secret, insecure=account.insecure, ca_certs=account.ca_certs, reporter=session.renderer()
    )
    session.say(f"Logged in to {wanted} as {name}. The login is kept in {kept.where}.")
    if kept.plain:
        text = "whoever reads this file can use the login; a credential helper of docker keeps it safer"
        session.say(f"note: {text}")
    return 0


def log_out(session: Session, registry: str | None) -> int:
    """Forget a login."""
    wanted = registry or HUB
    gone = session.services.log_out(wanted)
    if gone:
        session.say(f"Logged out of {wanted}: removed from {', '.join(gone)}.")
    else:
        session.say(f"There was no login to {wanted}.")
    if session.environ.get("CNB_REGISTRY_AUTH"):
        session.say("note: the variable CNB_REGISTRY_AUTH is set, and its logins still count")
    return 0


def show(session: Session) -> int:
    """List the logins that are kept, without what is secret of them."""
    rows: list[tuple[str, ...]] = [(one.registry, one.user or "-", one.where) for one in session.services.logins()]
    if session.out.is_terminal:
        session.result("\n".join(layout.table(("REGISTRY", "USER", "KEPT IN"), rows)))
    elif rows:
        session.result("\n".join("\t".join(row) for row in rows))
    return 0


def _from_stdin(registry: str, user: str | None) -> tuple[str, str]:
    if not user:
        raise UsageError(
            "--password-stdin needs to know who logs in",
            slug="usage",
            tries=(f"packrunner login {registry} -u USER --password-stdin",),
        )
    text = sys.stdin.read(_LONGEST) if sys.stdin is not None else ""
    return user, _checked(text.rstrip("\r\n"), "there is no password on stdin", registry)


def _asked(registry: str, user: str | None) -> tuple[str, str]:
    from getpass import getpass

    if sys.stdin is None or not sys.stdin.isatty() or sys.stderr is None:
        raise UsageError(
            "there is no terminal to ask for the password at",
            slug="login",
            tries=(f"packrunner login {registry} -u USER --password-stdin < FILE",),
        )
    if not user:
        sys.stderr.write(f"User of {registry}: ")
        sys.stderr.flush()
        user = _checked(sys.stdin.readline().strip(), "no user was given", registry)
    return user, _checked(getpass("Password or token: ", sys.stderr), "no password was given", registry)


def _checked(text: str, brief: str, registry: str) -> str:
    if not text:
        raise UsageError(brief, slug="login", tries=(f"packrunner login {registry} -u USER --password-stdin < FILE",))
    return text
