"""`<layers>/config/metadata.toml`: what the launcher in the image reads (BLD-15, BLD-16)."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.errors import ExportError
from packrunner.formats import toml
from packrunner.formats.group import GroupMember
from packrunner.formats.layer import Label, Slice


class LaunchProcess(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """A process as the launcher sees it."""

    type: str
    command: tuple[str, ...] | str
    """One word for platforms below 0.10."""
    args: tuple[str, ...]
    direct: bool
    buildpack_id: str
    working_dir: str = ""
    exec_env: tuple[str, ...] = ()


class LaunchMetadata(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """metadata.toml."""

    buildpack_default_process_type: str = ""
    buildpacks: tuple[GroupMember, ...] = ()
    extensions: tuple[GroupMember, ...] = ()
    processes: tuple[LaunchProcess, ...] = ()
    labels: tuple[Label, ...] = ()
    slices: tuple[Slice, ...] = ()
    bom: tuple[dict[str, Any], ...] = ()
    """Legacy entries, for platforms below 0.9."""


def read(data: bytes, *, where: str) -> LaunchMetadata:
    """Read a metadata.toml that the build phase wrote. Raises ExportError."""
    return toml.decode(data, LaunchMetadata, where=where, error=ExportError)
