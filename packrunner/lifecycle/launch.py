"""What the launcher in the image will read: processes merged over all buildpacks, metadata.toml (BLD-14 - BLD-16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.formats.api import PLATFORM_API, platform_features
from packrunner.formats.launch import LaunchMetadata, LaunchProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.formats.group import GroupMember
    from packrunner.formats.layer import LaunchFile, Process

ANY = "*"


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The processes by type, the default type or "", and a warning or ""."""

    processes: tuple[LaunchProcess, ...]
    default: str
    warning: str


def merge(files: Sequence[tuple[GroupMember, LaunchFile]], *, exec_envs: bool = True) -> Merged:
    """Merge in build order: a later definition replaces earlier ones of its type (BLD-14).

    Of several for one type, each for other execution environments, the latest comes first, as the first that fits is
    the one that runs (LAU-08). Launchers of platforms without `exec_envs` know one a type, whatever it is for.
    """
    chosen: list[LaunchProcess] = []
    default = warning = ""
    for member, file in files:
        own = {p.type for p in file.processes if p.default}
        for process in file.processes:
            if process.default:
                default, warning = process.type, ""
            elif process.type == default and default not in own:
                default = ""
                warning = f"{member.id} redefines the default process {process.type} without `default = true`"
        chosen = _replaced(chosen, [_launch_process(member, p, exec_envs=exec_envs) for p in file.processes])
    return Merged(processes=tuple(sorted(chosen, key=lambda p: p.type)), default=default, warning=warning)


def metadata(
    group: tuple[GroupMember, ...],
    files: Sequence[tuple[GroupMember, LaunchFile]],
    *,
    extensions: tuple[GroupMember, ...] = (),
    platform_api: str = PLATFORM_API,
    bom: Sequence[Mapping[str, Any]] = (),
) -> LaunchMetadata:
    """metadata.toml of the whole group, as launchers of the platform's level read it (BLD-15, BLD-28)."""
    features = platform_features(platform_api)
    merged = merge(files, exec_envs=features.exec_env)
    processes = merged.processes if features.command_list else tuple(_one_word(p) for p in merged.processes)
    return LaunchMetadata(
        bom=() if features.bom_files else tuple(dict(entry) for entry in bom),
        buildpack_default_process_type=merged.default,
        buildpacks=group,
        extensions=extensions,
        processes=processes,
        labels=tuple(label for _, file in files for label in file.labels),
        slices=tuple(part for _, file in files for part in file.slices),
    )


def _one_word(process: LaunchProcess) -> LaunchProcess:
    """The command as one string; what else it had goes in front of the arguments, so that nothing is lost."""
    first, *rest = [process.command] if isinstance(process.command, str) else process.command
    return msgspec.structs.replace(process, command=first, args=(*rest, *process.args))


def _launch_process(member: GroupMember, process: Process, *, exec_envs: bool) -> LaunchProcess:
    return LaunchProcess(
        type=process.type,
        command=process.command,
        args=process.args,
        direct=process.direct,
        buildpack_id=member.id,
        working_dir=process.working_dir,
        exec_env=(process.exec_env or (ANY,)) if exec_envs else (),
    )


def _replaced(old: list[LaunchProcess], new: list[LaunchProcess]) -> list[LaunchProcess]:
    covered: dict[str, set[str]] = {}
    for process in new:
        covered.setdefault(process.type, set()).update(process.exec_env)
    left = [
        p for p in old if not (p.type in covered and (ANY in covered[p.type] or set(p.exec_env) <= covered[p.type]))
    ]
    return new + left
