"""The plugin's module, which every pytest loads where packrunner is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

import packrunner.testing

if TYPE_CHECKING:
    from pathlib import Path


def test_loading_it_imports_nothing_but_itself() -> None:
    code = "import sys, pytest; before = set(sys.modules); import packrunner.testing; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(loaded) == ["packrunner", "packrunner.testing"]


def test_pytest_finds_it_where_packrunner_is_installed(repository: Path) -> None:
    table = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert table == {"packrunner.testing": "packrunner.testing"}


@pytest.mark.parametrize("name", packrunner.testing.__all__)
def test_all_its_names_are_there(name: str) -> None:
    assert getattr(packrunner.testing, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="other"):
        packrunner.testing.other  # noqa: B018  reading it is what is tested
