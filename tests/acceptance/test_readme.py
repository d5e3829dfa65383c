"""README's tour and the tutorial are what the program prints: every console block is run, numbers aside."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import COMMAND, Cli
from tests.acceptance.pages import Reader
from tests.services import RegistryService

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Somebody with an empty home and packrunner on the path."""
    environ = Cli(home=str(tmp_path / "home")).environ()
    (tmp_path / "here").mkdir()
    return Reader(tmp_path / "here", {**environ, "PATH": f"{os.path.dirname(COMMAND)}:{environ['PATH']}"})


def test_the_tour_is_true(repository: Path, reader: Reader) -> None:
    shutil.copytree(repository / "samples", reader.directory / "samples")
    reader.follow((repository / "README.md").read_text())


@pytest.mark.registry
def test_the_tutorial_is_true(repository: Path, reader: Reader, tmp_path: Path) -> None:
    shutil.copytree(repository / "samples", reader.directory / "samples")
    text = (repository / "docs/tutorial/a-buildpack-of-your-own.md").read_text()
    (tmp_path / "registry").mkdir()
    with RegistryService(tmp_path / "registry").running() as registry:
        reader.follow(text.replace("localhost:5000", registry.host))
