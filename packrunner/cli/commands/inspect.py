"""`packrunner inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    *,
    remote: Annotated[
        bool, typer.Option("--remote", help="The image in its registry; no layer of it is fetched.")
    ] = False,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with full digests and labels.")] = False,
) -> int:
    """Show what an image is made of: processes, buildpacks, base and layers.
    IMAGE is a name, a digest or its first digits, oci:DIR, oci-archive:FILE, docker-archive:FILE, or docker:NAME for
    one of the Docker engine.

    packrunner inspect shop
    packrunner inspect --remote registry.example.com/shop
    packrunner inspect oci:out --json
    """
    from packrunner.cli import inspection, reference

    session = session_of(ctx)
    session.json = json
    store = session.services.store()
    if remote or image.startswith("docker:"):
        found = reference.looked_up(image, session, tuple(insecure_registry or ()), tuple(ca_cert or ()))
    else:
        found = reference.find(image, store)
    facts = inspection.facts(found, store.list())
    if json:
        session.document("inspect/1", facts.to_json())
    else:
        session.result("\n".join(inspection.page(facts, session.out)))
    return 0
