"""Targets: where a buildpack says it runs, and whether this base is such a place (TGT-01 - TGT-07). Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from packrunner.formats.buildpack import Distro, Target

if TYPE_CHECKING:
    from collections.abc import Collection

    from packrunner.formats.buildpack import BuildpackDescriptor

_BIONIC = Target(os="linux", arch="amd64", distros=(Distro(name="ubuntu", version="18.04"),))


class RunTarget(NamedTuple):
    """What a base image is: CNB_TARGET_*, empty where unknown."""

    os: str
    arch: str
    variant: str = ""
    distro_name: str = ""
    distro_version: str = ""

    def __str__(self) -> str:
        place = "/".join(part for part in self[:3] if part)
        return " ".join(part for part in (place, *self[3:]) if part)


def declared(descriptor: BuildpackDescriptor, programs: Collection[str] = ("build",)) -> tuple[Target, ...]:
    """The targets of a buildpack, inferred where it lists none (TGT-03, TGT-04).

    `programs` are the names in its bin directory.
    """
    if descriptor.targets:
        return descriptor.targets
    inferred = [
        _BIONIC if stack.id == "io.buildpacks.stacks.bionic" else Target()
        for stack in descriptor.stacks
        if stack.id in {"*", "io.buildpacks.stacks.bionic"}
    ]
    if not inferred and {"build.bat", "build.exe"} & set(programs):
        inferred.append(Target(os="windows"))
    if not inferred and "build" in programs:
        inferred.append(Target(os="linux"))
    return tuple(inferred)


def matches(targets: Collection[Target], base: RunTarget) -> bool:
    """Whether one of the targets is `base`; no targets match nothing (TGT-01)."""
    return any(_matches(target, base) for target in targets)


def describe(targets: Collection[Target]) -> str:
    """The targets, for a message."""
    texts: list[str] = []
    for target in targets:
        place = RunTarget(target.os, target.arch, target.variant or target.arch_variant)
        distros = " or ".join(f"{d.name} {d.version}".strip() for d in target.distros)
        texts.append(f"{place} {distros}".strip())
    return ", ".join(texts) or "no target"


def fill_distro(base: RunTarget, os_release: bytes) -> RunTarget:
    """Complete a missing distribution from the base's /etc/os-release (TGT-07); a version only of that one."""
    values: dict[str, str] = {}
    for line in os_release.decode(errors="replace").splitlines():
        name, found, value = line.strip().partition("=")
        if found and name in {"ID", "VERSION_ID"}:
            values[name] = _unquote(value)
    if base.distro_name and base.distro_name != values.get("ID"):
        return base
    return base._replace(
        distro_name=base.distro_name or values.get("ID", ""),
        distro_version=base.distro_version or values.get("VERSION_ID", ""),
    )


def _unquote(value: str) -> str:
    try:
        return "".join(shlex.split(value)[:1])
    except ValueError:
        return value.strip("\"'")


def _matches(target: Target, base: RunTarget) -> bool:
    variant = target.variant or target.arch_variant  # TGT-02
    if not (_same(target.os, base.os) and _same(target.arch, base.arch) and _same(variant, base.variant)):
        return False
    if not target.distros:
        return True
    if not (base.distro_name or base.distro_version):
        return False
    return any(_same(d.name, base.distro_name) and _same(d.version, base.distro_version) for d in target.distros)


def _same(wanted: str, have: str) -> bool:
    return not wanted or not have or wanted == have
