"""`packrunner compose init`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner import paths
from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    image: Annotated[str | None, typer.Argument(metavar="[IMAGE]")] = None,
    *,
    path: options.Path = None,
    project: options.Project = None,
    builder: options.Builder = None,
    buildpack: options.Buildpacks = None,
    env: options.Env = None,
    env_file: options.EnvFiles = None,
    service: options.Service = None,
    file: options.ComposeFile = None,
    port: options.ComposePort = 8080,
    network: options.Network = None,
    ca_cert: options.BuildCaCerts = None,
    offline: options.Offline = False,
    engine: options.Engine = None,
    docker_host: options.DockerHost = None,
) -> int:
    """Write a compose file for the application, from detection alone: a service whose image packrunner builds, and for
    `docker compose watch` what its buildpacks say about changed files. Beside a compose.yaml of your own it becomes
    compose.override.yaml. IMAGE is the directory's name unless given.

    packrunner compose init
    packrunner compose init registry.example.com/shop --service web
    """
    from packrunner.cli import building, composing
    from packrunner.lifecycle.given import Flags

    flags = Flags(
        cwd=paths.working_directory(),
        image=image,
        path=path,
        project=project,
        builder=builder,
        buildpacks=tuple(buildpack or ()),
        env=tuple(env or ()),
        env_files=tuple((name, building.read_env_file(name)) for name in env_file or ()),
        exec_env="development",
        network=network,
        engine=engine,
        docker_host=docker_host,
        ca_certs=tuple(ca_cert or ()),
        offline=offline,
    )
    return composing.init(flags, session_of(ctx), composing.Asked(service=service or "", file=file or "", port=port))
