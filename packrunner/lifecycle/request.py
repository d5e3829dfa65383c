"""Everything a build was asked for, resolved once: each value knows its origin, phases get their own small inputs.

Rebuilt from a record by builds whose arguments were parsed before, so this module and what it imports stay light.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from packrunner import config as settings
from packrunner.catalog.wanted import NOTHING, Groups, Wanted
from packrunner.errors import UsageError
from packrunner.lifecycle.bindings import parse_binding, parse_secret
from packrunner.lifecycle.image_names import check_registries, image_name, locator, name_of_directory, output
from packrunner.lifecycle.volumes import Volume, bindings_of
from packrunner.lifecycle.wishes import Delivery, Shape, delivery, divided, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from packrunner.config import Config, Origin
    from packrunner.lifecycle.given import Flags, ProjectSettings

_ENV_NAME = re.compile(r"[^=/\x00]+")
_LONGEST = 60


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A build, as asked for. All paths are absolute; `project_file` is where project.toml is, or would be."""

    name: str
    source: str
    project_file: str = ""
    builder: str = "debian:13"
    buildpacks: tuple[str, ...] = ()
    groups: Groups = NOTHING
    """What project.toml asks for where `buildpacks` asks for nothing."""
    project: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What the project label says."""
    bindings: tuple[tuple[str, str], ...] = ()
    """(name, directory); contents are never part of a request."""
    secrets: tuple[tuple[str, str], ...] = ()
    """(id, file), or (id, `env:VARIABLE`)."""
    extensions: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """Build variables, merged: project.toml, then --env-file, then -e; sorted by name."""
    inherited: tuple[str, ...] = ()
    """Names whose values `-e NAME` or a line of an --env-file took from the environment."""
    env_files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    run_image: str | None = None
    clear_cache: bool = False
    rebuild: bool = False
    network: str = "host"
    """Host, none, or with the engine docker one of its networks."""
    engine: Literal["sandbox", "docker"] = "sandbox"
    docker_host: str = ""
    """Which Docker engine; "" for what its own settings say."""
    ca_certs: tuple[str, ...] = ()
    """`host`, or files with certificates of authorities."""
    offline: bool = False
    """No network is used; that of buildpacks is `none` then."""
    delivery: Delivery = Delivery()
    shape: Shape = Shape()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quiet: int = 0
    verbose: int = 0
    progress: Literal["auto", "tty", "plain", "json"] = "auto"
    color: Literal["auto", "always", "never"] = "auto"
    animation: bool = True
    warnings: tuple[tuple[str, str], ...] = ()
    """(text, what to do) about the settings themselves."""
    origins: Mapping[str, Origin] = msgspec.field(default_factory=dict)

    @property
    def sandbox_network(self) -> Literal["host", "none"]:
        """Whether buildpacks have a network at all."""
        return "none" if self.network == "none" else "host"

    def to_plain(self) -> dict[str, Any]:
        """The request as JSON's own types."""
        return {name: _plain(getattr(self, name)) for name in self.__struct_fields__}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The request that `to_plain` made; raises ValueError for anything else."""
        try:
            values = {name: _frozen(value) for name, value in plain.items()}
            if "groups" in values:
                values["groups"] = Groups(*(tuple(Wanted(*one) for one in group) for group in values["groups"]))
            if "delivery" in values:
                values["delivery"] = Delivery(**values["delivery"])
            if "shape" in values:
                made = Shape(**values["shape"])
                values["shape"] = msgspec.structs.replace(made, volumes=tuple(Volume(*one) for one in made.volumes))
            return cls(**values)
        except (TypeError, AttributeError) as e:
            raise ValueError(str(e)) from e

    def to_json(self) -> str:
        """The request as JSON text."""
        import json

        return json.dumps(self.to_plain())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The request that `to_json` made; raises ValueError."""
        import json

        return cls.from_plain(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return dict(value) if isinstance(value, dict) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(one) for name, one in value.items()}
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def merge(
    flags: Flags, environ: Mapping[str, str], project: ProjectSettings | None = None, config: Config | None = None
) -> BuildRequest:
    """Resolve every value: flag, environment, project.toml, config.toml, default. Pure; raises UsageError."""
    origins: dict[str, Origin] = {}

    def pick(name: str, flag: Any = None, given: Any = None) -> Any:
        found = settings.resolve(name, flag=flag, environ=environ, project=given, config=config)
        origins[name] = found.origin
        return found.value

    source = os.path.normpath(os.path.join(flags.cwd, pick("path", flags.path)))
    env, inherited = _environment(flags, environ, project, origins)
    origins["image"] = "flag" if flags.image else "default"
    project_file = os.path.normpath(os.path.join(source, "project.toml"))
    if flags.project is not None:
        project_file = os.path.normpath(os.path.join(flags.cwd, flags.project))
        origins["project"] = "flag"
    buildpacks = pick("buildpack", flags.buildpacks)
    extensions = pick("extension", flags.extensions)
    engine = pick("engine", flags.engine)
    run_image = pick("run-image", flags.run_image)
    builder = pick("builder", flags.builder, project.builder if project else None)
    project_dir = os.path.dirname(project_file)
    name = image_name(flags.image) if flags.image else name_of_directory(source)
    sent, remarks = delivery(flags, pick)
    made = shape(flags, pick, lambda text: _buildpack(text, flags.cwd))
    if sent.push:
        check_registries((name, *sent.tags))
    return BuildRequest(
        name=name,
        source=source,
        project_file=project_file,
        builder=locator(builder, project_dir if origins["builder"] == "project.toml" else flags.cwd),
        buildpacks=tuple(_buildpack(one, flags.cwd) for text in buildpacks for one in divided(text, flags.cwd)),
        groups=_groups(project, project_dir),
        project=dict(project.metadata) if project else {},
        bindings=(*(parse_binding(text, flags.cwd) for text in flags.bindings), *bindings_of(made.volumes)),
        secrets=tuple(parse_secret(text, flags.cwd) for text in flags.secrets),
        extensions=tuple(os.path.normpath(os.path.join(flags.cwd, text)) for text in extensions),
        env=env,
        inherited=inherited,
        env_files=tuple(os.path.join(flags.cwd, path) for path, _ in flags.env_files),
        outputs=tuple(output(text, flags.cwd) for text in pick("output", flags.outputs)),
        run_image=locator(run_image, flags.cwd) if run_image else None,
        clear_cache=pick("clear-cache", flags.clear_cache),
        rebuild=pick("rebuild", flags.rebuild),
        network=_network(flags, engine, pick, origins),
        engine=engine,
        docker_host=pick("docker-host", flags.docker_host) or "",
        ca_certs=tuple(_ca_cert(text, flags.cwd) for text in pick("ca-cert", flags.ca_certs)),
        offline=pick("offline", flags.offline),
        delivery=sent,
        shape=made,
        include=tuple(project.include) if project else (),
        exclude=tuple(project.exclude) if project else (),
        quiet=pick("quiet", flags.quiet),
        verbose=pick("verbose", flags.verbose),
        progress=pick("progress", flags.progress),
        color=pick("color", flags.color),
        animation=pick("animation"),
        warnings=(*_warnings(environ, project), *_without_effect(flags, remarks)),
        origins=origins,
    )


