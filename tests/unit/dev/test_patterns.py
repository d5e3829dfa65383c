"""Patterns of rules: the table that the reloader is tested with too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packrunner.dev.patterns import matches

CASES = json.loads((Path(__file__).parents[2] / "patterns.json").read_text())


@pytest.mark.parametrize(("pattern", "path", "fits"), CASES["matches"])
def test_the_table(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits
