"""The environment of bin/detect and bin/build: an allow-list of the image's, the user's, the operator's, the layers'.

Pure: mappings in, mappings out. File contents are bytes and used to the byte; values are `str` as the operating
system's own decoding makes them (surrogateescape), so any byte but NUL survives. DET-04 - DET-09, BLD-17 - BLD-25.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PATHS = ("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH")
"""The POSIX path variables: a user's value is put in front of them (DET-07)."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
KEPT = frozenset((*PATHS, "HOME", "HOSTNAME", "CNB_STACK_ID", *_PROXIES, *(p.lower() for p in _PROXIES)))
"""All that survives of the image's own environment (DET-04)."""

ROOT_DIRS = (
    ("bin", ("PATH",)),
    ("lib", ("LD_LIBRARY_PATH", "LIBRARY_PATH")),
    ("include", ("CPATH",)),
    ("pkgconfig", ("PKG_CONFIG_PATH",)),
)
"""Directories of a layer, and the variables of later buildpacks that they join (BLD-17)."""


class LayerEnv(msgspec.Struct, frozen=True, kw_only=True):
    """What a build=true layer gives to later buildpacks.

    `path` is the layer's directory inside the sandbox; `dirs` names those of ROOT_DIRS that exist; `env` and
    `env_build` are the files of the directories of these names.
    """

    path: str
    dirs: frozenset[str] = frozenset()
    env: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    env_build: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class BuildEnv(msgspec.Struct, frozen=True):
    """The environment that grows from buildpack to buildpack; each call gives a new value."""

    variables: Mapping[str, str]

    @classmethod
    def start(cls, image_env: Mapping[str, str], *, home: str, trust: Mapping[str, str] | None = None) -> BuildEnv:
        """What the first buildpack starts from: the image's allowed variables, HOME, the host's trust."""
        return cls(base_env(image_env, home=home, trust=trust))

    def after(self, layers: Iterable[LayerEnv]) -> BuildEnv:
        """The environment for later buildpacks, once this one's build=true layers, by name, are known (BLD-18)."""
        variables = dict(self.variables)
        for layer in layers:
            _join_root_dirs(variables, layer)
            apply_files(variables, layer.env)
            apply_files(variables, layer.env_build)
        return BuildEnv(variables)

    def for_buildpack(
        self,
        platform_env: Mapping[str, str],
        *,
        clear_env: bool = False,
        operator: Mapping[str, bytes] | None = None,
    ) -> dict[str, str]:
        """The environment of one call: the user's values on top each time (BLD-21), then the operator's."""
        return overlay(self.variables, platform_env, clear_env=clear_env, operator=operator)


def buildpack_env(
    image_env: Mapping[str, str],
    platform_env: Mapping[str, str],
    *,
    clear_env: bool,
    home: str,
    operator: Mapping[str, bytes] | None = None,
    trust: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a call that no layer contributes to, that of bin/detect; CNB_* come on top (DET-04 - DET-09).

    `operator` maps the file names below /cnb/build-config/env to their contents; `trust` is the sandbox's `trust_env`.
    """
    return overlay(base_env(image_env, home=home, trust=trust), platform_env, clear_env=clear_env, operator=operator)


def base_env(image_env: Mapping[str, str], *, home: str, trust: Mapping[str, str] | None = None) -> dict[str, str]:
    """The image's allowed variables, HOME of the build user (DET-05), and what the host trusts."""
    variables = {name: value for name, value in image_env.items() if name in KEPT}
    variables["HOME"] = home
    variables.update(trust or {})
    return variables


def overlay(
    variables: Mapping[str, str],
    platform_env: Mapping[str, str],
    *,
    clear_env: bool = False,
    operator: Mapping[str, bytes] | None = None,
) -> dict[str, str]:
    """`variables` under the user's values, unless the buildpack wants none (DET-08), under the operator's."""
    result = dict(variables)
    if not clear_env:
        for name, value in platform_env.items():
            result[name] = _in_front(value, result.get(name, "")) if name in PATHS else value
    apply_files(result, operator or {}, bare="default")
    return result


def apply_files(variables: dict[str, str], files: Mapping[str, bytes], *, bare: str = "override") -> None:
    """Apply one directory of environment files, in file-name order (BLD-22 - BLD-24).

    `bare` is what a file without suffix does: override in a layer, default for the operator (DET-09).
    """
    for file in sorted(files):
        name, _, action = file.partition(".")
        if not name or "=" in name:
            continue
        value = os.fsdecode(files[file])
        current = variables.get(name, "")
        delimiter = os.fsdecode(files.get(f"{name}.delim", b"")) if current else ""
        match action or bare:
            case "override":
                variables[name] = value
            case "default":
                variables[name] = current or value
            case "append":
                variables[name] = current + delimiter + value
            case "prepend":
                variables[name] = value + delimiter + current
            case _:  # .delim, and whatever a newer specification may add
                pass


def target_env(target: tuple[str, str, str, str, str]) -> dict[str, str]:
    """CNB_TARGET_*: os and arch always, variant and distribution where known (TGT-08)."""
    os_name, arch, variant, distro, version = target
    optional = {
        "CNB_TARGET_ARCH_VARIANT": variant,
        "CNB_TARGET_DISTRO_NAME": distro,
        "CNB_TARGET_DISTRO_VERSION": version,
    }
    return {
        "CNB_TARGET_OS": os_name,
        "CNB_TARGET_ARCH": arch,
        **{name: value for name, value in optional.items() if value},
    }


def _join_root_dirs(variables: dict[str, str], layer: LayerEnv) -> None:
    for directory, names in ROOT_DIRS:
        if directory in layer.dirs:
            for name in names:
                variables[name] = _in_front(f"{layer.path}/{directory}", variables.get(name, ""))


def _in_front(value: str, current: str) -> str:
    return f"{value}:{current}" if current else value
