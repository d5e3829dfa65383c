"""`packrunner doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    print_: Annotated[
        str | None,
        typer.Option("--print", metavar="WHAT", help="apparmor-profile: what allows bwrap to make its namespaces."),
    ] = None,
) -> int:
    """Say whether this machine can build, what works, and what would enable more. Exits with 13 when it cannot.

    packrunner doctor
    packrunner doctor --json
    """
    from packrunner.cli import checkup

    session = session_of(ctx)
    session.json = json
    if print_ is not None:
        session.result(checkup.printed(print_))
        return 0
    found = checkup.examine(session)
    if json:
        session.document("doctor/1", found.to_json())
    else:
        session.result("\n".join(checkup.page(found, session.out)))
    return 0 if found.can_build else 13
