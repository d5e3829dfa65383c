"""Finding an application's project.toml, and the buildpacks that it names (PRJ-01, PRJ-05 - PRJ-07)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol

from packrunner.catalog.places import seen_from
from packrunner.catalog.wanted import Groups, Wanted
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import project
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.project_members import Member

NAME = "project.toml"
_LIMIT = 1 << 20


_NO_VERSION = "0.0.0"


def load(app_dir: str, explicit: str | None = None) -> project.Project | None:
    """The project descriptor of the application, or the one at `explicit`; None when there is none.

    Raises UsageError, slug `project-missing` where `explicit` does not exist, and what `project.read` raises.
    """
    path = explicit or os.path.join(app_dir, NAME)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        if explicit is None:
            return None
        raise UsageError(
            f"there is no file {explicit}", slug="project-missing", tries=(f"ls {os.path.dirname(explicit) or '.'}",)
        ) from error
    except OSError as error:
        raise disk_error(error, path) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{readable(path)} is not a file", slug="project-missing", at=readable(path))
    with os.fdopen(fd, "rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise UsageError(f"{readable(path)} is larger than 1 MB", slug="toml", at=readable(path))
    return project.read(data, where=readable(path))


class Members(Protocol):
    """The part of project.toml that names buildpacks."""

    @property
    def group(self) -> Sequence[Member]:
        """In place of the builder's order."""

    @property
    def pre(self) -> Sequence[Member]:
        """Before each group of it."""

    @property
    def post(self) -> Sequence[Member]:
        """After each group of it."""


def groups(found: Members, directory: str) -> Groups:
    """What the file asks for; places in it are relative to `directory`, where it is."""
    return Groups(
        group=tuple(_wanted(member, directory) for member in found.group),
        pre=tuple(_wanted(member, directory) for member in found.pre),
        post=tuple(_wanted(member, directory) for member in found.post),
    )


def _wanted(member: Member, directory: str) -> Wanted:
    if member.script is not None:
        return Wanted(
            text=f"{member.id}@{member.version or _NO_VERSION}",
            optional=member.optional,
            exec_env=member.exec_env,
            inline=member.script.inline,
            shell=member.script.shell,
            api=member.script.api,
        )
    if member.uri:
        text = _uri(member.uri, directory)
    else:
        text = f"{member.id}@{member.version}" if member.version else member.id
    return Wanted(text=text, optional=member.optional, exec_env=member.exec_env)


def _uri(uri: str, directory: str) -> str:
    """What --buildpack takes for a `uri`: other schemes than these are refused there, by name."""
    if uri.startswith("urn:cnb:builder:"):
        return uri.removeprefix("urn:cnb:builder:")
    return seen_from(uri, directory)
