"""`packrunner buildpack new`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID")],
    directory: Annotated[str | None, typer.Argument(metavar="[DIR]")] = None,
    *,
    language: Annotated[
        Literal["python", "shell", "go"] | None,
        typer.Option("--language", metavar="python|shell|go", help="What it is written in. (default: python)"),
    ] = None,
    kind: Annotated[
        Literal["buildpack", "composite", "extension"],
        typer.Option(
            "--kind",
            metavar="buildpack|composite|extension",
            help="A buildpack, an order of others, or what extends images. (default: buildpack)",
        ),
    ] = "buildpack",
    path: Annotated[str | None, typer.Option("-p", "--path", metavar="DIR", help="The same as DIR.")] = None,
    version: Annotated[
        str, typer.Option("-V", "--version", metavar="VERSION", help="Three numbers. (default: 0.1.0)")
    ] = "0.1.0",
    api: Annotated[
        str | None, typer.Option("-a", "--api", metavar="API", help="The Buildpack API; the newest unless given.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--target",
            "--targets",
            metavar="OS/ARCH",
            help="Where it runs, also as OS/ARCH/VARIANT:DISTRO@VERSION. Repeatable.",
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Run its tests, where pytest is installed. (default: --test)")
    ] = True,
) -> int:
    """Begin a buildpack: an example that works, with an application to build and tests that pass, in a new directory.
    DIR is the last part of ID unless given.

    packrunner buildpack new acme/hello
    packrunner buildpack new acme/hello buildpacks/hello --language shell
    """
    from packrunner.cli import beginning, upkeep

    session = session_of(ctx)
    upkeep.begin(session, quiet=0, verbose=0, json=False)
    return beginning.begin(
        session,
        identity,
        beginning.place(identity, directory, path),
        example=beginning.example(kind, language),
        version=version,
        api=api,
        targets=target or (),
        test=test,
    )
