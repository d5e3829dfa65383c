"""`packrunner rebase`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of
from packrunner.errors import UsageError


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    *,
    run_image: Annotated[
        str | None,
        typer.Option(
            "--run-image",
            metavar="IMAGE",
            help="The new base; without it the newest one of the name that the image was built on.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--tag",
            metavar="NAME",
            help="Where the result goes instead: a name, oci:DIR, oci-archive:FILE or docker-archive:FILE. Repeatable.",
        ),
    ] = None,
    push: Annotated[
        bool,
        typer.Option(
            "--push", "--publish", help="The image in its registry: it is changed there, and no layer is pulled."
        ),
    ] = False,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also on a base of another repository, distribution or platform.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with every package that differs.")] = False,
    quiet: Annotated[
        int, typer.Option("-q", "--quiet", count=True, metavar="", help="Say less: -q leaves warnings and errors.")
    ] = 0,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, metavar="", help="Say more: -v names every package.")
    ] = 0,
) -> int:
    """Put an image on the newest version of its base: nothing is built, only the layers below the application
    change. IMAGE is a name, oci:DIR, oci-archive:FILE or docker-archive:FILE, and is changed in its place.

    packrunner builder update && packrunner rebase shop
    packrunner rebase shop -t shop:patched         leaves shop as it is
    packrunner rebase oci:out --run-image debian   a layout, on another base
    packrunner rebase --push reg.example.com/shop  in its registry
    """
    from packrunner.cli import upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=json)
    tags = tuple(tag or ())
    if push:
        return upkeep.rebase_there(
            session,
            image,
            run_image=run_image,
            tags=tags,
            force=force,
            insecure=tuple(insecure_registry or ()),
            ca_certs=tuple(ca_cert or ()),
        )
    if insecure_registry:
        raise UsageError(
            "--insecure-registry is for --push: without it, no registry is asked",
            slug="usage",
            tries=(f"packrunner rebase --push {image}",),
        )
    return upkeep.rebase(session, image, run_image=run_image, tags=tags, force=force, ca_certs=tuple(ca_cert or ()))
