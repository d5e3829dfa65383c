"""The samples for composing: each is built and started as its README says, and all of them in one application."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli
    from tests.services import DockerService

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@pytest.fixture
def samples(repository: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    shutil.copytree(repository / "samples", tmp_path / "samples")
    return tmp_path


def together(name: str, *more: str) -> tuple[str, ...]:
    return ("build", name, "-p", "samples/all-together", "--extension", "samples/timezone-extension", *more)


@pytest.mark.cnb("BPD-05", "BPD-06", "PRJ-05", "PRJ-06", "PRJ-08", "EXT-09", "EXP-09")
def test_an_application_with_all_of_them(cli: Cli, samples: Path, port: int) -> None:
    built = cli.ok(*together("together"), cwd=samples)
    assert built.err.count("detect") == 1
    with cli.serving("together", "-e", f"PORT={port}", port=port) as page:
        assert "Good evening from version 2.1.0" in page
        assert "The clock here is on CE" in page  # CET or CEST, and not UTC
        assert "Built with Python 3." in page
    found = json.loads(cli.ok("inspect", "together", "--json").out)
    assert "sample/esbuild" in found["labels"]["io.buildpacks.build.metadata"]
    assert found["labels"]["org.opencontainers.image.version"] == "2.1.0"
    assert "from timezone" in cli.ok("inspect", "together").out
    assert cli.ok(*together("together"), cwd=samples).err.startswith("Nothing changed")
    # A member of a composite is an input like the application itself.
    program = samples / "samples/version-buildpack/bin/build"
    program.write_text(program.read_text().replace("APP_VERSION.override", "APP_RELEASE.override"))
    assert cli.ok(*together("together"), cwd=samples).digest != built.digest


@pytest.mark.docker
def test_it_is_the_same_image_in_docker(cli: Cli, samples: Path, docker_engine: DockerService) -> None:
    here = cli.ok(*together("everywhere", "--clear-cache"), cwd=samples)
    docker = ("--engine", "docker", "--docker-host", docker_engine.host, "--network", "host")
    there = cli.ok(*together("everywhere", "--clear-cache", *docker), cwd=samples)
    assert there.digest == here.digest
    assert cli.ok(*together("everywhere", "--rebuild", *docker), cwd=samples).digest == here.digest


def test_a_composite_is_the_same_as_a_package(cli: Cli, samples: Path) -> None:
    app = ("-p", "samples/flask")
    direct = cli.ok("build", "composite", *app, "-b", "samples/web-composite", cwd=samples)
    cli.ok("buildpack", "package", "web.cnb", "-p", "samples/web-composite", cwd=samples)
    packaged = cli.ok("build", "composite", *app, "-b", "web.cnb", cwd=samples)
    assert packaged.digest == direct.digest


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "needs VERSION"),
        ("", "version 0.1.0 found no version in VERSION"),
        ('1"2', "takes a version of letters, digits and . + _ - only"),
    ],
)
def test_the_version_says_what_it_needs(cli: Cli, samples: Path, version: str | None, told: str) -> None:
    (samples / "app").mkdir()
    (samples / "app" / "file").write_text("x")
    if version is not None:
        (samples / "app" / "VERSION").write_text(version)
    ended = cli("build", "unversioned", "-p", "app", "-b", "./samples/version-buildpack", cwd=samples)
    assert ended.code == (20 if version is None else 51)
    assert told in ended.err
    assert "echo 1.0.0 >VERSION" in ended.err


def test_a_time_zone_that_does_not_exist_ends_the_build(cli: Cli, samples: Path) -> None:
    ended = cli(*together("nowhere", "-e", "BP_TIMEZONE=../../etc/passwd"), cwd=samples)
    assert ended.code == 91
    assert "there is no time zone ../../etc/passwd" in ended.err
