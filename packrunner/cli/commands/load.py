"""`packrunner load`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None,
    *,
    docker_host: options.DockerHost = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Give an image of the local store to the Docker engine, under its own name or under NAMEs.

    packrunner load shop
    packrunner load shop shop:test
    """
    from packrunner.cli import transfers, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    return transfers.load(session, image, names or (), docker_host=docker_host)
