"""The SDK's reference names everything that is for authors."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import pytest

from packrunner.cli.manual_sdk import MODULES, attributes_of, members_of, public

if TYPE_CHECKING:
    from pathlib import Path


def test_every_module_is_on_the_page(repository: Path) -> None:
    there = {name.removesuffix(".py") for name in os.listdir(repository / "packrunner/sdk") if name.endswith(".py")}
    assert there - {"__init__"} == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_name_for_authors_is_described(name: str, repository: Path) -> None:
    text = (repository / "docs/reference/sdk.md").read_text()
    (section,) = (part for part in text.split("\n## ") if part.startswith(f"packrunner.sdk.{name}\n"))
    module = importlib.import_module(f"packrunner.sdk.{name}")
    constants, functions, classes = public(module)
    missing = [one for one in constants if f"`{one}`" not in section]
    missing += [one for one in functions if f"- `{one}(" not in section or not getattr(module, one).__doc__]
    for one in classes:
        of = getattr(module, one)
        missing += [one] if f"\n### {one}\n" not in section or not of.__doc__ else []
        missing += [f"{one}.{attribute}" for attribute in attributes_of(of) if f"`{attribute}`" not in section]
        missing += [
            f"{one}.{member}"
            for member, found in members_of(of)
            if f"- `{one if member == '__init__' else member}" not in section or not found.__doc__
        ]
    assert missing == []
