"""Images into a real Docker engine and out of it, by the installed command."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network, pytest.mark.docker]


def docker(host: str, *words: str) -> str:
    return subprocess.run(["docker", "-H", host, *words], capture_output=True, text=True, check=True).stdout


def test_an_image_is_loaded_under_all_names_and_again_where_it_is_missing(
    cli: Cli, app: Path, docker_host: str
) -> None:
    call = ("build", "loaded", "-t", "loaded:v2", "-p", str(app), "-b", "python", "--load")
    ended = cli.ok(*call, DOCKER_HOST=docker_host)
    assert "Built and loaded in" in ended.err
    names = {"loaded:latest", "loaded:v2"}
    known = json.loads(docker(docker_host, "image", "inspect", "loaded"))[0]
    assert names <= set(known["RepoTags"])
    assert "io.buildpacks.lifecycle.metadata" in known["Config"]["Labels"]
    assert "kept here and there" in cli.ok(*call, DOCKER_HOST=docker_host).err
    docker(docker_host, "rmi", "loaded:v2")
    again = cli.ok(*call, DOCKER_HOST=docker_host)
    assert "sent again" in again.err
    assert again.out == ended.out
    assert json.loads(docker(docker_host, "image", "inspect", "loaded:v2"))[0]["Id"] == known["Id"]


def test_an_engine_that_is_not_there_is_said_before_anything_is_built(cli: Cli, app: Path, tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/no.sock"
    ended = cli("build", "unloaded", "-p", str(app), "-b", "python", "--load", DOCKER_HOST=host)
    assert ended.code == 13
    assert "detect" not in ended.err
    assert cli("inspect", "unloaded").code == 2


def test_an_image_of_the_engine_is_pulled_inspected_and_built_upon(cli: Cli, app: Path, docker_host: str) -> None:
    cli.ok("build", "upon", "-p", str(app), "-b", "python")
    cli.ok("load", "upon", "theirs:1", DOCKER_HOST=docker_host)
    looked = json.loads(cli.ok("inspect", "docker:theirs:1", "--json", DOCKER_HOST=docker_host).out)
    here = json.loads(cli.ok("inspect", "upon", "--json").out)
    ids = [layer["diff_id"] for layer in here["layers"]]
    assert [layer["diff_id"] for layer in looked["layers"]] == ids
    call = ("build", "above", "-p", str(app), "-b", "python", "--run-image", "docker:theirs:1")
    cli.ok(*call, DOCKER_HOST=docker_host)
    above = json.loads(cli.ok("inspect", "above", "--json").out)
    assert [layer["diff_id"] for layer in above["layers"]][: len(ids)] == ids
    # The engine may have another one under this name the next time.
    assert "Nothing changed" not in cli.ok(*call, DOCKER_HOST=docker_host).err
    assert cli.ok("pull", "docker:theirs:1", DOCKER_HOST=docker_host).out.startswith("theirs:1@sha256:")
    assert "theirs:1" in cli.ok("images").out
