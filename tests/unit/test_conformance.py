"""The conformance table itself: its list, the ids in tests, how outcomes add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conformance import golang, items
from tests.conformance.__main__ import table

if TYPE_CHECKING:
    from pathlib import Path

DECISIONS = items.ROOT / "docs" / "explanation" / "decisions"


def test_every_id_in_tests_is_in_the_list() -> None:
    known = items.read()
    python = [f"{file}: {one}" for file, one in items.named_in_python() if one not in known]
    go = [f"{test}: {one}" for test, ids in items.named_in_go().items() for one in ids if one not in known]
    assert python + go == []


def test_the_list_is_whole() -> None:
    counts: dict[str, int] = {}
    for one in items.read():
        counts[one[:3]] = counts.get(one[:3], 0) + 1
    assert counts == {
        "IMG": 13,
        "BPD": 14,
        "TGT": 8,
        "DET": 27,
        "RES": 19,
        "BLD": 28,
        "EXP": 35,
        "RBS": 11,
        "LAU": 19,
        "EXT": 15,
        "EXC": 6,
        "PRJ": 8,
        "BND": 4,
        "STK": 4,
        "DST": 9,
    }


@pytest.mark.parametrize("item", items.read().values(), ids=lambda item: item.id)
def test_an_item_is_pending_with_a_reason_and_names_a_decision_that_exists(item: items.Item) -> None:
    assert item.summary
    assert bool(item.pending) == bool(item.reason)
    assert item.pending in {"", *items.PARTS}
    assert not item.choice or list(DECISIONS.glob(f"{item.choice}-*.md"))


def _result(one: str, outcome: str, reason: str = "") -> dict[str, object]:
    return {"test": f"t.py::test[{one}]", "ids": [one], "outcome": outcome, "reason": reason}


@pytest.mark.parametrize(
    ("outcome", "reason", "pending", "bad"),
    [
        ("passed", "", "", False),
        ("passed", "", "registry", False),
        ("failed", "", "", True),
        ("failed", "", "registry", True),
        ("skipped", "docker: needs root", "", True),
        ("skipped", "docker: needs root", "registry", False),
        ("skipped", "", "registry", True),
        (None, "", "", True),
        (None, "", "registry", False),
    ],
)
def test_what_makes_the_table_bad(outcome: str | None, reason: str, pending: str, *, bad: bool) -> None:
    item = items.Item(id="BLD-01", summary="s", pending=pending, reason="r" if pending else "")
    results = [] if outcome is None else [_result("BLD-01", outcome, reason)]
    text, verdict = table({item.id: item}, results)
    assert verdict is bad
    assert ("without a test: BLD-01" in text) is (outcome is None and not pending)


def test_a_skip_with_a_reason_is_shown_and_does_no_harm_beside_a_pass() -> None:
    item = items.Item(id="BLD-01", summary="s")
    text, bad = table({item.id: item}, [_result("BLD-01", "passed"), _result("BLD-01", "skipped", "docker: absent")])
    assert not bad
    assert "skipped docker: absent" in text


def test_outcomes_of_go_tests_by_name_and_by_comment() -> None:
    events = [
        {"Action": "pass", "Package": "packrunner/internal/launch", "Test": "TestBasename"},
        {
            "Action": "output",
            "Package": "packrunner/internal/launch",
            "Test": "TestX/LAU-14_order",
            "Output": "no bash\n",
        },
        {"Action": "skip", "Package": "packrunner/internal/launch", "Test": "TestX/LAU-14_order"},
        {"Action": "fail", "Package": "packrunner/internal/launch", "Test": "TestLAU_15_fd"},
        {"Action": "pass", "Package": "packrunner/internal/launch", "Test": "TestOther"},
        {"Action": "pass", "Package": "packrunner/internal/launch"},
    ]
    found = golang.outcomes(map(json.dumps, events), {"TestBasename": ("LAU-01",)})
    assert [(one["ids"], one["outcome"], one["reason"]) for one in found] == [
        (["LAU-01"], "passed", ""),
        (["LAU-14"], "skipped", "no bash"),
        (["LAU-15"], "failed", ""),
    ]


def test_the_plugin_runs_marked_tests_only_and_writes_what_became_of_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.cnb('BLD-01', 'BLD-02')\n"
        "def test_good(): pass\n"
        "@pytest.mark.cnb('BLD-03')\n"
        "def test_bad(): raise ValueError\n"
        "@pytest.mark.cnb('BLD-04')\n"
        "def test_skipped(): pytest.skip('not here')\n"
        "def test_unmarked(): raise ValueError\n"
    )
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conformance.plugin", "--conformance", str(out)]
    marked = ["-o", "markers=cnb(id): an item", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--rootdir", str(tmp_path), *marked],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=items.ROOT,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    assert {tuple(one["ids"]): (one["outcome"], one["reason"]) for one in json.loads(out.read_text())} == {
        ("BLD-01", "BLD-02"): ("passed", ""),
        ("BLD-03",): ("failed", ""),
        ("BLD-04",): ("skipped", "not here"),
    }


def test_no_two_decisions_have_one_number() -> None:
    numbers = [path.name[:4] for path in sorted(DECISIONS.glob("*.md"))]
    assert [n for n in numbers if numbers.count(n) > 1] == []
