"""What an image is for: system, architecture, distribution; as its configuration, labels and /etc/os-release say."""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple


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


def default_target() -> RunTarget:
    """The default base on this machine; tests of buildpacks stand for it."""
    machine = os.uname().machine
    return RunTarget("linux", {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine), "", "debian", "13")


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
