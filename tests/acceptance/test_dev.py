"""`packrunner dev`: an edit loop on applications of three kinds, in both engines, that ends with equal trees."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.developing import Dev, processes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli
    from tests.services import DockerService

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

SERVER = """
import http.server, os, pathlib, sys
TEXT = "first version"
SETTING = pathlib.Path("setting.txt").read_text().strip()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{TEXT}, {SETTING}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
PROCFILE = ("-b", "procfile")
WORKER = "while :; do echo tick; sleep 0.2; done\n"


@pytest.fixture(params=["sandbox", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The arguments for an engine; containers have this machine's network."""
    if request.param == "sandbox":
        return ()
    service: DockerService = request.getfixturevalue("docker_engine")
    return ("--engine", "docker", "--docker-host", service.host, "--network", "host")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """An application with a Procfile of two processes."""
    app = tmp_path / "listed"
    app.mkdir()
    (app / "Procfile").write_text("web: python3 server.py\nworker: sh worker.sh\nrelease: touch released\n")
    (app / "server.py").write_text(SERVER)
    (app / "worker.sh").write_text(WORKER)
    (app / "setting.txt").write_text("one\n")
    return app


@pytest.fixture(scope="module")
def compiled_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for both engines: the second one takes up what the first has compiled, which takes Go a minute."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def compiled(compiled_place: Path, repository: Path) -> Path:
    """The Go sample, with its buildpack beside it."""
    for name in ("go", "go-buildpack"):
        shutil.copytree(repository / "samples" / name, compiled_place / name, dirs_exist_ok=True)
    return compiled_place / "go"


def replace(path: Path, old: str, new: str) -> None:
    """Edit a file as many editors do: another file takes its place."""
    text = path.read_text()
    assert old in text
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text.replace(old, new))
    shutil.copymode(path, beside)
    beside.rename(path)


def test_an_edit_loop_on_flask(cli: Cli, app: Path, port: int, engine: tuple[str, ...]) -> None:
    (app / ".gitignore").write_text("*.log\n")
    with Dev(cli, app, port, *engine) as dev:
        ready = dev.ready()
        assert ready["places"] == [["web", f"http://localhost:{port}"]]
        dev.shows("Hello from packrunner")
        replace(app / "app.py", '"Hello"', '"Changed once"')
        dev.came_of("app.py", "sync", "restart")
        dev.shows("Changed once")
        (app / "debug.log").write_text("nobody cares")
        replace(app / "templates" / "index.html", "<h1>", "<h1>Template ")
        dev.came_of("templates/index.html", "sync", "restart")
        dev.shows("<h1>Template ")
        (app / "static" / "new" / "deep").mkdir(parents=True)
        (app / "static" / "new" / "deep" / "file.txt").write_text("a new file")
        dev.shows("a new file", "/static/new/deep/file.txt")
        (app / "static" / "new").rename(app / "static" / "moved")
        dev.shows("a new file", "/static/moved/deep/file.txt")
        shutil.rmtree(app / "static" / "moved")
        (app / "static" / "link").symlink_to("style.css")
        (app / "debug.log").unlink()
        dev.converges()
        assert not [event for event in dev.events if "debug.log" in str(event)]
        assert dev.stop() == 130
        last = dev.events[-1]
        assert last["event"] == "stopped"
        assert "later changes are only in your files" in last["kept"]
    assert processes(port) == []


def test_an_edit_loop_on_a_procfile(cli: Cli, listed: Path, port: int, engine: tuple[str, ...]) -> None:
    with Dev(cli, listed, port, *PROCFILE, *engine) as dev:
        assert [name for name, _ in dev.ready()["places"]] == ["web", "worker"]
        dev.wait(lambda event: event["event"] == "output" and event["source"] == "worker" and event["text"] == "tick")
        dev.shows("first version, one")
        replace(listed / "server.py", "first", "second")
        assert dev.came_of("server.py", "restart")["detail"] == "web, worker"
        dev.shows("second version, one")
        (listed / "setting.txt").write_text("two\n")
        dev.shows("second version, two")
        dev.converges()


def test_an_edit_loop_on_a_compiled_program(cli: Cli, compiled: Path, port: int, engine: tuple[str, ...]) -> None:
    with Dev(cli, compiled, port, *engine) as dev:
        dev.ready()
        dev.shows("Hello")
        replace(compiled / "index.html", "<body>", "<body>Compiled in")
        row = dev.came_of("index.html", "restart", "failed")
        assert (row["action"], row["detail"]) == ("restart", "web, after go install .")
        dev.shows("Compiled in")
        replace(compiled / "main.go", "package main", "package main\n\nnonsense")
        row = dev.came_of("main.go", "restart", "failed")
        assert row["action"] == "failed"
        assert any("main.go:" in line for line in row["lines"])
        dev.shows("Compiled in")
        replace(compiled / "main.go", "\n\nnonsense", "")
        assert dev.came_of("main.go", "restart", "failed")["action"] == "restart"
        dev.converges()


@pytest.mark.fault("LIV-14")
def test_the_old_version_serves_while_the_new_one_is_built(cli: Cli, app: Path, port: int) -> None:
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(dev.page("/health"))
            except (urllib.error.URLError, ConnectionError):
                answers.append("nothing")
            time.sleep(0.02)

    with Dev(cli, app, port) as dev:
        dev.ready()
        dev.shows("Hello from packrunner")
        asking = threading.Thread(target=ask)
        asking.start()
        with (app / "requirements.txt").open("a") as file:
            file.write("# more\n")
        dev.happened("rebuild")
        for number in range(30):
            with (app / "requirements.txt").open("a") as file:
                file.write(f"# {number}\n")
            time.sleep(0.02)
        replace(app / "app.py", '"Hello"', '"Changed meanwhile"')
        dev.shows("Changed meanwhile")
        served = list(answers)
        dev.happened("ready")
        done.set()
        asking.join()
        dev.shows("Changed meanwhile")
        dev.happened("ready")
        dev.converges()
        dev.shows("Changed meanwhile")
        dev.stop()
    assert len(served) > 5
    rows = [event["action"] for event in dev.events if event["event"] == "happened"]
    assert (rows.count("rebuild"), rows.count("ready")) == (2, 2)
    image = dev.events[-1]["kept"].partition(" ")[0].partition("@")[2]
    assert image in cli.ok("images").out or image in cli.ok("inspect", "shop:dev", "--json").out


def test_a_rebuild_that_fails_keeps_the_old_version(cli: Cli, app: Path, port: int) -> None:
    with Dev(cli, app, port) as dev:
        dev.ready()
        before = (app / "requirements.txt").read_text()
        (app / "requirements.txt").write_text("no-such-package-as-this==1.0\n")
        error = dev.wait(lambda event: event["event"] == "error")
        assert error["code"] == "buildpack-failed"
        assert dev.happened("failed")["detail"] == "the old version still serves"
        dev.shows("Hello from packrunner")
        (app / "requirements.txt").write_text(before)
        assert dev.happened("ready", "failed")["action"] == "ready"
        dev.shows("Hello from packrunner")


def test_a_crash_waits_for_the_change_that_helps(cli: Cli, listed: Path, port: int) -> None:
    with Dev(cli, listed, port, *PROCFILE, "--process", "web") as dev:
        dev.ready()
        replace(listed / "server.py", "import http.server", "import htp.server")
        crash = dev.happened("crash")
        assert crash["subject"] == "web ended with exit code 1"
        assert crash["lines"][-1] == "ModuleNotFoundError: No module named 'htp'"
        replace(listed / "server.py", "import htp.server", "import http.server")
        row = dev.wait(lambda event: event["event"] == "happened" and "up again" in event["detail"])
        assert "server.py" in row["subject"].split(", ")
        dev.shows("first version")


def test_another_port_where_one_is_taken(cli: Cli, listed: Path, port: int) -> None:
    with subprocess.Popen(
        ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as other:
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            with Dev(cli, listed, port, *PROCFILE, "--process", "web") as dev:
                place = dev.ready()["places"][0][1]
                assert int(place.rpartition(":")[2]) > port
        finally:
            other.terminate()


@pytest.mark.fault("PRO-08")
def test_nothing_survives_a_killed_packrunner(cli: Cli, listed: Path, port: int, engine: tuple[str, ...]) -> None:
    with Dev(cli, listed, port, *PROCFILE, "--process", "web", *engine) as dev:
        dev.ready()
        assert len(processes(port)) == 1
        dev.stop(signal.SIGKILL)
        for _ in range(100):
            if not processes(port):
                break
            time.sleep(0.1)
        assert processes(port) == []


def test_production_is_as_if_it_had_never_been(cli: Cli, app: Path, port: int) -> None:
    first = cli.ok("build", "shop", cwd=app)
    with Dev(cli, app, port) as dev:
        dev.ready()
    again = cli.ok("build", "shop", cwd=app)
    assert again.digest == first.digest
    assert "Nothing changed" in again.err


@pytest.mark.docker
def test_changes_reach_a_container_that_somebody_else_runs(
    cli: Cli, listed: Path, port: int, docker_engine: DockerService
) -> None:
    host = docker_engine.host
    cli.ok("build", "listed-dev", *PROCFILE, "--exec-env", "development", "--load", "--docker-host", host, cwd=listed)
    docker = ["docker", "-H", host]
    name = f"dev-{os.getpid()}"
    run = [*docker, "run", "-d", "--rm", "--network", "host", "--name", name, "-e", f"PORT={port}", "listed-dev"]
    subprocess.run(run, check=True, capture_output=True)
    try:
        replace(listed / "server.py", "first", "second")  # nobody saw this
        with Dev(cli, listed, port, *PROCFILE, "--container", name, "--docker-host", host) as dev:
            dev.ready()
            dev.shows("second version, one")
            (listed / "setting.txt").write_text("two\n")
            dev.shows("second version, two")
            dev.converges()
            assert dev.stop() == 130
        assert "two" in dev.page()
    finally:
        subprocess.run([*docker, "rm", "-f", name], check=False, capture_output=True)
