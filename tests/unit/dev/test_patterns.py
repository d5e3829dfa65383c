"""Patterns of rules: the table that the reloader is tested with too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packrunner.dev.patterns import matches
from packrunner.sdk.sync import pattern_problem

CASES = json.loads((Path(__file__).parents[2] / "patterns.json").read_text())


@pytest.mark.parametrize(("pattern", "path", "fits"), CASES["matches"])
def test_the_table(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits


@pytest.mark.parametrize("pattern", CASES["bad"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert pattern_problem(pattern)


@pytest.mark.parametrize("pattern", sorted({pattern for pattern, _, _ in CASES["matches"]}))
def test_what_is_one_is_not(pattern: str) -> None:
    assert not pattern_problem(pattern)
