"""`packrunner logout`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    registry: Annotated[str | None, typer.Argument(metavar="[REGISTRY]")] = None,
) -> int:
    """Forget the login to a registry, wherever `packrunner login`, docker or Podman keep it. REGISTRY is Docker Hub
    unless given.

    packrunner logout ghcr.io
    """
    from packrunner.cli import accounts

    return accounts.log_out(session_of(ctx), registry)
