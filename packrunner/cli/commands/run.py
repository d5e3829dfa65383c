"""`packrunner run`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner.cli.app import session_of


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS...]")] = None,
    *,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--env",
            metavar="NAME=VALUE",
            help="A variable for the application; NAME alone passes the value that it has here. Repeatable.",
        ),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option("--process", metavar="TYPE", help="The process to start; the image's default unless given."),
    ] = None,
    program: Annotated[
        bool,
        typer.Option("--command", help="ARGS are a program to run instead, in the environment of the launch."),
    ] = False,
    publish: Annotated[
        list[str] | None,
        typer.Option(
            "--publish",
            metavar="HOST:PORT",
            help="Make a port of the application reachable at a port of this machine; without it the application "
            "shares this machine's network. Repeatable.",
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="host|none", help="The network that the application sees.")
    ] = None,
) -> int:
    """Start an image in a sandbox, in the foreground: signals reach it, its exit code is the command's.
    IMAGE is a name, a digest, oci:DIR, oci-archive:FILE or docker-archive:FILE.

    packrunner run shop                            its default process
    packrunner run shop -e PORT=9000               with a variable
    packrunner run shop --publish 8080:8000        port 8000 of it at 8080 here
    packrunner run shop --process worker -- -v     another process, with arguments
    packrunner run shop --command -- bash          a program of its own
    """
    from packrunner import config
    from packrunner.cli import reference, variables

    session = session_of(ctx)
    given = variables.pairs(env or (), session.environ)
    ports = tuple(variables.ports(text) for text in publish or ())
    seen = config.resolve("network", flag=network, environ=session.environ, config=config.load()).value
    return session.services.run_app(
        reference.plain(image),
        env=given,
        process=process,
        args=tuple(args or ()),
        publish=ports,
        network=seen,
        command=program,
    )
