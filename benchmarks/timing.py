"""Timing whole processes: several runs, the median, seconds and peak memory as the operating system accounts them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of each run and the largest resident size of any of them, in bytes."""

    seconds: tuple[float, ...]
    peak: int

    @property
    def median(self) -> float:
        """The number to quote."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The run least disturbed."""
        return min(self.seconds)


def measure(
    argv: Sequence[str],
    *,
    runs: int,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    before: Callable[[], None] | None = None,
) -> Timing:
    """Run a command `runs` times, with `before` called (and not timed) ahead of each; a failing run ends it all."""
    seconds = []
    peak = 0
    for _ in range(runs):
        if before:
            before()
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - began)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = max(peak, usage.ru_maxrss * 1024)
        if process.returncode:
            raise SystemExit(f"{' '.join(argv)} exited with {process.returncode}:\n{printed.decode(errors='replace')}")
    return Timing(seconds=tuple(seconds), peak=peak)


def bare_start(runs: int) -> Timing:
    """The unit everything is compared with: an interpreter that does nothing."""
    return measure([sys.executable, "-I", "-c", "pass"], runs=runs)
