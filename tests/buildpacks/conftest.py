"""Staged buildpacks for the tests of this directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.buildpacks.builtin import ROOT, Buildpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[str], Buildpack]:
    """Stage a built-in buildpack by its directory's name."""

    def make(name: str) -> Buildpack:
        return Buildpack.stage(ROOT / "buildpacks" / name, tmp_path / name)

    return make
