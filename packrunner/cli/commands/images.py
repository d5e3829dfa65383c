"""`packrunner images`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Digests in full.")] = False,
) -> int:
    """List the images in the local store. In a pipe: full values, separated by tabs, without a heading.

    packrunner images
    packrunner images | cut -f1        the names alone
    packrunner images --json
    """
    from packrunner.cli import listing

    session = session_of(ctx)
    session.json = json
    rows = listing.rows(session.services.store().list())
    if json:
        session.document("images/1", {"images": [row.to_json() for row in rows]})
    elif session.out.is_terminal:
        session.result("\n".join(listing.table(rows, session.out, full=no_trunc)))
    elif rows:
        session.result("\n".join(row.tabbed() for row in rows))
    return 0
