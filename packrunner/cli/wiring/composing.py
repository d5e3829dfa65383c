"""`packrunner compose up`, composed: Docker Compose, which copies, and a watcher for what needs a new image."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from packrunner.dev.changes import Batch
    from packrunner.dev.watch import Watcher
    from packrunner.events import Reporter
    from packrunner.formats.sync import SyncRules
    from packrunner.lifecycle.request import BuildRequest

_PROGRAMS = (("docker", "compose"), ("docker-compose",))
_OLDEST = (2, 32)
"""The first whose watch runs a command after it has copied."""
_PATIENCE = 20.0


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
    request: BuildRequest,
    rules: SyncRules,
    files: Sequence[str],
    service: str,
    *,
    again: Callable[[], bool],
    reporter: Reporter,
) -> int:
    """Run Compose with its watch; its exit code. `again` builds for a change that needs it, and says if it could."""
    program = [*compose_version(request), *(word for file in files for word in ("-f", file))]
    environment = _environment(request)
    with _watcher(request, rules, reporter) as watcher, _running([*program, "up", "--watch"], environment) as child:
        threading.Thread(target=_end, args=(child, watcher), name="compose", daemon=True).start()
        for batch in watcher.batches():
            if needs_image(batch, rules) and again():
                subprocess.run([*program, "up", "--detach", "--no-deps", service], env=environment, check=False)
        return child.wait()


def needs_image(batch: Batch, rules: SyncRules) -> bool:
    """Whether something changed that cannot be copied; directories by themselves mean nothing."""
    from packrunner.dev.rules import decide

    found = (decide(rules, change.path) for change in batch.changes if change.kind != "dir")
    return any(rule is None or rule.action == "rebuild" for rule in found)


def _watcher(request: BuildRequest, rules: SyncRules, reporter: Reporter) -> Watcher:
    from packrunner.dev.ignored import Ignored
    from packrunner.dev.watch import Watcher
    from packrunner.lifecycle.application import Rules

    project = Rules(include=request.include, exclude=request.exclude)
    return Watcher(request.source, Ignored(request.source, project=project, rules=rules.rules), notice=reporter.emit)


@contextmanager
def _running(argv: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own: a Ctrl-C at the terminal is ours, and Compose is asked to stop once."""
    child = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, process_group=0)
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


def _end(child: subprocess.Popen[bytes], watcher: Watcher) -> None:
    child.wait()
    watcher.close()


def _environment(request: BuildRequest) -> dict[str, str]:
    """Compose and its watch talk to the engine that got the image."""
    environment = dict(os.environ)
    if request.docker_host:
        environment["DOCKER_HOST"] = request.docker_host
    return environment
