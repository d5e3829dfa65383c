"""The settings of a request for people and programs: names, values and origins. Values of variables are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.catalog.places import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packrunner.lifecycle.request import BuildRequest

_VARIABLE = "env:"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A name, its value, and where that comes from; of a variable the name alone."""

    name: str
    value: Any = None
    origin: str = msgspec.field(name="from", default="default")


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A place that the image, or something said about it, goes to."""

    kind: str
    place: str


def chosen(request: BuildRequest) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """The settings, and the variables for buildpacks; each by name."""
    values = _values(request)
    settings = [
        Setting(name=name, value=values[name], origin=origin)
        for name, origin in request.origins.items()
        if name in values
    ]
    settings += [Setting(name=name, value=value, origin="flag") for name, value in _only_flags(request)]
    variables = [
        Setting(name=name.removeprefix(_VARIABLE), origin=origin)
        for name, origin in request.origins.items()
        if name.startswith(_VARIABLE)
    ]
    return (
        tuple(sorted(settings, key=lambda one: one.name)),
        tuple(sorted(variables, key=lambda one: one.name)),
    )


def _values(request: BuildRequest) -> Mapping[str, Any]:
    """What each setting came to; how the story is told makes no difference to a build."""
    sent, made = request.delivery, request.shape
    return {
        "image": request.name,
        "path": request.source,
        "project": request.project_file,
        "builder": request.builder,
        "buildpack": tuple(map(plain, request.buildpacks)),
        "extension": request.extensions,
        "output": request.outputs,
        "run-image": request.run_image,
        "clear-cache": request.clear_cache,
        "rebuild": request.rebuild,
        "network": request.network,
        "engine": request.engine,
        "docker-host": request.docker_host,
        "ca-cert": request.ca_certs,
        "offline": request.offline,
        "tag": sent.tags,
        "push": sent.push,
        "load": sent.load,
        "compression": sent.compression,
        "insecure-registry": sent.insecure,
        "pull-policy": sent.pull_policy,
        "previous-image": sent.previous,
        "cache-image": sent.cache[1] if sent.cache and sent.cache[0] == "image" else "",
        "platform": made.platform,
        "creation-time": made.created,
        "exec-env": made.exec_env,
        "volume": tuple(f"{one.source}:{one.target}{'' if one.writable else ':ro'}" for one in made.volumes),
    }


def _only_flags(request: BuildRequest) -> Iterator[tuple[str, Any]]:
    """What has no other place to be set in, where it was given."""
    sent, made = request.delivery, request.shape
    given: tuple[tuple[str, Any], ...] = (
        ("binding", tuple(name for name, _ in request.bindings)),
        ("secret", tuple(name for name, _ in request.secrets)),
        ("env-file", request.env_files),
        ("cache", "=".join(sent.cache) if sent.cache and sent.cache[0] != "image" else ""),
        ("default-process", made.process),
        ("pre-buildpack", tuple(map(plain, made.before))),
        ("post-buildpack", tuple(map(plain, made.after))),
        ("disable-system-buildpacks", made.without_system),
        ("gid", made.gid),
        ("uid", made.uid),
    )
    return ((name, value) for name, value in given if value not in (None, "", (), False))


def outputs(request: BuildRequest) -> tuple[Output, ...]:
    """Where the image, and what is said about it, go."""
    sent, made = request.delivery, request.shape
    names = (request.name, *sent.tags)
    found: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("store", names),
        ("registry", names if sent.push else ()),
        ("docker", names if sent.load else ()),
        ("file", request.outputs),
        ("cache", sent.cache[1:]),
        ("sbom", (made.sbom_dir,)),
        ("report", (made.report_dir,)),
    )
    return tuple(Output(kind=kind, place=place) for kind, places in found for place in places if place)
