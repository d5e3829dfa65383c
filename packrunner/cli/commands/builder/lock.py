"""`packrunner builder lock`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    base: Annotated[str | None, typer.Argument(metavar="[BASE]")] = None,
    *,
    config_file: Annotated[
        str | None,
        typer.Option("-c", "--config", metavar="FILE", help="Whose recipe is locked; builder.toml unless given."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="The lock: beside builder.toml, builder.lock unless given."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: fail where there is no lock, or one of another recipe.")
    ] = False,
    take: Annotated[bool, typer.Option("--take", help="With BASE: builds here use what the file says.")] = False,
    ca_cert: options.CaCerts = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with every package.")] = False,
    quiet: options.Quiet = 0,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, metavar="", help="Say more: -v names every package.")
    ] = 0,
) -> int:
    """Write down which packages a builder's recipe takes, with versions and SHA-256: from that file the same builder is
    made on any machine. Run it again to take newer packages. With BASE (debian:13) it is the packages of packrunner's
    own base that are written down, or taken from a file.

    packrunner builder lock                          builder.lock, of builder.toml's [recipe]
    packrunner builder lock --check                  for a pipeline
    packrunner builder lock debian:13                debian-13.lock, of the base as it is here
    packrunner builder lock debian:13 --take         on another machine: the same base
    """
    from packrunner.cli import locking, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=json)
    wish = locking.wish(base, config_file=config_file, file=file, check=check, take=take)
    return locking.lock(session, wish, ca_certs=tuple(ca_cert or ()))
