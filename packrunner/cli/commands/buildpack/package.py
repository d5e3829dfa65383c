"""`packrunner buildpack package`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    path: Annotated[
        str, typer.Option("-p", "--path", metavar="DIR", help="Where the buildpack or extension is.")
    ] = ".",
    config_file: Annotated[
        str | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="What goes into the package; package.toml of DIR unless given."
        ),
    ] = None,
    form: Annotated[
        Literal["image", "file"] | None,
        typer.Option(
            "-f",
            "--format",
            metavar="image|file",
            help="An image, or a .cnb file; by what NAME looks like unless given.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--target",
            metavar="OS/ARCH",
            help="The platform it is for, also as OS/ARCH/VARIANT:DISTRO@VERSION; with several, one name for all, or a "
            ".cnb file for each. Repeatable.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME", help="A further name for the image. Repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="NAME=VALUE", help="A label of the image. Repeatable."),
    ] = None,
    push: Annotated[
        bool, typer.Option("--push/--no-push", "--publish", help="Also send the image to its registry.")
    ] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Put everything into one layer.")] = False,
    flatten_exclude: Annotated[
        list[str] | None,
        typer.Option(
            "-e", "--flatten-exclude", metavar="ID@VERSION", help="With --flatten: a layer of its own. Repeatable."
        ),
    ] = None,
    pull_policy: options.PullPolicy = None,
    compression: options.Compression = None,
    insecure_registry: options.Insecure = None,
    ca_cert: options.CaCerts = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
) -> int:
    """Package a buildpack or extension, and the buildpacks that it names, so that others can use it: with packrunner,
    pack and every builder. NAME is an image's name, or a .cnb file.

    packrunner buildpack package acme/tool -p tool              an image in the local store
    packrunner buildpack package tool.cnb -p tool               a file
    packrunner buildpack package registry.example.com/acme/tool:1.0.0 -p tool --push
    packrunner buildpack package acme/tool -t linux/amd64 -t linux/arm64     one name for both
    """
    from packrunner.cli import package_wish, packages, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=quiet, verbose=verbose, json=False)
    wish = package_wish.wish(
        name,
        directory=path,
        config_file=config_file,
        form=form,
        targets=target or (),
        tags=tag or (),
        labels=label or (),
        push=push,
        flat=flatten,
        apart=flatten_exclude or (),
        compression=compression,
        pull_policy=pull_policy,
        environ=session.environ,
    )
    return packages.package(session, wish, insecure=insecure_registry or (), ca_certs=ca_cert or ())
