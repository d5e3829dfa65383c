"""`packrunner buildpack pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    package: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Bring a packaged buildpack from its registry into the local store, and look whether it is one.

    packrunner buildpack pull registry.example.com/acme/tool:1.0.0
    """
    from packrunner.cli import packages, transfers, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    name, insecure, ca_certs = package.removeprefix("docker://"), insecure_registry or (), ca_cert or ()
    packages.check_package(session, name, insecure=insecure, ca_certs=ca_certs)
    return transfers.pull(session, name, insecure=insecure, ca_certs=ca_certs)
