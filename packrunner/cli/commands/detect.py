"""`packrunner detect`."""

from __future__ import annotations

from typing import Annotated

import typer

from packrunner import paths
from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import session_of

COMMON, ORDER = "Common", "Order"


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    *,
    path: options.Path = None,
    project: options.Project = None,
    builder: options.Builder = None,
    buildpack: options.Buildpacks = None,
    extension: Annotated[
        list[str] | None,
        typer.Option(
            "--extension",
            metavar="DIR",
            help="An image extension to try in front of the buildpacks; with an order that names extensions, where "
            "one of them is. Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    binding: Annotated[
        list[str] | None,
        typer.Option(
            "--binding",
            metavar="NAME=DIR",
            help="A service binding that buildpacks can read while they run; it is kept nowhere. Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="ID=FILE|env",
            help="A secret for buildpacks: a file, the variable ID (env) or another (env:NAME). Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    env: options.Env = None,
    env_file: options.EnvFiles = None,
    network: options.Network = None,
    ca_cert: options.BuildCaCerts = None,
    offline: options.Offline = False,
    engine: options.Engine = None,
    docker_host: options.DockerHost = None,
    run_image: Annotated[
        str | None,
        typer.Option(
            "--run-image",
            metavar="IMAGE",
            help="The image whose platform and distribution buildpacks have to fit, as for build.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    exec_env: options.ExecEnv = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Every group and buildpack, and why it was chosen or not.", rich_help_panel=COMMON
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document with all of it, for programs.", rich_help_panel=COMMON)
    ] = False,
    order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="FILE",
            help="An order.toml whose groups are tried, instead of the builder's.",
            rich_help_panel=ORDER,
        ),
    ] = None,
    buildpacks: Annotated[
        list[str] | None,
        typer.Option(
            "--buildpacks",
            metavar="DIR",
            help="Where what the order names is, as DIR/<id with _>/<version> or one directory each; "
            "the built-in ones are known too. Repeatable.",
            rich_help_panel=ORDER,
        ),
    ] = None,
) -> int:
    """Say which buildpacks would build the application, without building it. Exits as detection does: with 20
    when no group of buildpacks fits, with 21 when one erred as well.

    packrunner detect                                   the group, its order and its plan
    packrunner detect --explain                         why each buildpack was chosen or not
    packrunner detect --explain | grep ' error '        the ones that erred
    packrunner detect --order order.toml --buildpacks ./buildpacks
    """
    from packrunner.cli import building, detecting
    from packrunner.lifecycle.given import Flags

    session = session_of(ctx)
    session.json = json
    flags = Flags(
        cwd=paths.working_directory(),
        path=path,
        project=project,
        builder=builder,
        buildpacks=tuple(buildpack or ()),
        extensions=tuple(extension or ()),
        bindings=tuple(binding or ()),
        secrets=tuple(secret or ()),
        env=tuple(env or ()),
        env_files=tuple((name, building.read_env_file(name)) for name in env_file or ()),
        run_image=run_image,
        exec_env=exec_env,
        network=network,
        engine=engine,
        docker_host=docker_host,
        ca_certs=tuple(ca_cert or ()),
        offline=offline,
    )
    wish = detecting.Wish(explain=explain, json=json, order=order, directories=tuple(buildpacks or ()))
    return detecting.perform(flags, wish, session)
