"""`packrunner buildpack validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    directories: Annotated[list[str] | None, typer.Argument(metavar="[DIR...]")] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Look over buildpacks and extensions: their descriptors, misspelt keys, programs, links. Nothing of them runs.
    DIR is this directory unless given. Exits with 2 when one of them cannot be used.

    packrunner buildpack validate
    packrunner buildpack validate buildpacks/* --strict
    """
    from packrunner.cli import packages, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=json)
    return packages.validate(session, tuple(directories or (".",)), strict=strict, json=json)
