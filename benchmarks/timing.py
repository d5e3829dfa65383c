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
        took, memory = _run(argv, env, cwd)
        seconds.append(took)
        peak = max(peak, memory)
    return Timing(seconds=tuple(seconds), peak=peak)


def _run(argv: Sequence[str], env: Mapping[str, str] | None, cwd: str | None) -> tuple[float, int]:
    """Seconds and peak memory of one run."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} exited with {process.returncode}:\n{printed.decode(errors='replace')}")
    return took, usage.ru_maxrss * 1024


def measure_in_turn(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], *, runs: int) -> list[Timing]:
    """Time commands, each with its environment, in turn: where milliseconds differ, all must meet the same noise."""
    results: list[list[tuple[float, int]]] = [[] for _ in commands]
    for _ in range(runs):
        for (argv, env), result in zip(commands, results, strict=True):
            result.append(_run(argv, env, None))
    return [
        Timing(seconds=tuple(took for took, _ in result), peak=max(memory for _, memory in result))
        for result in results
    ]


def bare_start(runs: int) -> Timing:
    """The unit everything is compared with: an interpreter that does nothing."""
    return measure([sys.executable, "-I", "-c", "pass"], runs=runs)
