"""`packrunner builder create`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    config_file: Annotated[
        str | None,
        typer.Option("-c", "--config", metavar="FILE", help="What it is made from; builder.toml unless given."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="A further name for it. Repeatable.")
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="PLACE", help="Also write it to oci:DIR or an archive. Repeatable."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="NAME=VALUE", help="A label of it. Repeatable.")
    ] = None,
    flatten: Annotated[
        list[str] | None,
        typer.Option(
            "--flatten",
            metavar="ID@VERSION,...",
            help="Put these into one layer: an image has at most 127. Repeatable.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--target",
            metavar="OS/ARCH",
            help="The platform it is for, also as OS/ARCH/VARIANT:DISTRO@VERSION, where its base is an image; with "
            "several, one name for all. Repeatable.",
        ),
    ] = None,
    push: Annotated[bool, typer.Option("--push/--no-push", "--publish", help="Also send it to its registry.")] = False,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Also give it to the Docker engine.")] = False,
    docker_host: options.DockerHost = None,
    pull_policy: options.PullPolicy = None,
    compression: options.Compression = None,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Make a builder: an image to build in, with buildpacks of your own and their order, as builder.toml says. Its
    format is pack's; `image = "debian:13"` in [build] takes packrunner's own base.

    packrunner builder create acme/builder
    packrunner builder create registry.example.com/acme/builder:1 -c builders/web.toml --push
    """
    from packrunner.cli import builder_wish, packages, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    wish = builder_wish.wish(
        name,
        config_file=config_file,
        tags=tag or (),
        outputs=output or (),
        labels=label or (),
        flatten=flatten or (),
        push=push,
        load=load,
        compression=compression,
        pull_policy=pull_policy,
        docker_host=docker_host,
        environ=session.environ,
        quiet=bool(quiet),
        targets=target or (),
    )
    return packages.create_builder(session, wish, insecure=insecure_registry or (), ca_certs=ca_cert or ())
