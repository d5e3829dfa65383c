"""`packrunner dev`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner import paths
from packrunner.cli import options
from packrunner.cli.app import session_of

RUNNING = "The running application"


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    image: Annotated[str | None, typer.Argument(metavar="[IMAGE]")] = None,
    *,
    path: options.Path = None,
    project: options.Project = None,
    builder: options.Builder = None,
    buildpack: options.Buildpacks = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--env",
            metavar="NAME=VALUE",
            help="A variable for buildpacks and for the application; NAME alone passes the value that it has here. "
            "Repeatable.",
            rich_help_panel=options.COMMON,
        ),
    ] = None,
    env_file: options.EnvFiles = None,
    process: Annotated[
        list[str] | None,
        typer.Option(
            "--process",
            metavar="TYPE",
            help="A process to start; the default one and those of the Procfile unless given. Repeatable.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=1,
            max=65_535,
            help="Where the application listens, as PORT in its environment; the next free one from 8000 on.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(
            "--container",
            metavar="NAME",
            help="Build and start nothing: bring changes into this running container of a Docker engine.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    opens: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Open a browser, at a proxy that makes it show each change by itself.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    poll: Annotated[
        float | None,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=0.05,
            help="Look at all files this often, where the system does not tell of changes.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    network: options.Network = None,
    ca_cert: options.BuildCaCerts = None,
    offline: options.Offline = False,
    engine: options.Engine = None,
    docker_host: options.DockerHost = None,
    quiet: options.Quiet = 0,
    verbose: options.Verbose = 0,
    progress: Annotated[
        str | None,
        typer.Option(
            "--progress",
            metavar="HOW",
            help="auto, tty (redrawn), plain (line by line) or json (one event per line).",
            rich_help_panel="Output",
        ),
    ] = None,
    color: Annotated[
        str | None,
        typer.Option("--color", metavar="WHEN", help="auto, always or never.", rich_help_panel="Output"),
    ] = None,
) -> int:
    """Build the application for development, run it, and bring each change of its files into it: copied, with a
    restart or not, or by a rebuild while the old version serves. Buildpacks say which (packrunner sync-rules).

    packrunner dev                          the application in this directory
    packrunner dev --process web            without its other processes
    packrunner dev --engine docker -e DEBUG=1
    packrunner dev --container shop-web-1   a container that Compose, or you, started
    """
    from packrunner.cli import building, developing, variables
    from packrunner.cli.services import Wish
    from packrunner.lifecycle.given import Flags

    session = session_of(ctx)
    flags = Flags(
        cwd=paths.working_directory(),
        image=image,
        path=path,
        project=project,
        builder=builder,
        buildpacks=tuple(buildpack or ()),
        env=tuple(env or ()),
        env_files=tuple((name, building.read_env_file(name)) for name in env_file or ()),
        network=network,
        engine=engine,
        docker_host=docker_host,
        ca_certs=tuple(ca_cert or ()),
        offline=offline,
        quiet=quiet,
        verbose=verbose,
        progress=progress,
        color=color,
    )
    wish = Wish(
        name="",
        processes=tuple(process or ()),
        port=port,
        poll=poll,
        container=container or "",
        opens=opens,
        env=tuple(variables.pairs(env or (), session.environ)),
    )
    return developing.start(flags, session, wish)
