"""How an image is started: which program, with which environment, as whom. Pure but for one look at its list of users.

Images made by a lifecycle start through the launcher in them; any other image through its own entrypoint.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined
from packrunner.engines.base import User
from packrunner.errors import LaunchError, UsageError
from packrunner.formats import labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.images.image import Image

LAUNCHER = "/cnb/lifecycle/launcher"
PROCESSES = "/cnb/process"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMIT = 1 << 20


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A program to start in an image."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    user: User


def start(
    image: Image,
    lowers: Sequence[str],
    *,
    env: Mapping[str, str],
    process: str | None,
    args: tuple[str, ...],
    command: bool,
) -> Start:
    """Find out how to start the image whose unpacked layers are `lowers`, lowest first.

    `process` chooses one of its processes; with `command`, `args` are a program of their own, found with the
    launch environment. Raises LaunchError for a process the image does not have.
    """
    user = user_of(image, lowers)
    merged = {"PATH": _DEFAULT_PATH, "HOME": user.home, **dict(image.env), **env}
    return Start(argv=_argv(image, process, args, command=command), env=merged, cwd=image.working_dir or "/", user=user)


def _argv(image: Image, process: str | None, args: tuple[str, ...], *, command: bool) -> tuple[str, ...]:
    built = labels.LIFECYCLE in image.labels
    if command and not args:
        raise UsageError(
            "--command needs a program after --", slug="usage", tries=("packrunner run IMAGE --command -- sh",)
        )
    if built and command:
        return (LAUNCHER, "--", *args)
    if process:
        known = labels.process_types(image.labels)
        if process not in known:
            raise LaunchError(
                f"the image has no process {process}",
                slug="process-unknown",
                cause=f"it has {', '.join(known)}" if known else "it has none",
                tries=("packrunner inspect IMAGE",),
            )
        return (f"{PROCESSES}/{process}", *args)
    argv = args if command else (*image.entrypoint, *(args or image.cmd))
    if not argv:
        raise LaunchError(
            "the image says nothing about what to start", slug="no-entrypoint", tries=("... --command -- sh",)
        )
    return tuple(argv)


def user_of(image: Image, lowers: Sequence[str]) -> User:
    """The image's user by number; names and homes are looked up in its own files, which are not trusted (SBX-13).

    Raises LaunchError for a user or group that cannot be found there, or cannot be one (SBX-42).
    """
    wanted, _, group = (image.user or "0").partition(":")
    row = next((row for row in _rows(lowers, "etc/passwd", 7) if wanted in (row[0], row[2])), None)
    uid = _number(wanted if wanted.isdigit() else row[2] if row else "", image.user)
    gid = _group(group, lowers, image.user) if group else _number(row[3], image.user) if row else uid
    home = row[5] if row and os.path.isabs(row[5]) else "/home/cnb"
    return User(uid=uid, gid=gid, home=home, name=row[0] if row else "cnb")


def _group(wanted: str, lowers: Sequence[str], user: str) -> int:
    if wanted.isdigit():
        return _number(wanted, user)
    row = next((row for row in _rows(lowers, "etc/group", 4) if row[0] == wanted), None)
    return _number(row[2] if row else "", user)


def _number(text: str, user: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise LaunchError(f"the image's user {user!r} cannot be found in it", slug="image-user")
    return int(text)


def _rows(lowers: Sequence[str], name: str, fields: int) -> list[list[str]]:
    """The well-formed lines of the topmost layer's list; none where that is not a plain file."""
    for lower in reversed(lowers):
        with confined.Root.open(lower) as root:
            kind = root.kind(name) if root.kind("etc") == "dir" else None
            if kind is None:
                continue
            data = root.read(name, limit=_LIMIT) if kind == "file" else None
        rows = [line.split(":") for line in (data or b"").decode(errors="replace").splitlines()]
        return [row for row in rows if len(row) == fields and row[2].isdigit()]
    return []
