"""Run the tests that carry an item's id, print the table; exit 1 for an item that applies and that nothing proves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance import golang
from tests.conformance.items import ROOT, Item, outcome, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TITLES = {"passed": "proven", "failed": "FAILED", "skipped": "SKIPPED", "none": "NO TEST"}


def main(arguments: Sequence[str]) -> int:
    """`python -m tests.conformance [PATH...]`: the tests below these paths, all of them without any."""
    results = _python(arguments or ["tests"]) + (golang.run() if not arguments else [])
    items = read()
    unknown = sorted({one for result in results for one in result["ids"]} - set(items))
    text, bad = table(items, results)
    sys.stdout.write(text)
    if unknown:
        sys.stdout.write(f"not in items.toml: {', '.join(unknown)}\n")
    return int(bad or bool(unknown))


def _python(paths: Sequence[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "outcomes.json")
        plugin = ["-p", "tests.conformance.plugin", "--conformance", out]
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short", *plugin, *paths]
        # Its own report goes to stderr: stdout is the table.
        ended = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        if not Path(out).is_file():
            raise SystemExit(f"pytest ended with {ended.returncode} before it ran a test")
        found: list[dict[str, Any]] = json.loads(Path(out).read_text())
        return found


def table(items: Mapping[str, Item], results: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """The table, and whether anything is not as it must be."""
    lines: list[str] = []
    counts: Counter[str] = Counter()
    bad = any(r["outcome"] == "failed" or (r["outcome"] == "skipped" and not r["reason"]) for r in results)
    for item in items.values():
        mine = [r for r in results if item.id in r["ids"]]
        verdict = _verdict(item, mine)
        counts[verdict] += 1
        bad = bad or verdict in {"NO TEST", "FAILED", "SKIPPED"}
        why = f"{item.pending}: {item.reason}" if item.pending else item.summary
        lines.append(f"{item.id:<7} {verdict:<8} {why}{f' (decision {item.choice})' if item.choice else ''}")
        lines += [f"{'':<16} {test}" for test in _tests(mine)]
    missing = [
        item.id for item in items.values() if _verdict(item, [r for r in results if item.id in r["ids"]]) == "NO TEST"
    ]
    lines.append("")
    lines.append(
        ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) + f" of {len(items)} items"
    )
    if missing:
        lines.append(f"without a test: {', '.join(missing)}")
    return "\n".join(lines) + "\n", bad


def _verdict(item: Item, results: Sequence[Mapping[str, Any]]) -> str:
    found = outcome(r["outcome"] for r in results)
    return "pending" if item.pending and found != "failed" else _TITLES[found]


def _tests(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each test once, with the number of its cases, and how it ended if not well."""
    cases = Counter((r["test"].partition("[")[0], r["outcome"], r["reason"]) for r in results)
    lines = []
    for (test, ended, reason), count in cases.items():
        many = f" ({count})" if count > 1 else ""
        lines.append(f"{test}{many}" if ended == "passed" else f"{test}{many}: {ended} {reason}".rstrip())
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