def _network(flags: Flags, engine: str, pick: Callable[..., Any], origins: dict[str, Origin]) -> str:
    """Without a network for packrunner there is none for buildpacks; asking for both at once is a mistake."""
    named = flags.network if engine == "docker" and flags.network not in {None, "host", "none"} else None
    network: str = named or pick("network", flags.network)
    if named:
        origins["network"] = "flag"
    if not pick("offline", flags.offline):
        return network
    if flags.network not in {None, "none"}:
        raise UsageError(
            f"--offline and --network {flags.network} contradict each other",
            slug="usage",
            cause="--offline is for buildpacks too",
            tries=("leave out one of them",),
        )
    origins["network"] = origins["offline"]
    return "none"


def _ca_cert(text: str, cwd: str) -> str:
    return text if text == "host" else os.path.normpath(os.path.join(cwd, os.path.expanduser(text)))


def _environment(
    flags: Flags, environ: Mapping[str, str], project: ProjectSettings | None, origins: dict[str, Origin]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    merged: dict[str, str] = {}
    inherited: list[str] = []

    def add(text: str, where: str) -> None:
        name, equals, value = text.partition("=")
        if not _ENV_NAME.fullmatch(name):
            raise UsageError(
                # Not its value, and of a file nothing at all: what stands there may be secret.
                f"{'a line' if where else repr(name[:_LONGEST])} does not name a variable",
                slug="env",
                cause="a name is one or more characters other than `=` and `/`",
                at=where or None,
                tries=("write NAME=VALUE, or NAME to pass the value that NAME has here",),
            )
        if not equals:
            inherited.append(name)
            if name not in environ:
                return
            value = environ[name]
        merged[name] = value
        origins[f"env:{name}"] = "env-file" if where else "flag"

    exec_env = settings.resolve("exec-env", flag=flags.exec_env, environ=environ).value
    for name, value in project.variables(exec_env).items() if project else ():
        merged[name] = value
        origins[f"env:{name}"] = "project.toml"
    for path, text in flags.env_files:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                add(line, f"{path}:{number}")
    for item in flags.env:
        add(item, "")
    return tuple(sorted(merged.items())), tuple(sorted(set(inherited)))


def _warnings(environ: Mapping[str, str], project: ProjectSettings | None) -> tuple[tuple[str, str], ...]:
    found = [
        (f"{name} is not a variable of packrunner", f"perhaps {near} was meant")
        for name, near in settings.misspelt(environ)
    ]
    if project is not None:
        found += [(text, "") for text in project.warnings]
        found += [(f"project.toml: {key} is not a key of its schema", _nearest(key)) for key in project.unknown]
    return tuple(found)


def _nearest(key: str) -> str:
    # Few files have such a key.
    from packrunner.formats import project, toml

    near = toml.nearest(key.rpartition(".")[2], project.ProjectFile)
    return f"perhaps {near} was meant" if near else ""


def _without_effect(flags: Flags, remarks: Sequence[str]) -> Iterator[tuple[str, str]]:
    more = "docs/reference/pack-flags.md says why of each of pack's flags"
    yield from ((f"{flag} has no effect here", more) for flag in flags.idle)
    yield from ((text, "") for text in remarks)


def _groups(project: ProjectSettings | None, directory: str) -> Groups:
    if project is None:
        return NOTHING
    # A recorded request has them already.
    from packrunner.catalog.project import groups

    return groups(project, directory)


def _buildpack(text: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, text)) if text.startswith((".", "/")) else text
