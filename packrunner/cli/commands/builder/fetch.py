"""`packrunner builder fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    builder: Annotated[str | None, typer.Argument(metavar="[BUILDER]")] = None,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIR", help="Put what builds need into this directory.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="DIR", help="Take what --to put there; no network is used.")
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DIR", help="With --to: also build this application, so that its packages are in there."
        ),
    ] = None,
    ca_cert: options.CaCerts = None,
    quiet: Annotated[
        int, typer.Option("-q", "--quiet", count=True, metavar="", help="Say less: -q leaves warnings and errors.")
    ] = 0,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, metavar="", help="Say more: -v shows reasons and details.")
    ] = 0,
) -> int:
    """Carry a builder to a machine without a network: `--to` fetches all of it into a directory, `--from` takes it
    from there. BUILDER is the configured one unless given.

    packrunner builder fetch --to usb/               where there is a network
    packrunner builder fetch --to usb/ --for shop    and the packages of the application in shop
    packrunner builder fetch --from usb/             where there is none
    packrunner build shop --offline
    """
    from packrunner.cli import fetching, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    return fetching.fetch(session, builder, to=to, taken=from_, application=application, ca_certs=tuple(ca_cert or ()))
