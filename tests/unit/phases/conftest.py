"""The builder's container of every test here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.phases.builder import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(root=tmp_path, environ=monkeypatch)
