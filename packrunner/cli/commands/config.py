"""`packrunner config`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of
from packrunner.errors import UsageError


def command(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[SETTING]")] = None,
    values: Annotated[list[str] | None, typer.Argument(metavar="[VALUE...]")] = None,
    *,
    unset: Annotated[
        str | None, typer.Option("--unset", metavar="SETTING", help="Take a setting out of config.toml.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Show settings and where each value comes from, or change one in config.toml; comments in it stay.

    packrunner config                              all of them
    packrunner config builder                      one
    packrunner config builder acme/builder         change it
    packrunner config --unset builder
    """
    from packrunner.cli import configuring, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=json)
    if unset:
        if name:
            raise UsageError(
                "--unset names the setting itself", slug="usage", tries=(f"packrunner config --unset {name}",)
            )
        return configuring.drop(unset)
    if name is None:
        return configuring.show(session, json=json)
    if values:
        return configuring.put(session, name, values)
    return configuring.get(session, name, json=json)
