"""extension.toml and extend-config.toml: what an image extension is, and the arguments it gives to its Dockerfiles."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from packrunner.errors import BuildpackApiError, GenerateError, PackrunnerError, UsageError
from packrunner.formats import api, toml
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, Target
from packrunner.formats.positions import place
from packrunner.names import BuildpackId

Kind = Literal["build", "run"]
"""Which base image a Dockerfile is for."""


class _ExtensionFile(msgspec.Struct, frozen=True):
    """The whole of extension.toml; `order` is read only to be refused (EXT-01)."""

    api: str
    extension: BuildpackInfo
    targets: tuple[Target, ...] = ()
    order: tuple[Any, ...] = ()
    metadata: dict[str, Any] = {}


class BuildArg(msgspec.Struct, frozen=True):
    """One argument for a Dockerfile."""

    name: str
    value: str


class _Args(msgspec.Struct, frozen=True):
    args: tuple[BuildArg, ...] = ()


class ExtendConfig(msgspec.Struct, frozen=True):
    """extend-config.toml (EXT-11)."""

    build: _Args = _Args()
    run: _Args = _Args()

    def args(self, kind: Kind) -> tuple[BuildArg, ...]:
        """The arguments of one kind of Dockerfile, in the file's order."""
        return self.build.args if kind == "build" else self.run.args


RESERVED_ARGS = frozenset({"build_id", "user_id", "group_id"})
"""Arguments that the lifecycle gives (EXT-11)."""


def read(data: bytes, *, where: str, error: type[PackrunnerError] = UsageError) -> BuildpackDescriptor:
    """Read an extension.toml as a descriptor without order; raises `error`, or BuildpackApiError (EXT-01, BPD-02)."""
    file = toml.decode(data, _ExtensionFile, where=where, error=error)
    BuildpackId.parse(file.extension.id)
    if file.order:
        raise error(
            f"{where}: an extension has no order of its own",
            slug="extension-order",
            at=place(data.decode(), "order", where),
        )
    if not api.supports_buildpack(file.api):
        raise BuildpackApiError(
            f"{file.extension.id} needs Buildpack API {file.api}, which packrunner does not have",
            slug="buildpack-api",
            cause=f"packrunner supports {', '.join(api.BUILDPACK_APIS)}",
            at=place(data.decode(), "api", where),
        )
    return BuildpackDescriptor(api=file.api, buildpack=file.extension, targets=file.targets, metadata=file.metadata)


def read_config(data: bytes, *, where: str) -> ExtendConfig:
    """Read an extend-config.toml; raises GenerateError, also for an argument that is not the extension's to set."""
    config = toml.decode(data, ExtendConfig, where=where, error=GenerateError)
    for kind, table in (("build", config.build), ("run", config.run)):
        for i, arg in enumerate(table.args):
            if arg.name in RESERVED_ARGS:
                raise GenerateError(
                    f"{where}: {arg.name} is set by the lifecycle, an extension cannot set it",
                    slug="extend-config",
                    at=place(data.decode(), f"{kind}.args[{i}].name", where),
                    tries=("give the argument another name",),
                )
    return config
