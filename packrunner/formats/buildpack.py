"""buildpack.toml (Buildpack API 0.7 - 0.12): what a buildpack is, where it fits, or which order it stands for."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.errors import BuildpackApiError, PackrunnerError, UsageError
from packrunner.formats import api, toml
from packrunner.formats.positions import place
from packrunner.names import BuildpackId


class ExecEnvName(msgspec.Struct, frozen=True):
    """The specification's table form of an execution environment (BPD-13)."""

    name: str


class License(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[[buildpack.licenses]]`."""

    type: str = ""
    uri: str = ""


class BuildpackInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """`[buildpack]`: identity and flags."""

    id: str
    version: str = ""
    name: str = ""
    homepage: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    licenses: tuple[License, ...] = ()
    clear_env: bool = False
    sbom_formats: tuple[str, ...] = ()
    exec_env: tuple[str | ExecEnvName, ...] = ()

    @property
    def exec_envs(self) -> tuple[str, ...]:
        """The environments this buildpack runs in, both spellings read; empty means all."""
        return tuple(e if isinstance(e, str) else e.name for e in self.exec_env)


class Distro(msgspec.Struct, frozen=True, omit_defaults=True):
    """A distribution a target names; empty parts match anything (TGT-01)."""

    name: str = ""
    version: str = ""


class Target(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """`[[targets]]`: where a buildpack runs."""

    os: str = ""
    arch: str = ""
    variant: str = ""
    arch_variant: str = ""
    distros: tuple[Distro, ...] = ()


class Stack(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[[stacks]]`, deprecated but alive (STK-03)."""

    id: str
    mixins: tuple[str, ...] = ()


class GroupRef(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """A member of an order's group."""

    id: str
    version: str = ""
    optional: bool = False
    exec_env: tuple[str, ...] = ()


class OrderGroup(msgspec.Struct, frozen=True):
    """One alternative of an order."""

    group: tuple[GroupRef, ...] = ()


class BuildpackDescriptor(msgspec.Struct, frozen=True):
    """The whole file."""

    api: str
    buildpack: BuildpackInfo
    targets: tuple[Target, ...] = ()
    stacks: tuple[Stack, ...] = ()
    order: tuple[OrderGroup, ...] = ()
    metadata: dict[str, Any] = {}

    @property
    def is_composite(self) -> bool:
        """Whether the buildpack is only an order of others (BPD-04)."""
        return bool(self.order)


def read(data: bytes, *, where: str, error: type[PackrunnerError] = UsageError) -> BuildpackDescriptor:
    """Read and check a buildpack.toml; raises `error`, or BuildpackApiError for an unsupported API (BPD-02)."""
    descriptor = toml.decode(data, BuildpackDescriptor, where=where, error=error)
    BuildpackId.parse(descriptor.buildpack.id)
    if not api.supports_buildpack(descriptor.api):
        raise BuildpackApiError(
            f"{descriptor.buildpack.id} needs Buildpack API {descriptor.api}, which packrunner does not have",
            slug="buildpack-api",
            cause=f"packrunner supports {', '.join(api.BUILDPACK_APIS)}",
            at=place(data.decode(), "api", where),
        )
    return descriptor
