"""`packrunner build`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from packrunner import paths
from packrunner.cli import options  # noqa: TC001  typer reads the annotations
from packrunner.cli.app import Command, session_of
from packrunner.lifecycle.given import Flags

if TYPE_CHECKING:
    import click

COMMON, SOURCE, RESULT, OUTPUT = "Common", "Source", "Result", "Output"


def command(  # noqa: PLR0913  one parameter per flag
    ctx: typer.Context,
    image: Annotated[str | None, typer.Argument(metavar="[IMAGE]")] = None,
    *,
    path: Annotated[
        str | None,
        typer.Option("-p", "--path", metavar="DIR", help="Where the application is.", rich_help_panel=COMMON),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--project",
            "--descriptor",
            metavar="FILE",
            help="The project file; project.toml of the application unless given.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option(
            "-B",
            "--builder",
            metavar="NAME",
            help="What to build with: debian:13 or debian:trixie. Also `builder` in project.toml.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    buildpack: Annotated[
        list[str] | None,
        typer.Option(
            "-b",
            "--buildpack",
            metavar="NAME",
            help="A buildpack to use, by name, id@version or directory; repeat it or separate with commas.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    extension: Annotated[
        list[str] | None,
        typer.Option(
            "--extension",
            metavar="DIR",
            help="An image extension to use, by its directory: it chooses or extends the images. Repeatable, in order.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--env",
            metavar="NAME=VALUE",
            help="A variable for buildpacks; NAME alone passes the value that it has here. Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    env_file: Annotated[
        list[str] | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            help="Variables for buildpacks, one NAME=VALUE per line; -e wins over them. Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    binding: Annotated[
        list[str] | None,
        typer.Option(
            "--binding",
            metavar="NAME=DIR",
            help="A service binding that buildpacks can read while they run; it is kept nowhere. Repeatable.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="ID=FILE|env",
            help="A secret for buildpacks: a file, the variable ID (env) or another (env:NAME). Repeatable.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            metavar="PLACE",
            help="Also write the image to oci:DIR, oci-archive:FILE or docker-archive:FILE. Repeatable.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    clear_cache: Annotated[
        bool,
        typer.Option(
            "--clear-cache", help="Forget the cached layers of this application first.", rich_help_panel=COMMON
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Run the buildpacks even if nothing has changed.", rich_help_panel=COMMON),
    ] = False,
    network: options.Network = None,
    ca_cert: options.BuildCaCerts = None,
    offline: options.Offline = False,
    engine: options.Engine = None,
    docker_host: options.DockerHost = None,
    quiet: Annotated[
        int,
        typer.Option(
            "-q",
            "--quiet",
            count=True,
            metavar="",
            help="Say less: -q leaves warnings and errors, -qq errors; the result stays.",
            rich_help_panel=COMMON,
        ),
    ] = 0,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            help="Say more: -v shows reasons and all output, -vv commands too.",
            rich_help_panel=COMMON,
        ),
    ] = 0,
    tag: options.Tags = None,
    push: options.Push = False,
    load: options.Load = False,
    pull_policy: options.PullPolicy = None,
    previous_image: options.Previous = None,
    cache: options.Caches = None,
    cache_image: options.CacheImage = None,
    compression: options.Compression = None,
    insecure_registry: options.Insecure = None,
    run_image: Annotated[
        str | None,
        typer.Option(
            "--run-image",
            metavar="IMAGE",
            help="The image below the application's layers: a name, oci:DIR, oci-archive:FILE or docker-archive:FILE.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    default_process: options.Process = None,
    exec_env: options.ExecEnv = None,
    platform: options.Platform = None,
    volume: options.Volumes = None,
    pre_buildpack: options.Before = None,
    post_buildpack: options.After = None,
    disable_system_buildpacks: options.WithoutSystem = False,
    creation_time: options.Created = None,
    workspace: options.Workspace = None,
    uid: options.Uid = None,
    gid: options.Gid = None,
    sbom_output_dir: options.SbomDir = None,
    report_output_dir: options.ReportDir = None,
    trust_builder: options.TrustBuilder = False,  # noqa: ARG001 - accepted, and without effect
    trust_extra_buildpacks: options.TrustExtra = False,
    userns_host: options.UsernsHost = False,
    interactive: options.Interactive = False,
    lifecycle_image: options.LifecycleImage = None,
    progress: Annotated[
        str | None,
        typer.Option(
            "--progress",
            metavar="HOW",
            help="auto, tty (redrawn), plain (line by line) or json (one event per line).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    color: Annotated[
        str | None,
        typer.Option("--color", metavar="WHEN", help="auto, always or never.", rich_help_panel=OUTPUT),
    ] = None,
) -> Flags:
    """Build an image from the application in this directory: buildpacks look at it, install what it
    needs and say how it starts. IMAGE is the directory's name unless given.

    packrunner build shop                              the application in this directory
    packrunner build shop -p src -b python             another directory, a buildpack of your choice
    packrunner build --output docker-archive:shop.tar  also a file, for `docker load`
    IMAGE=$(packrunner build shop -q)                  in a pipeline: stdout is name@digest alone
    """
    from packrunner.cli import building

    del ctx
    return Flags(
        cwd=paths.working_directory(),
        image=image,
        path=path,
        project=project,
        builder=builder,
        buildpacks=tuple(buildpack or ()),
        bindings=tuple(binding or ()),
        secrets=tuple(secret or ()),
        extensions=tuple(extension or ()),
        env=tuple(env or ()),
        env_files=tuple((name, building.read_env_file(name)) for name in env_file or ()),
        outputs=tuple(output or ()),
        run_image=run_image,
        clear_cache=clear_cache,
        rebuild=rebuild,
        network=network,
        engine=engine,
        docker_host=docker_host,
        ca_certs=tuple(ca_cert or ()),
        offline=offline,
        tags=tuple(tag or ()),
        push=push,
        load=load,
        compression=compression,
        insecure=tuple(insecure_registry or ()),
        pull_policy=pull_policy,
        previous=previous_image,
        caches=tuple(cache or ()),
        cache_image=cache_image,
        platform=platform,
        created=creation_time,
        process=default_process,
        exec_env=exec_env,
        app_dir=workspace,
        uid=uid,
        gid=gid,
        volumes=tuple(volume or ()),
        before=tuple(pre_buildpack or ()),
        after=tuple(post_buildpack or ()),
        without_system=disable_system_buildpacks,
        sbom_dir=sbom_output_dir,
        report_dir=report_output_dir,
        idle=tuple(
            name
            for name, given in (
                ("--trust-extra-buildpacks", trust_extra_buildpacks),
                ("--userns-host", userns_host),
                ("--interactive", interactive),
                ("--lifecycle-image", lifecycle_image),
            )
            if given
        ),
        quiet=quiet,
        verbose=verbose,
        progress=progress,
        color=color,
    )


class CLASS(Command):
    """Builds what was typed; `plan` takes the same flags."""

    def invoke(self, ctx: click.Context) -> int:
        """Build; the exit code."""
        from packrunner.cli import building

        return building.start(super().invoke(ctx), session_of(ctx))
