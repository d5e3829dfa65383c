"""Every fault of the list has a test that names it, or a reason why there is none (tests/faults/elsewhere.toml)."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"ARC": 42, "REG": 36, "STO": 23, "SBX": 43, "PRO": 15, "NET": 11, "LIV": 16, "K8S": 14}
FAULTS = [f"{section}-{number:02}" for section, count in COUNTS.items() for number in range(1, count + 1)]
_ID = re.compile(rf"\b(?:{'|'.join(COUNTS)})-\d\d\b")


def elsewhere() -> dict[str, str]:
    with (ROOT / "tests/faults/elsewhere.toml").open("rb") as file:
        return tomllib.load(file)


@functools.cache
def named() -> frozenset[str]:
    """The ids in the tests of both languages."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "launcher").rglob("*_test.go")]
    return frozenset(one for path in files if path != Path(__file__) for one in _ID.findall(path.read_text()))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_a_test_or_a_reason(fault: str) -> None:
    assert (fault in named()) != bool(elsewhere().get(fault))


def test_nothing_else_is_named() -> None:
    assert named() | set(elsewhere()) <= set(FAULTS)
