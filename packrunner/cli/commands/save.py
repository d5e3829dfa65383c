"""`packrunner save`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    *,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--file",
            metavar="PLACE",
            help="A file for `docker load`, or oci:DIR, oci-archive:FILE, docker-archive:FILE.",
        ),
    ],
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Write an image of the local store to a file or a directory.

    packrunner save shop -o shop.tar
    packrunner save shop -o oci:shop
    """
    from packrunner.cli import transfers, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    return transfers.save(session, image, output)
