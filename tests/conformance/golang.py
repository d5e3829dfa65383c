"""The Go tests: their names, or the comment behind `func TestName(...) {`, carry the ids."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.conformance.items import ROOT, ids_in, named_in_go

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def run() -> list[dict[str, Any]]:
    """Run the Go tests, from Go's cache where nothing changed; what became of those with ids."""
    program = [sys.executable, str(ROOT / "launcher" / "hatch_build.py"), "go", "test", "-json", "./..."]
    ended = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=False)
    return outcomes(ended.stdout.splitlines(), named_in_go())


def outcomes(lines: Iterable[str], comments: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Go's events as the plugin writes its own; a skipped test's reason is what it printed last."""
    said: dict[tuple[str, str], str] = {}
    found = []
    for line in lines:
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        test, package = event.get("Test", ""), event.get("Package", "")
        action, text = event["Action"], event.get("Output", "").strip()
        if action == "output" and text and not text.startswith(("---", "===")):
            said[package, test] = text
        ids = sorted({*ids_in(test), *(comments.get(test, ()) if "/" not in test else ())})
        if ids and action in {"pass", "fail", "skip"}:
            outcome = {"pass": "passed", "fail": "failed", "skip": "skipped"}[action]
            where = f"launcher/{package.partition('/')[2]}::{test}"
            found.append({"test": where, "ids": ids, "outcome": outcome, "reason": said.get((package, test), "")})
    return found
