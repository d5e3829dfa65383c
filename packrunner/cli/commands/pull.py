"""`packrunner pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    docker_host: options.DockerHost = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Bring an image of a registry into the local store, under its name; with docker:NAME one of the Docker engine.

    packrunner pull registry.example.com/team/shop
    packrunner pull docker:shop
    """
    from packrunner.cli import transfers, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    return transfers.pull(
        session, name, insecure=insecure_registry or (), ca_certs=ca_cert or (), docker_host=docker_host
    )
