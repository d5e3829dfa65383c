"""`packrunner buildpack inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    package: Annotated[str, typer.Argument(metavar="PACKAGE")],
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    depth: Annotated[
        int, typer.Option("-d", "--depth", metavar="N", help="How deep to show orders within orders; 0 for all.")
    ] = 0,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
) -> int:
    """Show what is in a packaged buildpack, and in which order it is tried. PACKAGE is a .cnb file, oci:DIR, the name
    of an image here or in its registry; of that no layer is fetched.

    packrunner buildpack inspect tool.cnb
    packrunner buildpack inspect registry.example.com/acme/tool:1.0.0 --json
    """
    from packrunner.cli import packages, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=json)
    return packages.inspect(
        session, package, json=json, depth=depth, insecure=insecure_registry or (), ca_certs=ca_cert or ()
    )
