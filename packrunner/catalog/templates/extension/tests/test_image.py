"""Builds the fixture with the extension, in the sandbox of `packrunner build`, and looks into the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.testing import Application

EXTENSION = Path(__file__).parents[1]


def test_the_run_image_is_extended(application: Callable[..., Application]) -> None:
    app = application("fixture", buildpacks=["procfile"], args=["--extension", str(EXTENSION)])
    assert app.run("cat", "/etc/motd") == "Hello, world!\n"
    with app.start("hello") as running:
        assert running.wait() == 0
        assert running.output == "Hello, world!\n"
