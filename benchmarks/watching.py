"""From a save to its bytes in place in the running application's tree: the watcher and the reloader, in a large tree.

.venv/bin/python -m benchmarks.watching [--files 50000] [--runs 100]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from benchmarks import trees
from tests.following import Following, Reloader

WRITER = """
import json, sys, time
for line in sys.stdin:
    paths, text = json.loads(line)
    for path in paths:
        with open(path, "w") as file:
            file.write(text)
    print(time.monotonic(), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saves:
    """Seconds from the end of the last save to all bytes in place, for each run."""

    files: int
    seconds: tuple[float, ...]

    def at(self, percent: int) -> float:
        """A percentile."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def saves(scratch: str, *, files: int, together: tuple[int, ...], runs: int) -> tuple[float, list[Saves], float]:
    """Seconds to begin watching `files` files, then the saves, and the processor's share while nothing happens."""
    source, target = os.path.join(scratch, "source"), os.path.join(scratch, "target")
    trees.many_files(source, files)
    os.mkdir(target)
    with Reloader(target, scratch) as reloader, _writer() as writer:
        following = Following(source, target, take=reloader.take)
        began = time.monotonic()
        with following:
            start = time.monotonic() - began
            found = []
            for count in together:
                paths = [os.path.join(source, f"d{n // 250:04}", f"f{n:06}.txt") for n in range(count)]
                seconds = tuple(_save(following, writer, paths, run) for run in range(runs))
                found.append(Saves(files=count, seconds=seconds))
            rest = _rest(2.0)
    return start, found, rest


def _writer() -> subprocess.Popen[str]:
    # Another process, as it is in life: threads of one Python would wait for each other.
    return subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def _save(following: Following, writer: subprocess.Popen[str], paths: list[str], run: int) -> float:
    assert writer.stdin
    assert writer.stdout
    before = len(following.batches)
    writer.stdin.write(json.dumps([paths, f"{run:06}" * 400]) + "\n")
    ended = float(writer.stdout.readline())
    following.wait_for(lambda: sum(len(batch.changes) for batch in following.batches[before:]) >= len(paths))
    took = time.monotonic() - ended
    time.sleep(0.05)
    return took


def _rest(seconds: float) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.watching")
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=100)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="packrunner-bench-") as scratch:
        start, found, rest = saves(scratch, files=chosen.files, together=(1, 200), runs=chosen.runs)
    print(f"{chosen.files} files; watching begins after {start:.2f} s; at rest {rest:.1%} of a processor")
    for one in found:
        print(f"{one.files:4} saved: in place after p50 {one.at(50) * 1e3:.1f} ms, p95 {one.at(95) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
