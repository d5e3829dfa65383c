"""Development images under other tools: what Tilt, Compose and Skaffold run in a container, and what they are told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.covering import SETTLE
from tests.tiltfile import Tilt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

AS_TILT = ("tar", "-C", "/", "-x", "-f", "-")
AS_SKAFFOLD = ("tar", "xmf", "-", "-C", "/", "--no-same-owner")


class Container:
    """A running container, as tools reach it: by commands, and through the engine."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", "exec", "-i", self.name, *words], input=given, capture_output=True, check=False, timeout=120
        )

    def ok(self, *words: str, given: bytes = b"") -> None:
        ended = self.run(*words, given=given)
        assert ended.returncode == 0, ended.stderr.decode() + ended.stdout.decode()

    def read(self, path: str) -> bytes | None:
        """A file's bytes, from outside; None where there is none."""
        got = subprocess.run(["docker", "cp", f"{self.name}:{path}", "-"], capture_output=True, check=False)
        if got.returncode:
            return None
        with tarfile.open(fileobj=io.BytesIO(got.stdout)) as archive:
            file = archive.extractfile(archive.next() or pytest.fail(path))
            return file.read() if file else b""

    def said(self) -> list[str]:
        logged = subprocess.run(["docker", "logs", self.name], capture_output=True, check=True, text=True)
        return [line for line in logged.stdout.splitlines() if line.startswith("page: ")]

    def until(self, *said: str) -> None:
        for _ in range(300):
            if self.said() == list(said):
                return
            time.sleep(0.1)
        pytest.fail(f"it said {self.said()}")


def sent(**files: str) -> bytes:
    """An archive with paths from the root, as tools send it: with the ids of whoever runs them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"workspace/{name.replace('__', '/')}")
            entry.size, entry.mode, entry.uid, entry.gid = len(text), 0o644, os.getuid(), os.getgid()
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def container(cli: Cli, tmp_path: Path, docker_host: str) -> Iterator[Container]:
    """A Procfile application that says its page when it starts, built for development."""
    app = tmp_path / "tools"
    app.mkdir()
    (app / "Procfile").write_text("web: echo page: $(cat page); exec sleep 1000\n")
    (app / "page").write_text("one")
    cli.ok(
        "build",
        "tools:dev",
        "-p",
        str(app),
        "-b",
        "procfile",
        "--exec-env",
        "development",
        "--load",
        DOCKER_HOST=docker_host,
    )
    name = f"tools-{os.getpid()}"
    subprocess.run(["docker", "run", "-d", "--name", name, "--network", "none", "tools:dev"], check=True)
    try:
        yield Container(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


@pytest.mark.docker
@pytest.mark.parametrize("extract", [AS_TILT, AS_SKAFFOLD])
def test_a_sync_is_taken_and_settled(container: Container, extract: tuple[str, ...]) -> None:
    container.until("page: one")
    container.ok(*extract, given=sent(page="two", more__deep="x"))
    container.ok(*SETTLE)
    container.until("page: one", "page: two")
    assert container.read("/workspace/more/deep") == b"x"
    # Nothing is new: nothing is done.
    container.ok(*SETTLE)
    container.until("page: one", "page: two")
    container.ok("rm", "-rf", "/workspace/more")
    container.ok("rm", "-rf", "--", "/workspace/more", "/workspace/none")
    container.ok(*SETTLE)
    container.until("page: one", "page: two", "page: two")
    assert container.read("/workspace/more") is None


@pytest.mark.docker
def test_what_is_no_archive_is_an_error_of_tar(container: Container) -> None:
    container.until("page: one")
    assert container.run(*AS_TILT, given=b"x" * 1024).returncode == 2
    assert container.read("/workspace/page") == b"one"


def test_rules_of_the_real_buildpacks_reach_tilt(cli: Cli, repository: Path) -> None:
    directory = repository / "samples" / "tilt-flask"
    tilt = Tilt(directory, local=lambda words: cli.ok(*words[1:], cwd=directory).out)
    tilt.run((directory / "Tiltfile").read_text())
    (image,) = tilt.images
    app = str(repository / "samples" / "flask")
    stops, *others = image["live_update"]
    assert f"{app}/requirements.txt" in stops["paths"]
    assert others == [
        {"step": "sync", "local": app, "remote": "/workspace"},
        {"step": "run", "cmd": list(SETTLE), "trigger": []},
    ]
    assert "**/__pycache__/**" in image["ignore"]


@pytest.mark.parametrize("form", ["tilt", "devcontainer"])
def test_documents_for_tools_are_json(cli: Cli, sample: Path, form: str) -> None:
    assert json.loads(cli.ok("sync-rules", "-p", str(sample), "--format", form).out)


def test_compose_init_writes_what_the_buildpacks_say(cli: Cli, app: Path) -> None:
    assert cli.ok("compose", "init", cwd=app).out == "compose.yaml\n"
    text = (app / "compose.yaml").read_text()
    assert "image: shop:dev" in text
    assert "include: ['**/*.py']" in text
