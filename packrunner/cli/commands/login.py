"""`packrunner login`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    registry: Annotated[str | None, typer.Argument(metavar="[REGISTRY]")] = None,
    *,
    username: Annotated[
        str | None, typer.Option("-u", "--username", metavar="USER", help="Who logs in; asked for unless given.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password or token from stdin.")
    ] = False,
    insecure_registry: Annotated[
        bool,
        typer.Option("--insecure", help="The registry may have no certificate that is believed, or no TLS at all."),
    ] = False,
    ca_cert: options.CaCerts = None,
    list_: Annotated[bool, typer.Option("--list", help="Only show which logins are kept, and where.")] = False,
) -> int:
    """Log in to a registry: the login is tried, then kept where docker and Podman find it too. REGISTRY is Docker Hub
    unless given.

    packrunner login ghcr.io
    packrunner login ghcr.io -u ana --password-stdin < token.txt
    """
    from packrunner.cli import accounts

    session = session_of(ctx)
    if list_:
        return accounts.show(session)
    account = accounts.Account(
        registry=registry or accounts.HUB, user=username, insecure=insecure_registry, ca_certs=tuple(ca_cert or ())
    )
    return accounts.log_in(session, account, from_stdin=password_stdin)
