"""`packrunner compose up`, composed: Docker Compose, which copies, and a watcher for what needs a new image."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING

from msgspec.structs import replace

from packrunner import process
from packrunner.errors import PackrunnerError, UsageError
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from packrunner.cli.services import ComposePlan
    from packrunner.dev.changes import Batch
    from packrunner.dev.watch import Watcher
    from packrunner.events import Reporter
    from packrunner.formats.sync import SyncRules
    from packrunner.lifecycle.request import BuildRequest

_PROGRAMS = (("docker", "compose"), ("docker-compose",))
_OLDEST = (2, 32)
"""The first whose watch runs a command after it has copied."""
_PATIENCE = 20.0
_STEP = 0.3


def compose_version(request: BuildRequest) -> tuple[str, ...]:
    """How Compose is called here. Raises UsageError (`compose-missing`) where there is none, or an old one."""
    found = ""
    for program in _PROGRAMS:
        try:
            asked = subprocess.run(
                [*program, "version", "--short"], env=_environment(request), capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        found = asked.stdout.strip()
        numbers = found.removeprefix("v").split(".")
        if not all(one.isdigit() for one in numbers[:2]) or tuple(map(int, numbers[:2])) >= _OLDEST:
            return program
    oldest = ".".join(map(str, _OLDEST))
    raise UsageError(
        f"packrunner compose up needs Docker Compose {oldest} or newer",
        slug="compose-missing",
        cause=f"the one here is {found}" if found else "there is no `docker compose`, and no docker-compose",
        tries=("packrunner dev, which needs no Docker",),
    )


def compose(
    request: BuildRequest, first: Callable[[], ComposePlan], *, again: Callable[[], bool], reporter: Reporter
) -> int:
    """Build with `first`, then run Compose with its watch; its exit code.

    `again` builds for a change that needs it, and says whether it could. A change that Compose may have copied into a
    container that is no more, or into none at all, gets an image too.
    """
    told: Queue[Batch | PackrunnerError | float | None] = Queue()
    environment = _environment(request)
    with _watching(request, reporter, told.put) as root:
        plan = first()
        program = [*compose_version(request), *(word for file in plan.files for word in ("-f", file))]
        with _running([*program, "up", "--watch"], environment) as child:
            running = [*program, "ps", "--quiet", "--status", "running", plan.service]
            threading.Thread(target=_follow, args=(child, running, environment, told.put), daemon=True).start()
            copied_since, due = math.inf, False
            while (item := told.get()) is not None:
                if isinstance(item, PackrunnerError):
                    raise item
                if isinstance(item, float):
                    copied_since = item
                else:
                    lost = item.seen < copied_since
                    due = due or needs_image(_without(item, plan.files, root), plan.rules, lost=lost)
                if due and copied_since < math.inf:
                    due = False
                    if again():
                        subprocess.run(
                            [*program, "up", "--detach", "--no-deps", plan.service], env=environment, check=False
                        )
                        copied_since = time.monotonic()
            return child.wait()


def needs_image(batch: Batch, rules: SyncRules, *, lost: bool = False) -> bool:
    """Whether something changed that cannot be copied, or matters at all and was `lost`; directories mean nothing."""
    from packrunner.dev.rules import decide

    found = (decide(rules, change.path) for change in batch.changes if change.kind != "dir")
    return any(rule is None or rule.action == "rebuild" or (lost and rule.action != "ignore") for rule in found)


def _without(batch: Batch, files: Sequence[str], root: str) -> Batch:
    """What changed without the compose files, one of which was just written."""
    own = {os.path.relpath(os.path.realpath(file), root) for file in files}
    return replace(batch, changes=tuple(change for change in batch.changes if change.path not in own))


@contextmanager
def _watching(
    request: BuildRequest, reporter: Reporter, put: Callable[[Batch | PackrunnerError], None]
) -> Iterator[str]:
    """Tell of changes from here on, of files that are not ignored altogether; the directory that paths are in."""
    from packrunner.dev.ignored import Ignored
    from packrunner.dev.watch import Watcher
    from packrunner.lifecycle.application import rules_of

    project = rules_of(request)
    with Watcher(request.source, Ignored(request.source, project=project), notice=reporter.emit) as watcher:
        thread = Worker(lambda: _watch(watcher, put), "watch")
        try:
            thread.start()
            yield watcher.root
        finally:
            watcher.close()
            thread.wait()


def _watch(watcher: Watcher, put: Callable[[Batch | PackrunnerError], None]) -> None:
    try:
        for batch in watcher.batches():
            put(batch)
    except PackrunnerError as error:
        put(error)


def _follow(
    child: subprocess.Popen[bytes],
    running: Sequence[str],
    environment: dict[str, str],
    put: Callable[[float | None], None],
) -> None:
    """Tell when the service runs, by when Compose watches too, and when Compose has ended."""
    while child.poll() is None:
        if subprocess.run(running, env=environment, capture_output=True, check=False).stdout.strip():
            put(time.monotonic())
            break
        time.sleep(_STEP)
    child.wait()
    put(None)


@contextmanager
def _running(argv: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own: a Ctrl-C at the terminal is ours, and Compose is asked to stop once."""
    child = process.begin(lambda: subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, process_group=0))
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _environment(request: BuildRequest) -> dict[str, str]:
    """Compose and its watch talk to the engine that got the image."""
    environment = dict(os.environ)
    if request.docker_host:
        environment["DOCKER_HOST"] = request.docker_host
    return environment
