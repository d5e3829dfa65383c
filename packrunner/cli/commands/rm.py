"""`packrunner rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...")],
    *,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
) -> int:
    """Remove names of images from the local store. Their layers go with `packrunner prune`, unless others use them.

    packrunner rm shop
    packrunner rm --yes shop api
    """
    import shlex

    from packrunner.cli import reference
    from packrunner.console import units

    session = session_of(ctx)
    store = session.services.store()
    # All are looked up before any is removed.
    found = {reference.find_named(text, store).name: text for text in images}
    question = f"Remove {units.names([reference.short(name) for name in found])}?"
    if not yes and not session.confirm(question, command=f"packrunner rm --yes {shlex.join(images)}"):
        session.say("Nothing was removed.")
        return 0
    for name in found:
        store.remove(name)
        session.result(reference.short(name))
    return 0
