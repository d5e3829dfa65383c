"""Buildpacks that project.toml names, in `group`, `pre` or `post`: by id, place, or as a script (PRJ-05 - PRJ-07)."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.errors import BuildpackApiError, UsageError
from packrunner.formats import api
from packrunner.names import BuildpackId


class Script(msgspec.Struct, frozen=True):
    """A buildpack that is only a bin/build: `inline` is run by `shell`."""

    api: str = ""
    inline: str = ""
    shell: str = "/bin/sh"


class Member(msgspec.Struct, frozen=True, rename="kebab"):
    """One entry: `id` with or without `version`, `uri`, or `id` with `script`."""

    id: str = ""
    version: str = ""
    uri: str = ""
    optional: bool = False
    exec_env: tuple[str, ...] = ()
    script: Script | None = None


def others(members: Any) -> list[str]:
    """Keys of entries, and of their scripts, that mean nothing."""
    tables = [one for one in members if isinstance(one, dict)]
    scripts = [one["script"] for one in tables if isinstance(one.get("script"), dict)]
    found = {key for table in tables for key in table} - set(Member.__struct_encode_fields__)
    return sorted(found | {f"script.{key}" for s in scripts for key in set(s) - set(Script.__struct_encode_fields__)})


def check(member: Member, where: str) -> None:
    """Raises UsageError (`project-group`) for an entry that names no buildpack, or two; BuildpackApiError."""
    if not member.id and not member.uri:
        raise _wrong("a member of a group has neither id nor uri", where, "id", 'id = "python"')
    if member.uri and member.version:
        raise _wrong(f"{member.uri} has a version beside its uri", where, "version", "remove the version")
    if member.uri and member.script:
        raise _wrong(f"{member.uri} has a script beside its uri", where, "script", "remove one of them")
    if member.id:
        try:
            BuildpackId.parse(member.id)
        except UsageError as error:
            raise _wrong(error.brief, where, "id", 'id = "name/of-it"') from error
    if member.script is not None:
        _check_script(member.id, member.script, where)


def _check_script(identity: str, script: Script, where: str) -> None:
    if not script.inline:
        raise _wrong(f"the script of {identity} is empty", where, "script.inline", 'inline = "make"')
    if not script.api:
        raise _wrong(
            f"the script of {identity} names no Buildpack API",
            where,
            "script.api",
            f'api = "{api.BUILDPACK_APIS[-1]}"',
        )
    if not script.shell.startswith("/") or not script.shell.isprintable():
        raise _wrong(
            f"{script.shell!r} cannot run the script of {identity}", where, "script.shell", 'shell = "/bin/bash"'
        )
    if not api.supports_buildpack(script.api):
        raise BuildpackApiError(
            f"the script of {identity} needs Buildpack API {script.api}, which packrunner does not have",
            slug="buildpack-api",
            cause=f"packrunner supports {', '.join(api.BUILDPACK_APIS)}",
            at=f"{where}, key group.script.api",
        )


def _wrong(brief: str, where: str, key: str, fix: str) -> UsageError:
    return UsageError(f"{where}: {brief}", slug="project-group", at=f"{where}, key group.{key}", tries=(fix,))
