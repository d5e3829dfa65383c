"""Targets: where a buildpack says it runs, and whether this base is such a place (TGT-01 - TGT-07). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.formats.buildpack import Distro, Target
from packrunner.formats.platform import RunTarget

if TYPE_CHECKING:
    from collections.abc import Collection

    from packrunner.formats.buildpack import BuildpackDescriptor

_BIONIC = Target(os="linux", arch="amd64", distros=(Distro(name="ubuntu", version="18.04"),))


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
