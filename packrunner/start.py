"""The entry point: answers `--version` and "nothing changed" by itself, hands everything else to the command line.

Importing the command-line library alone costs as much as the whole answer, so this module imports almost nothing. It
parses no arguments: it compares them, byte for byte, with those of the last successful build in this directory.

It is also the first that can answer a signal: until `cli.signals` does, there is nothing to clean up.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # of the interpreter; `signal` around it costs as much as all of this
import errno
import os
import sys
import time

_PHASES = {
    "analyzer": "analyze",
    "detector": "detect",
    "restorer": "restore",
    "extender": "extend",
    "builder": "build",
    "exporter": "export",
    "rebaser": "rebase",
    "creator": "create",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from packrunner.record import Record, Scan


class Known:
    """What start found out already, so that the build need not do it again."""

    __slots__ = ("record", "request", "scan", "settled", "started", "unchanged")

    def __init__(self, record: Record, started: float) -> None:
        self.record = record
        self.started = started
        self.scan: Scan | None = None
        self.settled = False
        """Whether no setting that went into the request has changed."""
        self.unchanged = False
        """Whether nothing changed here, and what was sent elsewhere is still to be looked at."""
        self.request: Mapping[str, Any] | None = None
        """The parsed request of the same arguments; not kept where it holds values of variables."""


def main() -> int:
    """Be this process: packrunner with its arguments, and what its signals do; returns the exit status."""
    stops = [n for n in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP) if _signal.getsignal(n) != _signal.SIG_IGN]
    for number in stops:
        _signal.signal(number, _stopped)
    try:
        return run(phase_of(sys.argv[0]) + sys.argv[1:])
    finally:
        # All is said: while the interpreter ends, a stop is neither an answer nor worth a traceback.
        for number in stops:
            _signal.signal(number, _signal.SIG_DFL)


def _stopped(number: int, _: object) -> None:
    _write(2, "Stopped.\n")
    os._exit(128 + number)


def run(argv: list[str]) -> int:
    """Run packrunner with these arguments; returns the exit status."""
    if argv == ["--version"]:
        from packrunner._version import __version__

        return _write(1, f"packrunner {__version__}\n")
    known = None
    if argv[:1] == ["build"] or argv[:2] == ["builder", "create"]:
        known = _look(argv)
        if known is not None and _unchanged(known):
            if not known.record.facts["elsewhere"]:
                return _answer(known)
            known.unchanged = True
    from packrunner.cli import main as command

    return command(argv, known)


def phase_of(program: str) -> list[str]:
    """What a link in /cnb/lifecycle stands for: the reference's programs are called by the names of their phases."""
    name = program.rpartition("/")[2]
    if name == "lifecycle":
        return [name]
    phase = _PHASES.get(name)
    return ["lifecycle", phase] if phase else []


def _look(argv: Sequence[str]) -> Known | None:
    started = time.perf_counter()
    from packrunner import record

    try:
        known = Known(record.Record(os.getcwd(), argv), started)
    except OSError:
        return None
    if not known.record.load():
        return known
    facts = known.record.facts
    if facts["environment"] != record.environment_digest(os.environ, facts["environment_names"]):
        return known
    try:
        known.scan = record.Scan(facts["inputs"], app_skip=frozenset(facts["skip"]))
    except OSError:
        return known
    known.settled = known.record.settings_equal(known.scan)
    known.request = facts["request"] if known.settled else None
    return known


def _unchanged(known: Known) -> bool:
    facts = known.record.facts
    return (
        known.scan is not None
        and known.settled
        and not facts["always"]
        and known.scan.joined == known.record.tables()
        and known.record.image_present()
        and known.record.outputs_present()
    )


def _answer(known: Known) -> int:
    facts = known.record.facts
    if not facts["quiet"]:
        then = time.localtime(facts["when"])
        today = then[:3] == time.localtime()[:3]
        clock = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)
        spent = round((time.perf_counter() - known.started) * 1000)
        _write(2, f"Nothing changed since {clock} ({facts['summary']}): kept, {spent}ms\n")
    return _write(1, facts["result"] + "\n")


def _write(fd: int, text: str) -> int:
    try:
        os.write(fd, os.fsencode(text))
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno == errno.EBADF:  # closed from the start: nobody wants it
            return 0
        if fd == 1:
            # What cli.session says, without loading it.
            _write(2, f"error[stdout]: the result could not be written to stdout: {error.strerror}\n")
        return 15
    return 0
