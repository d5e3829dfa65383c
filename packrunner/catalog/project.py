"""Finding an application's project.toml (PRJ-01)."""

from __future__ import annotations

import os
import stat

from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import project
from packrunner.paths import readable

NAME = "project.toml"
_LIMIT = 1 << 20


def load(app_dir: str, explicit: str | None = None) -> project.Project:
    """The project descriptor of the application, or the one at `explicit`; an empty one when there is none.

    Raises UsageError, slug `project-missing` where `explicit` does not exist, and what `project.read` raises.
    """
    path = explicit or os.path.join(app_dir, NAME)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        if explicit is None:
            return project.Project()
        raise UsageError(
            f"there is no file {explicit}", slug="project-missing", tries=(f"ls {os.path.dirname(explicit) or '.'}",)
        ) from error
    except OSError as error:
        raise disk_error(error, path) from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{readable(path)} is not a file", slug="project-missing", at=readable(path))
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise UsageError(f"{readable(path)} is larger than 1 MB", slug="toml", at=readable(path))
    return project.read(data, where=readable(path))
