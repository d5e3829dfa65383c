"""What the launcher in the image will read: processes merged over all buildpacks, metadata.toml (BLD-14 - BLD-16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packrunner.formats.launch import LaunchMetadata, LaunchProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.group import GroupMember
    from packrunner.formats.layer import LaunchFile, Process

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The processes by type, the default type or "", and a warning or ""."""

    processes: tuple[LaunchProcess, ...]
    default: str
    warning: str


def merge(files: Sequence[tuple[GroupMember, LaunchFile]]) -> Merged:
    """Merge in build order: a later definition replaces earlier ones of its type (BLD-14).

    Of several for one type, each for other execution environments, the latest comes first, as the first that fits is
    the one that runs (LAU-08).
    """
    chosen: list[LaunchProcess] = []
    default = warning = ""
    for member, file in files:
        for process in file.processes:
            if process.default:
                default, warning = process.type, ""
            elif process.type == default:
                default = ""
                warning = f"{member.id} redefines the default process {process.type} without `default = true`"
        chosen = _replaced(chosen, [_launch_process(member, p) for p in file.processes])
    return Merged(processes=tuple(sorted(chosen, key=lambda p: p.type)), default=default, warning=warning)


def metadata(group: tuple[GroupMember, ...], files: Sequence[tuple[GroupMember, LaunchFile]]) -> LaunchMetadata:
    """metadata.toml of the whole group (BLD-15)."""
    merged = merge(files)
    return LaunchMetadata(
        buildpack_default_process_type=merged.default,
        buildpacks=group,
        processes=merged.processes,
        labels=tuple(label for _, file in files for label in file.labels),
        slices=tuple(part for _, file in files for part in file.slices),
    )


def _launch_process(member: GroupMember, process: Process) -> LaunchProcess:
    return LaunchProcess(
        type=process.type,
        command=process.command,
        args=process.args,
        direct=process.direct,
        buildpack_id=member.id,
        working_dir=process.working_dir,
        exec_env=process.exec_env or (ANY,),
    )


def _replaced(old: list[LaunchProcess], new: list[LaunchProcess]) -> list[LaunchProcess]:
    covered: dict[str, set[str]] = {}
    for process in new:
        covered.setdefault(process.type, set()).update(process.exec_env)
    left = [p for p in old if not ({ANY} & covered.get(p.type, set()) or set(p.exec_env) <= covered.get(p.type, set()))]
    return new + left
