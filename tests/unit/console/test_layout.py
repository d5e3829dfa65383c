"""Rows in their columns, in terminals of any width."""

from __future__ import annotations

import pytest

from packrunner.console import layout
from packrunner.console.terminal import Terminal


@pytest.mark.fault("PRO-07")
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("width", [0, 1, 20, 40, 80])
@pytest.mark.parametrize("detail", ["", " ", "x", "reused (requirements.txt unchanged)", "hello: greet"])
def test_a_row_keeps_subject_and_value_whatever_the_width(width: int, detail: str, *, cut: bool) -> None:
    first, *rest = layout.row("build", "shell-buildpack 0.1.0", detail, "15ms", Terminal(table_width=width), cut=cut)
    assert first.startswith("  build     shell-buildpack 0.1.0 ")
    assert first.endswith(" 15ms")
    if not cut:
        assert sorted(" ".join([first, *rest]).split()) == sorted(f"build shell-buildpack 0.1.0 15ms {detail}".split())


def test_a_row_without_detail_is_one_line() -> None:
    assert layout.row("build", "shell-buildpack 0.1.0", "", "15ms", Terminal(table_width=40)) == [
        "  build     shell-buildpack 0.1.0   15ms"
    ]
