from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from packrunner import errors
from packrunner.cli import manual
from packrunner.config import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path


def test_the_pages_made_from_the_code_are_up_to_date(repository: Path) -> None:
    for path, text in manual.pages(str(repository / "docs" / "reference")).items():
        with open(path, encoding="utf-8") as file:
            assert file.read() == text, "run: python -m packrunner.cli.manual docs/reference"


def test_every_exit_code_is_in_the_table(repository: Path) -> None:
    text = (repository / "docs" / "reference" / "exit-codes.md").read_text()
    listed = {int(code) for code in re.findall(r"(?m)^\| `(\d+)`", text)}
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.ShownError)]
    assert {c.exit_code for c in classes} | {0, 129, 143} == listed


def test_what_may_be_retried_is_marked(repository: Path) -> None:
    text = (repository / "docs" / "reference" / "exit-codes.md").read_text()
    retried = {int(code) for code in re.findall(r"(?m)^\| `(\d+)` .*\| yes \|$", text)}
    classes = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.ShownError)]
    assert {c.exit_code for c in classes if c.transient} == retried


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_is_documented(name: str, repository: Path) -> None:
    setting = SETTINGS[name]
    assert setting.variable in (repository / "docs" / "reference" / "environment.md").read_text()
    in_config = f"`{name}`" in (repository / "docs" / "reference" / "configuration.md").read_text()
    assert in_config is setting.in_config
