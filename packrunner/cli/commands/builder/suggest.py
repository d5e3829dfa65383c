"""`packrunner builder suggest`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from packrunner import paths
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    *,
    path: Annotated[
        str, typer.Option("-p", "--path", metavar="DIR", help="The application; this directory unless given.")
    ] = ".",
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """List builders: packrunner's own, those in the local store, and the public ones that are well known. Those that
    fit the application, by the names of its files, come first and have a `*`. No network is used.

    packrunner builder suggest
    packrunner builder suggest -p shop --json
    """
    from packrunner.cli import suggesting, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=json)
    return suggesting.suggest_builders(session, os.path.normpath(os.path.join(paths.working_directory(), path)))
