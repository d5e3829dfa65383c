"""`packrunner builder update`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    builder: Annotated[str | None, typer.Argument(metavar="[BUILDER]")] = None,
    *,
    config_file: Annotated[
        str | None,
        typer.Option("-c", "--config", metavar="FILE", help="The builder.toml with the recipe that it is made by."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which packages are newer.")] = False,
    ca_cert: options.CaCerts = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with every package.")] = False,
    quiet: Annotated[
        int, typer.Option("-q", "--quiet", count=True, metavar="", help="Say less: -q leaves warnings and errors.")
    ] = 0,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, metavar="", help="Say more: -v names every package.")
    ] = 0,
) -> int:
    """Take newer packages into a base: the next build uses them, and `rebase` brings them to images without
    building. BUILDER is the configured one unless given; one that is made by a recipe is named with its builder.toml,
    and made anew. Until all is made, builds use the old base.

    packrunner builder update
    packrunner builder update debian:12 --dry-run
    packrunner builder update acme/builder -c builder.toml
    """
    from packrunner.cli import upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=json)
    return upkeep.update_builder(
        session, builder, config_file=config_file, dry_run=dry_run, ca_certs=tuple(ca_cert or ())
    )
