"""Which processes of an image are started for development, each with a port of its own, and by which command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.dev import ports
from packrunner.dev.app import Process
from packrunner.engines.base import Command
from packrunner.errors import LaunchError
from packrunner.formats import labels
from packrunner.lifecycle import launching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packrunner.images.image import Image

PROCFILE = "packrunner/procfile"
NOT_SERVED = frozenset({"release"})
"""Runs once for each release, by an old agreement about Procfiles."""
ATTACH = (launching.LAUNCHER, "--", "reloader", "attach")
"""What speaks with this side, started by the launcher as everything else."""
_FIRST_PORT = 8000


def chosen(found: Mapping[str, str], asked: Sequence[str]) -> tuple[str, ...]:
    """Those that were asked for, else the image's default and what its Procfile lists, the default first.

    Raises LaunchError, slug `no-entrypoint`, for an image without any.
    """
    if asked:
        return tuple(dict.fromkeys(asked))
    label = _read(found)
    listed = [p.type for p in label.processes if p.buildpack_id == PROCFILE and p.type not in NOT_SERVED]
    names = [label.buildpack_default_process_type, *listed]
    if not any(names):
        names = [process.type for process in label.processes if process.type == "web"]
    if not any(names):
        raise LaunchError(
            "the image does not say what to start",
            slug="no-entrypoint",
            cause=f"it has {', '.join(p.type for p in label.processes)}" if label.processes else "it has no processes",
            tries=("packrunner dev --process TYPE", "name a process `web` in a Procfile"),
        )
    return tuple(dict.fromkeys(filter(None, names)))


class Ports:
    """A port for each process, the same as long as the session lasts; `wanted` for the first."""

    def __init__(self, wanted: int | None = None) -> None:
        self._next = wanted or _FIRST_PORT
        self._given: dict[str, int] = {}

    def of(self, process: str) -> int:
        """The port of a process. Raises EngineError, slug `port-taken`."""
        if process not in self._given:
            self._given[process] = ports.free(self._next, frozenset(self._given.values()))
            self._next = self._given[process] + 1
        return self._given[process]


def commands(
    image: Image,
    lowers: Sequence[str],
    names: Sequence[str],
    *,
    env: Mapping[str, str],
    port: Callable[[str], int],
    place: Callable[[int], str],
) -> list[Process]:
    """What to start, each with its port; where the first one is found is said. Raises LaunchError."""
    made = []
    for number, name in enumerate(names):
        start = launching.start(
            image, lowers, env={"PORT": str(port(name)), **env}, process=name, args=(), command=False
        )
        made.append(
            Process(
                name=name,
                command=Command(argv=start.argv, env=start.env, cwd=start.cwd),
                place=place(int(own)) if number == 0 and (own := start.env["PORT"]).isdigit() else "",
            )
        )
    return made


def attach(image: Image, lowers: Sequence[str], *, env: Mapping[str, str]) -> Command:
    """The command that speaks with the reloader, through the launcher as everything else."""
    start = launching.start(image, lowers, env=env, process=None, args=ATTACH[2:], command=True)
    return Command(argv=start.argv, env=start.env, cwd=start.cwd)


def _read(found: Mapping[str, str]) -> labels.BuildLabel:
    try:
        return msgspec.json.decode(found.get(labels.BUILD, ""), type=labels.BuildLabel)
    except msgspec.DecodeError:
        return labels.BuildLabel(buildpacks=(), launcher=labels.LauncherRecord(), processes=())
