"""`packrunner prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also caches and bases: the next build of each application starts from nothing."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
) -> int:
    """Remove what no image and no application needs any more: old layers, unpacked trees, downloads.

    packrunner prune --dry-run
    packrunner prune --yes
    """
    from packrunner.cli import pruning

    session = session_of(ctx)
    session.json = json
    return pruning.perform(session, everything=everything, dry_run=dry_run, yes=yes)
