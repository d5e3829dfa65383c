"""The command line: the only place that wires implementations together, prints and exits.

Importing this package loads no command-line library; `main` does, unless the start module parsed the same arguments
before.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from packrunner.cli import logs, signals
from packrunner.cli.session import OutputClosedError, Session
from packrunner.errors import ShownError, StoppedError, UsageError, chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.cli.services import Known, Services
    from packrunner.lifecycle.request import BuildRequest

_log = logging.getLogger(__name__)


def main(argv: Sequence[str], known: Known | None = None, *, services: Services | None = None) -> int:
    """Run a command; the exit status. `known` is the start module's knowledge, `services` stands in for wiring."""
    signals.guard_descriptors()
    signals.hear_of_children()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Names may hold anything; a result that cannot be encoded is shown escaped, never lost.
            stream.reconfigure(errors="backslashreplace")
    session = Session(services, known)
    logs.show(session)
    try:
        with signals.stoppable(lambda: _announce(session)) as stopped:
            return _guarded(argv, session, stopped)
    except StoppedError as e:
        # It came while something else was being shown.
        return 128 + e.signal
    finally:
        logs.hide()


def _announce(session: Session) -> None:
    if session.reporter is not None:
        session.reporter.stopping()


def _guarded(argv: Sequence[str], session: Session, stopped: Callable[[], bool]) -> int:
    """Run, and turn every exception into its message and exit code: the one place that catches ShownError."""
    try:
        with signals.minding_threads(stopped):
            code = _run(argv, session)
    except OutputClosedError:
        code = 0
    except ShownError as e:
        code = _show(_stop_behind(e) or e, session)
    except Exception as e:  # noqa: BLE001  whatever it is, the user gets one line and a report
        stop = _stop_behind(e)
        code = _show(stop, session) if stop else _unexpected(e, argv, session)
    finally:
        if session.reporter is not None:
            session.reporter.close()
    return code


def _run(argv: Sequence[str], session: Session) -> int:
    _check_platform(argv)
    request = _parsed_before(argv, session.known)
    if request is not None:
        from packrunner.cli import building

        return building.perform(request, session)
    if argv[:1] == ["lifecycle"]:
        from packrunner.cli import phases

        phase = phases.called(argv)
        if phase:
            return phases.main(phase, argv[2:], session)
    from packrunner.cli import app

    return app.dispatch(argv, session)


def _parsed_before(argv: Sequence[str], known: Known | None) -> BuildRequest | None:
    if known is None or known.request is None or not argv or argv[0] != "build":
        return None
    from packrunner.lifecycle.request import BuildRequest

    try:
        return BuildRequest.from_plain(known.request)
    except ValueError:
        return None  # a record of another shape: parse the arguments


def _stop_behind(error: BaseException) -> StoppedError | None:
    """The stop that an error came of: Python wraps what is raised while it makes a class, and cleaning up may fail."""
    stop = next((one for one in chain(error, hidden=False) if isinstance(one, StoppedError)), None)
    if stop is not None and stop is not error:
        _log.debug("a stop came to light as %s: %s", type(error).__name__, error)
    return stop


def _show(error: ShownError, session: Session) -> int:
    from packrunner.console import problem

    if session.verbose > 1 and not isinstance(error, StoppedError):
        _traceback(error, session)
    session.renderer().problem(error)
    return problem.exit_code(error)


def _unexpected(error: Exception, argv: Sequence[str], session: Session) -> int:
    from packrunner.cli import crash

    shown = crash.explain(error, argv, session.redact)
    if session.verbose:
        _traceback(error, session)
    session.renderer().problem(shown)
    return shown.exit_code


def _traceback(error: BaseException, session: Session) -> None:
    import traceback

    if sys.stderr is not None:
        sys.stderr.write(session.redact("".join(traceback.format_exception(error))))


def _check_platform(argv: Sequence[str]) -> None:
    """Refuse systems without an engine; help and versions work everywhere."""
    asks = not argv or argv[0] in {"help", "completion", "--help", "-h", "--version"} or "--help" in argv
    if sys.platform != "linux" and not asks:
        raise UsageError(
            f"packrunner runs on Linux only for now, and this is {sys.platform}",
            slug="platform",
            cause="the sandbox that runs buildpacks is made of Linux namespaces",
            tries=("the same command in a Linux machine: a virtual one, WSL 2 or a CI runner will do",),
        )
