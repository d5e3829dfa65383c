"""`<layers>/config/metadata.toml`: what the launcher in the image reads (BLD-15, BLD-16)."""

from __future__ import annotations

import msgspec

from packrunner.formats.group import GroupMember
from packrunner.formats.layer import Label, Slice


class LaunchProcess(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """A process as the launcher sees it."""

    type: str
    command: tuple[str, ...]
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
