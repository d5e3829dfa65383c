"""Options about where images go and come from, and those of `packrunner build` that pack's users know."""

from __future__ import annotations

from typing import Annotated, Any

import typer

COMMON, REGISTRY, SHAPE, PACK = "Common", "Registries and engines", "The image and its build", "Of pack"


def _text(*names: str, metavar: str, about: str, panel: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=about, rich_help_panel=panel)


def _idle(name: str) -> Any:
    return typer.Option(name, hidden=True)


Path = Annotated[
    str | None,
    typer.Option("-p", "--path", metavar="DIR", help="Where the application is.", rich_help_panel=COMMON),
]
Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="FILE",
        help="The project file; project.toml of the application unless given.",
        rich_help_panel=COMMON,
    ),
]
Builder = Annotated[
    str | None,
    typer.Option(
        "-B",
        "--builder",
        metavar="NAME",
        help="What would build it: debian:13 or debian:trixie. Also `builder` in project.toml.",
        rich_help_panel=COMMON,
    ),
]
Buildpacks = Annotated[
    list[str] | None,
    typer.Option(
        "-b",
        "--buildpack",
        metavar="NAME",
        help="A buildpack to use, by name, id@version or directory; repeat it or separate with commas.",
        rich_help_panel=COMMON,
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "-e",
        "--env",
        metavar="NAME=VALUE",
        help="A variable for buildpacks; NAME alone passes the value that it has here. Repeatable.",
        rich_help_panel=COMMON,
    ),
]
EnvFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help="Variables for buildpacks, one NAME=VALUE per line; -e wins over them. Repeatable.",
        rich_help_panel=COMMON,
    ),
]
Tags = Annotated[
    list[str] | None,
    _text("-t", "--tag", metavar="NAME", about="Another name for the image. Repeatable.", panel=REGISTRY),
]
Push = Annotated[
    bool,
    typer.Option("--push", "--publish", help="Also send the image to its registry.", rich_help_panel=REGISTRY),
]
Load = Annotated[
    bool, typer.Option("--load", help="Also give the image to the Docker engine.", rich_help_panel=REGISTRY)
]
Engine = Annotated[
    str | None,
    _text(
        "--engine",
        metavar="sandbox|docker",
        about="Where buildpacks run: in namespaces of this machine, or in a container of a Docker engine.",
        panel=REGISTRY,
    ),
]
DockerHost = Annotated[
    str | None,
    _text(
        "--docker-host",
        metavar="URL",
        about="Which Docker engine: unix:///path, tcp://host:port or ssh://user@host, as in DOCKER_HOST.",
        panel=REGISTRY,
    ),
]
Compression = Annotated[
    str | None,
    _text("--compression", metavar="gzip|zstd", about="How layers that are pushed are compressed.", panel=REGISTRY),
]
Insecure = Annotated[
    list[str] | None,
    _text(
        "--insecure-registry",
        metavar="HOST",
        about="A registry that is spoken to without TLS or whose certificate is not checked. Repeatable.",
        panel=REGISTRY,
    ),
]
CaCerts = Annotated[
    list[str] | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE|host",
        help="Authorities to believe: a PEM file, or this machine's (host). Repeatable.",
    ),
]
Network = Annotated[
    str | None,
    _text(
        "--network",
        metavar="host|none",
        about="The network that buildpacks see; with --engine docker also one of the engine's, by its name.",
        panel=COMMON,
    ),
]
BuildCaCerts = Annotated[
    list[str] | None,
    _text(
        "--ca-cert",
        metavar="FILE|host",
        about="Authorities to believe, here and in the build: a PEM file, or this machine's (host). Repeatable.",
        panel=COMMON,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Use no network: what is not on this machine is an error.", rich_help_panel=COMMON),
]
PullPolicy = Annotated[
    str | None,
    _text(
        "--pull-policy",
        metavar="WHEN",
        about="When the builder, the run image and the previous image are looked up in registries: always, "
        "if-not-present or never.",
        panel=REGISTRY,
    ),
]
Previous = Annotated[
    str | None,
    _text(
        "--previous-image",
        metavar="IMAGE",
        about="Reuse layers and metadata of this image instead of the last one of the name.",
        panel=REGISTRY,
    ),
]
Caches = Annotated[
    list[str] | None,
    _text(
        "--cache",
        metavar="PLACE",
        about="Also keep cached layers in type=dir,path=DIR or type=image,name=NAME, for builds on other machines.",
        panel=REGISTRY,
    ),
]
CacheImage = Annotated[
    str | None,
    _text(
        "--cache-image",
        metavar="NAME",
        about="--cache type=image,name=NAME in short; needs no --push.",
        panel=REGISTRY,
    ),
]
Volumes = Annotated[
    list[str] | None,
    _text(
        "--volume",
        metavar="HOST:TARGET[:rw]",
        about="A directory or file that buildpacks see at TARGET, read only unless :rw. Repeatable.",
        panel=SHAPE,
    ),
]
Platform = Annotated[
    str | None,
    _text(
        "--platform",
        metavar="OS/ARCH",
        about="The platform that the image has to be for, such as linux/amd64; another one is refused.",
        panel=SHAPE,
    ),
]
Created = Annotated[
    str | None,
    _text(
        "--creation-time",
        metavar="TIME",
        about="When the image says it was made: now, or seconds since 1970; a fixed time of 1980 unless given.",
        panel=SHAPE,
    ),
]
Process = Annotated[
    str | None,
    _text(
        "-D",
        "--default-process",
        metavar="TYPE",
        about="The process that the image starts; the buildpacks' choice unless given.",
        panel=SHAPE,
    ),
]
ExecEnv = Annotated[
    str | None,
    _text(
        "--exec-env",
        metavar="NAME",
        about="What the image is for: production, development, test or a name of your own; buildpacks may behave "
        "otherwise.",
        panel=SHAPE,
    ),
]
Workspace = Annotated[
    str | None,
    _text(
        "--workspace",
        metavar="DIR",
        about="Where the application is in the image; /workspace unless given.",
        panel=SHAPE,
    ),
]
Uid = Annotated[
    int | None,
    typer.Option("--uid", metavar="ID", help="The user id that buildpacks run as.", rich_help_panel=SHAPE),
]
Gid = Annotated[
    int | None,
    typer.Option("--gid", metavar="ID", help="The group id that buildpacks run as.", rich_help_panel=SHAPE),
]
Before = Annotated[
    list[str] | None,
    _text(
        "--pre-buildpack",
        metavar="NAME",
        about="A buildpack in front of every group. Repeatable, in order.",
        panel=SHAPE,
    ),
]
After = Annotated[
    list[str] | None,
    _text(
        "--post-buildpack",
        metavar="NAME",
        about="A buildpack at the end of every group. Repeatable, in order.",
        panel=SHAPE,
    ),
]
WithoutSystem = Annotated[
    bool,
    typer.Option(
        "--disable-system-buildpacks",
        help="Leave out the buildpacks that the builder adds to every group.",
        rich_help_panel=SHAPE,
    ),
]
SbomDir = Annotated[
    str | None,
    _text("--sbom-output-dir", metavar="DIR", about="Also write the software bills of materials there.", panel=SHAPE),
]
ReportDir = Annotated[
    str | None,
    _text("--report-output-dir", metavar="DIR", about="Also write report.toml and report.json there.", panel=SHAPE),
]

TrustBuilder = Annotated[
    bool,
    typer.Option(
        "--trust-builder",
        help="As in pack, and not needed: no builder is given credentials, whoever made it.",
        rich_help_panel=SHAPE,
    ),
]
Quiet = Annotated[
    int, typer.Option("-q", "--quiet", count=True, metavar="", help="Say less: -q leaves warnings and errors.")
]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, metavar="", help="Say more: -v shows reasons, -vv commands too.")
]

TrustExtra = Annotated[bool, _idle("--trust-extra-buildpacks")]
UsernsHost = Annotated[bool, _idle("--userns-host")]
Interactive = Annotated[bool, _idle("--interactive")]
LifecycleImage = Annotated[str | None, _idle("--lifecycle-image")]
Service = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="NAME",
        help="The service's name in the compose file; the image's last name unless given.",
        rich_help_panel=COMMON,
    ),
]
ComposeFile = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="The file to write: compose.yaml of the application, or compose.override.yaml beside it, unless given.",
        rich_help_panel=COMMON,
    ),
]
ComposePort = Annotated[
    int,
    typer.Option(
        "--port",
        metavar="PORT",
        min=1,
        max=65_535,
        help="Where the application listens, here and in the container, as PORT in its environment.",
        rich_help_panel=COMMON,
    ),
]
