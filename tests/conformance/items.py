"""The list of items, and the ids that stand in tests."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("items.toml")
PARTS = ("composing",)
"""Parts of packrunner that an item may wait for."""

_MARK = re.compile(r"mark\.cnb\(([^)]*)\)")
_ID = re.compile(r"(?<![A-Z])(IMG|BPD|TGT|DET|RES|BLD|EXP|RBS|LAU|EXT|EXC|PRJ|BND|STK|DST)[-_](\d\d)(?![0-9])")
_GO_TEST = re.compile(r"^func (Test\w+)\(.*\{ *// *(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of items.toml; `pending` is "" for what applies today."""

    id: str
    summary: str
    pending: str = ""
    reason: str = ""
    choice: str = ""


def read() -> dict[str, Item]:
    """Every item by its id, in the list's order."""
    with LIST.open("rb") as file:
        sections = tomllib.load(file)
    items = [
        Item(id=f"{section}-{number}", **line) for section, lines in sections.items() for number, line in lines.items()
    ]
    return {item.id: item for item in items}


def ids_in(text: str) -> tuple[str, ...]:
    """The ids that a text names, `LAU-14` and `LAU_14` alike."""
    return tuple(f"{section}-{number}" for section, number in _ID.findall(text))


def named_in_python() -> Iterator[tuple[str, str]]:
    """(file, id) for every marker in the Python tests, read from their text."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for mark in _MARK.findall(path.read_text()):
            for one in re.findall(r"\"([^\"]*)\"", mark):
                yield str(path.relative_to(ROOT)), one


def named_in_go() -> dict[str, tuple[str, ...]]:
    """The ids in comments behind `func TestName(...) {`, by the test's name."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted((ROOT / "launcher").rglob("*_test.go")):
        for name, comment in _GO_TEST.findall(path.read_text()):
            found[name] = (*found.get(name, ()), *ids_in(comment))
    return found


def outcome(outcomes: Iterable[str]) -> str:
    """What several tests say together: a failure counts most, then a pass."""
    all_of_them = set(outcomes)
    return next((one for one in ("failed", "passed", "skipped") if one in all_of_them), "none")
