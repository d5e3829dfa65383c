"""`packrunner lifecycle PHASE`, and the programs of /cnb/lifecycle under their own names (EXC-01 - EXC-06)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packrunner.cli.phases.flags import PHASES
from packrunner.errors import ArgumentsError, ExperimentalError, PackrunnerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.phases.flags import Phase
    from packrunner.cli.session import Session

CODES = {
    "detect": 22,
    "analyze": 32,
    "restore": 42,
    "build": 52,
    "export": 62,
    "rebase": 72,
    "generate": 92,
    "extend": 102,
}
"""What a failure of a phase is, unless it has a code of its own (EXC-02)."""

_COMMON = frozenset({3, 11, 12})


def called(argv: Sequence[str]) -> Phase | None:
    """The phase that the arguments of `lifecycle` call; None where they only ask about one, or about none."""
    if {"-h", "--help"} & set(argv):
        return None
    return next((phase for phase in PHASES if argv[1:2] == [phase]), None)


def main(phase: Phase, arguments: Sequence[str], session: Session) -> int:
    """Run one phase; the exit status. Errors are shown here, with the codes of the Platform API."""
    from packrunner.cli.phases.perform import Performance

    performance = Performance(phase, session)
    try:
        performance.run(arguments)
    except PackrunnerError as e:
        session.renderer().problem(e)
        return exit_code(e, performance.current)
    return 0


def exit_code(error: PackrunnerError, phase: str) -> int:
    """The Platform API's code for an error in a phase; `create` has those of the phase that it was in."""
    if isinstance(error, ArgumentsError | ExperimentalError) or error.exit_code in _COMMON:
        return error.exit_code
    own = CODES.get(phase, 1)
    return error.exit_code if error.exit_code // 10 == own // 10 else own
