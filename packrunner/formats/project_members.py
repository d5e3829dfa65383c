"""Buildpacks that project.toml names, in `group`, `pre` or `post`: by id, place, or as a script (PRJ-05 - PRJ-07)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.errors import BuildpackApiError, UsageError
from packrunner.formats import api
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from packrunner.formats.positions import Document


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


def check(members: tuple[Member, ...], key: str, source: Document) -> None:
    """Raises UsageError (`project-group`) for an entry that names no buildpack, or two; BuildpackApiError."""
    for i, member in enumerate(members):
        _check(member, f"{key}[{i}]", source)


def _check(member: Member, key: str, source: Document) -> None:
    if not member.id and not member.uri:
        raise _wrong("a member of a group has neither id nor uri", source, key, 'id = "python"')
    if member.uri and member.version:
        raise _wrong(f"{member.uri} has a version beside its uri", source, f"{key}.version", "remove the version")
    if member.uri and member.script:
        raise _wrong(f"{member.uri} has a script beside its uri", source, f"{key}.script", "remove one of them")
    if member.id:
        try:
            BuildpackId.parse(member.id)
        except UsageError as error:
            raise _wrong(error.brief, source, f"{key}.id", 'id = "name/of-it"') from error
    if member.script is not None:
        _check_script(member.id, member.script, f"{key}.script", source)


def _check_script(identity: str, script: Script, key: str, source: Document) -> None:
    if not script.inline:
        raise _wrong(f"the script of {identity} is empty", source, f"{key}.inline", 'inline = "make"')
    if not script.api:
        fix = f'api = "{api.BUILDPACK_APIS[-1]}"'
        raise _wrong(f"the script of {identity} names no Buildpack API", source, f"{key}.api", fix)
    if not script.shell.startswith("/") or not script.shell.isprintable():
        brief = f"{script.shell!r} cannot run the script of {identity}"
        raise _wrong(brief, source, f"{key}.shell", 'shell = "/bin/bash"')
    if not api.supports_buildpack(script.api):
        raise BuildpackApiError(
            f"the script of {identity} needs Buildpack API {script.api}, which packrunner does not have",
            slug="buildpack-api",
            cause=f"packrunner supports {', '.join(api.BUILDPACK_APIS)}",
            at=source.at(f"{key}.api"),
        )


def _wrong(brief: str, source: Document, key: str, fix: str) -> UsageError:
    return UsageError(f"{source.where}: {brief}", slug="project-group", at=source.at(key), tries=(fix,))
