"""The programs are compiled before the tests, which takes no time when nothing changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Compile bin/detect and bin/build."""
    subprocess.run([Path(__file__).parents[1] / "make.sh"], check=True)
