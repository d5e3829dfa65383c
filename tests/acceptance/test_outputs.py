"""The outputs, read by the tools they are for: skopeo, and a real Docker engine that the test starts by hand."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@pytest.fixture(scope="session")
def put_out(cli: Cli, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample in all three outputs."""
    out = tmp_path_factory.mktemp("out")
    cli.ok(
        "build", "outputs", "-p", str(sample), "-b", "python", "-e", "BPE_GREETING=hi from the output",
        "--output", f"oci:{out / 'dir'}", "--output", f"oci-archive:{out / 'oci.tar'}",
        "--output", f"docker-archive:{out / 'docker.tar'}",
    )  # fmt: skip
    return out


@pytest.mark.skopeo
@pytest.mark.parametrize("reference", ["oci:dir", "oci-archive:oci.tar", "docker-archive:docker.tar"])
def test_skopeo_reads_each_output(put_out: Path, reference: str, cli: Cli) -> None:
    kind, _, name = reference.partition(":")
    shown = subprocess.run(["skopeo", "inspect", f"{kind}:{put_out / name}"], capture_output=True, check=True)
    facts = json.loads(shown.stdout)
    assert facts["Os"] == "linux"
    assert "io.buildpacks.lifecycle.metadata" in facts["Labels"]
    if kind != "docker-archive":
        assert (
            facts["Digest"]
            == cli.ok(
                "build", "outputs-again", "-p", "samples/flask", "-b", "python", "-e", "BPE_GREETING=hi from the output"
            ).digest
        )


@pytest.mark.parametrize("reference", ["oci:dir", "oci-archive:oci.tar", "docker-archive:docker.tar"])
def test_each_output_can_be_run_and_inspected(put_out: Path, reference: str, cli: Cli) -> None:
    kind, _, name = reference.partition(":")
    locator = f"{kind}:{put_out / name}"
    ran = cli.ok("run", locator, "--command", "--", "sh", "-c", "echo $GREETING")
    assert ran.out == "hi from the output\n"
    facts = json.loads(cli.ok("inspect", locator, "--json").out)
    assert facts["schema"].startswith("packrunner.inspect/")


def test_an_output_can_be_the_run_image(put_out: Path, cli: Cli, sample: Path) -> None:
    """What is built on top of it starts with its layers."""
    locator = f"oci-archive:{put_out / 'oci.tar'}"
    below = json.loads(cli.ok("inspect", locator, "--json").out)
    cli.ok("build", "stacked", "-p", str(sample), "-b", "python", "--run-image", locator)
    above = json.loads(cli.ok("inspect", "stacked", "--json").out)
    ids = [layer["diff_id"] for layer in below["layers"]]
    assert [layer["diff_id"] for layer in above["layers"]][: len(ids)] == ids


@pytest.mark.docker
def test_a_docker_engine_loads_and_runs_the_application(put_out: Path, docker_host: str, port: int) -> None:
    docker = ["docker", "-H", docker_host]
    loaded = subprocess.run(
        [*docker, "load", "-i", str(put_out / "docker.tar")], capture_output=True, text=True, check=True
    )
    assert "outputs" in loaded.stdout
    name = "packrunner-acceptance"
    app = subprocess.Popen(
        [*docker, "run", "--rm", "--name", name, "--network", "host", "-e", f"PORT={port}", "outputs:latest"],
        env={k: v for k, v in os.environ.items() if k != "DOCKER_HOST"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "hi from the output" in fetch(f"http://127.0.0.1:{port}/", app)
    finally:
        subprocess.run([*docker, "stop", "-t", "5", name], capture_output=True, check=False)
        app.communicate(timeout=30)
