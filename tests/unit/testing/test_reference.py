"""docs/reference/testing.md names everything that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner import testing

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = (testing.Buildpack, testing.Detected, testing.Built, testing.Layer, testing.Failure)
CLASSES_TOO = (testing.Application, testing.Running, testing.Response)


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs/reference/testing.md").read_text()


@pytest.mark.parametrize("name", testing.__all__)
def test_fixtures_and_classes(name: str, page: str) -> None:
    assert f"`{name}" in page


@pytest.mark.parametrize("kind", [*CLASSES, *CLASSES_TOO], ids=lambda kind: kind.__name__)
def test_attributes(kind: type, page: str, tmp_path: Path) -> None:
    names = {name for name in vars(kind) if not name.startswith("_")}
    for name in names | set(getattr(kind, "__struct_fields__", ())):
        assert f"`{name}`" in page or f"`{name}(" in page or f".{name}(" in page, name
