"""`packrunner inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with full digests and labels.")] = False,
) -> int:
    """Show what an image is made of: processes, buildpacks, base and layers.
    IMAGE is a name, a digest or its first digits, oci:DIR, oci-archive:FILE or docker-archive:FILE.

    packrunner inspect shop
    packrunner inspect oci:out --json
    """
    from packrunner.cli import inspection, reference

    session = session_of(ctx)
    session.json = json
    store = session.services.store()
    facts = inspection.facts(reference.find(image, store), store.list())
    if json:
        session.document("inspect/1", facts.to_json())
    else:
        session.result("\n".join(inspection.page(facts, session.out)))
    return 0
