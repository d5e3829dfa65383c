"""Exceptions nobody expected: a report in the state directory, and an error that names it."""

from __future__ import annotations

import errno
import os
import platform
import sys
import traceback
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner._version import __version__
from packrunner.console import log
from packrunner.errors import PackrunnerError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.console.redact import Redactor

_LIMITS = {
    errno.EMFILE: ("the limit of open files is reached", "ulimit -n 1024"),
    errno.ENFILE: ("this machine has reached its limit of open files", ""),
    errno.EAGAIN: ("the limit of processes is reached", "ulimit -u"),
    errno.EFBIG: ("the limit of a file's size is reached", "ulimit -f unlimited"),
}


def explain(error: BaseException, argv: Sequence[str], redact: Redactor) -> PackrunnerError:
    """The error to show: a full disk or a limit by its name, anything else as a bug with a saved report."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreError("the disk is full", slug="disk-full", at=_file(error), tries=("packrunner prune",))
    if isinstance(error, OSError) and error.errno in _LIMITS:
        brief, remedy = _LIMITS[error.errno]
        return StoreError(brief, slug="limit", at=_file(error), tries=(remedy,) if remedy else ())
    if isinstance(error, MemoryError):
        return StoreError("there is not enough memory", slug="limit", tries=("ulimit -v unlimited",))
    path = _save(error, argv, redact)
    return PackrunnerError(
        f"packrunner met something it was not made for: {type(error).__name__}",
        slug="bug",
        tries=("the same command with PACKRUNNER_VERBOSE=1 in front, which shows where",),
        more=f"{path} is a report to attach when you tell the project" if path else None,
    )


def _file(error: OSError) -> str | None:
    return paths.readable(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None


def text(error: BaseException, argv: Sequence[str], redact: Redactor) -> str:
    """The report: versions, arguments without values of variables, traceback; secrets hidden."""
    lines = [
        f"packrunner {__version__}",
        f"Python {platform.python_version()} ({sys.executable})",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        f"arguments: {' '.join(_without_values(argv))}",
        "",
        *traceback.format_exception(error),
    ]
    home = os.path.expanduser("~")
    whole = redact("\n".join(lines))
    return whole.replace(home + os.sep, "~" + os.sep) if len(home) > 1 else whole


def _without_values(argv: Sequence[str]) -> list[str]:
    shown = []
    value_next = False
    for argument in argv:
        name, equals, value = argument.partition("=")
        is_variable = value_next or argument.startswith("-e")
        value_next = argument in {"-e", "--env"}
        if name == "--env" and "=" in value:
            shown.append(f"--env={value.partition('=')[0]}=(hidden)")
        elif is_variable and equals:
            shown.append(f"{name}=(hidden)")
        else:
            shown.append(argument)
    return shown


def _save(error: BaseException, argv: Sequence[str], redact: Redactor) -> str:
    """Write the report; its path for people, or nothing where it could not be written."""
    directory = os.path.join(paths.state_dir(), "logs")
    try:
        descriptor = log.create(directory, "bug", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text(error, argv, redact))
            return paths.readable(os.readlink(f"/proc/self/fd/{descriptor}"))
    except OSError:
        return ""
