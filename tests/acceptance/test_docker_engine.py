"""The engine `docker` as people use it: the same images as the sandbox makes, by root and by an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli
    from tests.services import DockerService

pytestmark = [pytest.mark.docker, pytest.mark.sandbox, pytest.mark.network]

DETECT = "#!/bin/sh\n"
BUILD = r"""#!/bin/sh
set -e
layers=$1
mkdir -p $layers/tool/bin $layers/kept
printf '[types]\nlaunch = true\ncache = true\n' >$layers/tool.toml
printf '[types]\ncache = true\n' >$layers/kept.toml
printf '#!/bin/sh\necho tool\n' >$layers/tool/bin/tool
chmod 0755 $layers/tool/bin/tool
ln -sfn bin/tool $layers/tool/link
if [ -e $layers/kept/count ]; then echo again; else echo first; fi
echo x >>$layers/kept/count
sed -i s/old/new/ page.txt
rm -r unwanted
mkdir -p made/below
cp page.txt made/below/copy.txt
chmod 0700 made
ln -s made/below link
cat $2/env/GREETING $2/bindings/db/type
"""


def buildpack(root: Path) -> Path:
    """A buildpack that writes layers and changes the application in all ways there are."""
    for name, script in (("detect", DETECT), ("build", BUILD)):
        path = root / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    (root / "buildpack.toml").write_text('api = "0.10"\n[buildpack]\nid = "test/changes"\nversion = "1.0.0"\n')
    return root


@pytest.fixture
def changing(tmp_path: Path) -> tuple[str, ...]:
    """Arguments that build an application with it; others may read all of it."""
    app = tmp_path / "changing"
    (app / "unwanted" / "deep").mkdir(parents=True)
    (app / "unwanted" / "deep" / "file").write_text("x")
    (app / "page.txt").write_text("an old page\n")
    (app / "script").write_text("#!/bin/sh\n")
    (app / "script").chmod(0o755)
    (app / "db").mkdir()
    (app / "db" / "type").write_text("database")
    made = buildpack(tmp_path / "buildpack")
    for path in (tmp_path, *tmp_path.parents[:2], *tmp_path.rglob("*")):
        path.chmod(path.stat().st_mode | 0o055 if path.is_dir() else path.stat().st_mode | 0o044)
    return (
        "changing", "-p", str(app), "-b", str(made), "-e", "GREETING=hello ", "--binding", f"db={app / 'db'}",
    )  # fmt: skip


def given(words: tuple[str, ...], ordinary: Cli) -> tuple[str, ...]:
    """The same arguments with a copy of the application that belongs to the ordinary user."""
    at = words.index("-p") + 1
    mine = os.path.join(ordinary.home, "changing")
    shutil.copytree(words[at], mine, symlinks=True)
    for directory, _, names in os.walk(mine):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            shutil.chown(path, "nobody", "nogroup")
    return (*words[:at], mine, *words[at + 1 :])


def in_docker(engine: DockerService) -> tuple[str, ...]:
    return ("--engine", "docker", "--docker-host", engine.host, "--network", "host")


def test_the_sample_is_the_same_image_whoever_builds_it_and_where(
    cli: Cli, ordinary: Cli, sample: Path, docker_engine: DockerService
) -> None:
    words = ("build", "same", "-p", str(sample), "-b", "python", "--clear-cache")
    digests = {
        (who, where): by.ok(*words, *more).digest
        for who, by in (("root", cli), ("ordinary", ordinary))
        for where, more in (("sandbox", ()), ("docker", in_docker(docker_engine)))
    }
    assert len(set(digests.values())) == 1, digests


def test_what_buildpacks_change_in_an_application_is_the_same(
    cli: Cli, ordinary: Cli, changing: tuple[str, ...], docker_engine: DockerService
) -> None:
    digests = {}
    for who, by in (("root", cli), ("ordinary", ordinary)):
        if by is ordinary:
            changing = given(changing, by)
        for where, more in (("sandbox", ()), ("docker", in_docker(docker_engine))):
            built = by.ok("build", *changing, "--clear-cache", "-v", *more)
            assert "hello database" in built.err
            assert "first" in built.err
            again = by.ok("build", *changing, "--rebuild", "-v", *more)
            assert "again" in again.err
            digests[who, where] = built.digest, again.digest
    assert len({digest for pair in digests.values() for digest in pair}) == 1, digests


def test_the_source_is_never_touched_and_cached_layers_survive_pruned_volumes(
    cli: Cli, changing: tuple[str, ...], docker_engine: DockerService
) -> None:
    more = in_docker(docker_engine)
    source = changing[changing.index("-p") + 1]
    before = tree(source)
    first = cli.ok("build", *changing, "--clear-cache", *more)
    assert tree(source) == before
    docker = ["docker", "-H", docker_engine.host]
    names = subprocess.run([*docker, "volume", "ls", "-q"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run([*docker, "volume", "rm", *names], capture_output=True, check=True)
    again = cli.ok("build", *changing, "--rebuild", "-v", *more)
    assert "again" in again.err
    assert again.digest == first.digest


def test_the_application_is_loaded_and_runs(cli: Cli, app: Path, docker_engine: DockerService, port: int) -> None:
    more = (*in_docker(docker_engine), "--load")
    cli.ok("build", "loaded", "-p", str(app), "-b", "python", *more)
    (app / "app.py").write_text((app / "app.py").read_text().replace("Hello", "Changed"))
    built = cli.ok("build", "loaded", "-p", str(app), "-b", "python", *more)
    docker = ["docker", "-H", docker_engine.host]
    shown = subprocess.run([*docker, "image", "inspect", "loaded"], capture_output=True, text=True, check=True)
    facts = json.loads(cli.ok("inspect", "loaded", "--json").out)
    (image,) = json.loads(shown.stdout)
    assert image["RepoTags"] == ["loaded:latest"]
    assert image["RootFS"]["Layers"] == [layer["diff_id"] for layer in facts["layers"]]
    assert facts["digest"] == built.digest
    name = f"packrunner-loaded-{os.getpid()}"
    running = subprocess.Popen(
        [*docker, "run", "--rm", "--name", name, "--network", "host", "-e", f"PORT={port}", "loaded"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert fetch(f"http://127.0.0.1:{port}/", running)
    finally:
        subprocess.run([*docker, "stop", "-t", "5", name], capture_output=True, check=False)
        running.communicate(timeout=30)


def test_detection_can_be_asked_in_docker_too(cli: Cli, sample: Path, docker_engine: DockerService) -> None:
    asked = cli.ok("detect", "-p", str(sample), *in_docker(docker_engine))
    assert asked.out.startswith("group  1 of 1: python\n")


@pytest.mark.fault("PRO-08")
def test_a_killed_build_leaves_nothing_after_the_next(
    cli: Cli, changing: tuple[str, ...], docker_engine: DockerService, tmp_path: Path
) -> None:
    script = tmp_path / "buildpack" / "bin" / "build"
    script.write_text("#!/bin/sh\necho started\nsleep 300\n")
    docker = ["docker", "-H", docker_engine.host, "ps", "-a", "-q", "--filter", "label=io.packrunner.pid"]
    process = cli.start("build", *changing, "--progress", "plain", *in_docker(docker_engine))
    assert process.stderr
    while "started" not in (line := process.stderr.readline()):
        assert line, "the build ended"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert subprocess.run(docker, capture_output=True, text=True, check=True).stdout
    script.write_text(BUILD)
    cli.ok("build", *changing, *in_docker(docker_engine))
    assert subprocess.run(docker, capture_output=True, text=True, check=True).stdout == ""


def test_an_interrupted_build_leaves_no_container(
    cli: Cli, changing: tuple[str, ...], docker_engine: DockerService, tmp_path: Path
) -> None:
    (tmp_path / "buildpack" / "bin" / "build").write_text("#!/bin/sh\ntrap '' INT TERM\necho started\nsleep 300\n")
    process = cli.start("build", *changing, "--progress", "plain", *in_docker(docker_engine))
    assert process.stderr
    while "started" not in (line := process.stderr.readline()):
        assert line, "the build ended"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    docker = ["docker", "-H", docker_engine.host, "ps", "-a", "-q"]
    assert subprocess.run(docker, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.fault("NET-11")
def test_an_engine_that_is_not_there(cli: Cli, sample: Path, tmp_path: Path) -> None:
    ended = cli("build", "-p", str(sample), "--engine", "docker", "--docker-host", f"unix://{tmp_path}/no.sock")
    assert ended.code == 13
    assert "error[docker-missing]" in ended.err
    assert f"{tmp_path}/no.sock" in ended.err
    assert "--engine sandbox" in ended.err


@pytest.mark.fault("NET-11")
def test_a_socket_that_is_for_others(ordinary: Cli, sample: Path) -> None:
    home = os.path.join(ordinary.home, "closed")
    os.mkdir(home, 0o711)
    path = os.path.join(home, "docker.sock")
    os.mknod(path, stat.S_IFSOCK | 0o600)
    ended = ordinary("build", "-p", str(sample), "--engine", "docker", DOCKER_HOST=f"unix://{path}")
    shutil.rmtree(home)
    assert ended.code == 13
    assert "error[docker-denied]" in ended.err
    assert "usermod" in ended.err


def tree(top: str) -> dict[str, tuple[int, bytes]]:
    """Modes and contents."""
    found = {}
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[path] = os.lstat(path).st_mode, file.read()
    return found
