"""A pytest plugin for those who write buildpacks: fixtures that run a buildpack on an application, and applications.

    def test_installs_the_tool(buildpack):
        buildpack.use("fixture")
        assert buildpack.detect().passed
        built = buildpack.build()
        assert built.layers["tool"].cache
        assert built.processes["web"].command == ("tool", "serve")
        assert buildpack.build().layers["tool"].reused

    def test_serves(application, buildpack):
        app = application("fixture", buildpacks=[buildpack, "procfile"])
        with app.start() as running:
            assert running.get("/").text == "hello"

pytest loads this module at each of its starts, whoever's tests it runs: it imports nothing until a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from packrunner.testing.application import Application, ApplicationError, Response, Running
    from packrunner.testing.buildpack import Buildpack
    from packrunner.testing.results import BuildpackError, Built, Detected, Failure, Layer

__all__ = [
    "Application",
    "ApplicationError",
    "Buildpack",
    "BuildpackError",
    "Built",
    "Detected",
    "Failure",
    "Layer",
    "Response",
    "Running",
    "application",
    "buildpack",
    "buildpack_at",
]

_HOMES = {
    **dict.fromkeys(("Application", "ApplicationError", "Response", "Running"), "application"),
    "Buildpack": "buildpack",
    **dict.fromkeys(("Built", "BuildpackError", "Detected", "Failure", "Layer"), "results"),
}


def __getattr__(name: str) -> Any:
    """The classes, for annotations: their modules are imported when somebody asks for one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where buildpacks run."""
    group = parser.getgroup("packrunner", "buildpacks (packrunner)")
    group.addoption(
        "--run-buildpack",
        choices=("programs", "in-process", "sandbox"),
        default="programs",
        help="how the fixture `buildpack` runs bin/detect and bin/build: as programs on this machine; in-process, "
        "those that are Python, for debuggers and coverage; or in the sandbox of packrunner build "
        "(default: programs)",
    )


@pytest.fixture
def buildpack_at(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str | Path], Buildpack]:
    """Make a buildpack testable: call it with its directory, which is relative to the file of the test."""
    from packrunner.testing.buildpack import Buildpack

    made: list[Buildpack] = []

    def make(directory: str | Path) -> Buildpack:
        root = tmp_path / f"buildpack-{len(made)}"
        where = request.config.getoption("--run-buildpack")
        made.append(Buildpack(request.path.parent / directory, root, near=request.path.parent, where=where))
        return made[-1]

    return make


@pytest.fixture
def buildpack(request: pytest.FixtureRequest, buildpack_at: Callable[[str | Path], Buildpack]) -> Buildpack:
    """The buildpack that the test belongs to: the nearest buildpack.toml at or above its file."""
    for directory in request.path.parents:
        if (directory / "buildpack.toml").is_file():
            return buildpack_at(directory)
    pytest.fail(f"there is no buildpack.toml at or above {request.path.parent}")


@pytest.fixture
def application(request: pytest.FixtureRequest) -> Callable[..., Application]:
    """Build an image of an application: `application(directory, buildpacks=[...])`, paths as in `buildpack_at`."""
    from packrunner.testing.application import build

    def make(
        directory: str | Path, *, buildpacks: Sequence[str | Path | Buildpack] = (), args: Sequence[str] = ()
    ) -> Application:
        return build(request.path.parent / directory, near=request.path.parent, buildpacks=buildpacks, args=args)

    return make
