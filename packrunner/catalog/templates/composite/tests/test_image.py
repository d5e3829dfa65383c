"""Builds the fixture with the whole composite, in the sandbox of `packrunner build`, and starts it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.testing import Application

COMPOSITE = Path(__file__).parents[1]


def test_both_buildpacks_take_part(application: Callable[..., Application]) -> None:
    app = application("fixture", buildpacks=[COMPOSITE], args=["--env", "BPE_GREETING=Good morning!"])
    with app.start("hello") as running:
        assert running.wait() == 0
        assert running.output == "Good morning!\n"
