"""`packrunner sync-rules`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner import paths
from packrunner.cli import options
from packrunner.cli.app import session_of


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    *,
    path: options.Path = None,
    project: options.Project = None,
    builder: options.Builder = None,
    buildpack: options.Buildpacks = None,
    env: options.Env = None,
    env_file: options.EnvFiles = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="For a program: json; for a tool: tilt, compose, skaffold or devcontainer.",
            rich_help_panel=options.COMMON,
        ),
    ] = None,
    from_image: Annotated[
        str | None,
        typer.Option(
            "--from-image",
            metavar="IMAGE",
            help="The rules that an image carries, instead of asking buildpacks; named as for inspect.",
            rich_help_panel=options.COMMON,
        ),
    ] = None,
    network: options.Network = None,
    ca_cert: options.BuildCaCerts = None,
    offline: options.Offline = False,
    engine: options.Engine = None,
    docker_host: options.DockerHost = None,
) -> int:
    """Say what becomes of a changed file while the application runs: copied, copied and then restarted, or a rebuild.
    The buildpacks that would build the application for development state it; nothing is built.

    packrunner sync-rules
    packrunner sync-rules --format json
    packrunner sync-rules --format skaffold > skaffold.yaml
    packrunner sync-rules --from-image shop-dev
    """
    from packrunner.cli import building, syncing
    from packrunner.lifecycle.given import Flags

    session = session_of(ctx)
    session.json = form == "json"
    flags = Flags(
        cwd=paths.working_directory(),
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
    return syncing.perform(flags, session, form=form, image=from_image)
