"""`packrunner builder inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    builder: Annotated[str | None, typer.Argument(metavar="[BUILDER]")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Show what a builder is made of: who builds, run images, buildpacks and their order.
    BUILDER is the configured one unless given: debian:13, an image's name, oci:DIR, oci-archive:FILE or
    docker-archive:FILE. Nothing of it is run.

    packrunner builder inspect oci:builder
    packrunner builder inspect debian:13 --json
    """
    from packrunner.cli import builder_page, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=json)
    found = session.services.inspect_builder(upkeep.chosen_builder(session, builder), reporter=session.renderer())
    if json:
        session.document("builder/1", found.to_json())
    else:
        session.result("\n".join(builder_page.page(found)))
    return 0
