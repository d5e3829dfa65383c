"""`packrunner push`."""

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
    compression: options.Compression = None,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Send an image of the local store to its registry, under its own name or under NAMEs. Layers that are there
    already are not sent again.

    packrunner push registry.example.com/team/shop
    packrunner push shop registry.example.com/team/shop:v2
    """
    from packrunner.cli import transfers, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    return transfers.push(
        session, image, names or (), compression=compression, insecure=insecure_registry or (), ca_certs=ca_cert or ()
    )
