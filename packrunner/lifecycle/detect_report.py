"""What the programs of a detection printed, shown to those who want or need it (DET-27)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from packrunner.events import Noted, Output, Warned
from packrunner.lifecycle.explain import broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.events import Reporter
    from packrunner.lifecycle.detect_run import Run
    from packrunner.lifecycle.explain import GroupOutcome
    from packrunner.lifecycle.order import Key

_log = logging.getLogger(__name__)


def report(
    runs: Mapping[Key, Run], names: Mapping[Key, str], reporter: Reporter, *, failed: Sequence[GroupOutcome] | None
) -> None:
    """Say what was held back: everything when detection `failed`, with these groups, else what erred.

    The output of those that said yes or no is detail; so is a no that is nothing but its reason, which the error
    message and `detect --explain` tell.
    """
    culprit = broken(failed) if failed is not None else None
    for key, run in runs.items():
        _log.debug("%s@%s: exit %s %s", *key, run.code, run.why)
        if run.code is None:
            reporter.emit(Noted(text=f"{names[key]} did not run: {run.error}"))
            continue
        if run.error and failed is None:
            reporter.emit(Warned(text=f"{names[key]}: {run.error}", hint="the build goes on without it"))
        # What the error message itself will hold is not said twice.
        told = run.said.complete if culprit and key == (culprit.id, culprit.version) else run.terse
        _replay(reporter, names[key], run, detail=told or not (run.error or failed is not None))


def _replay(reporter: Reporter, name: str, run: Run, *, detail: bool) -> None:
    if run.held.cut:
        reporter.emit(Noted(text=f"{name} printed more than 1 MB; this is the end of it", always=not detail))
    for stream, data in run.held.chunks:
        reporter.emit(Output(source=name, stream=stream, data=data, detail=detail))
