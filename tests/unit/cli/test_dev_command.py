"""`packrunner dev`: what it asks of the composition root, and how its story is told."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from packrunner import events
from packrunner.cli import keys
from packrunner.cli.developing import development_name
from packrunner.errors import BuildpackFailedError, DetectNoneError, StoppedError
from tests.unit.cli.cli_fakes import FakeServices, call

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.cli.services import Shown

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "shop"
    place.mkdir()
    monkeypatch.chdir(place)


@pytest.mark.parametrize(
    ("name", "development"),
    [
        ("shop", "shop:dev"),
        ("shop:latest", "shop:dev"),
        ("shop:1.0", "shop:1.0-dev"),
        ("localhost:5000/team/shop", "localhost:5000/team/shop:dev"),
    ],
)
def test_the_image_has_a_name_beside_the_production_image(name: str, development: str) -> None:
    assert development_name(name) == development


def test_it_is_a_build_for_development() -> None:
    fake = FakeServices()
    assert call("dev", "-b", "python", "-e", "A=1", fake=fake) == 0
    (request,) = fake.requests
    assert (request.name, request.shape.exec_env, request.buildpacks) == ("shop:dev", "development", ("python",))
    (wish,) = fake.wishes
    assert (wish.name, wish.env, wish.processes, wish.keys) == ("shop", (("A", "1"),), (), None)


def test_wishes() -> None:
    fake = FakeServices()
    line = "dev shop --process web --process worker --port 9000 --poll 0.5 --container c --open"
    assert call(*line.split(), fake=fake) == 0
    (wish,) = fake.wishes
    assert (wish.processes, wish.port, wish.poll) == (("web", "worker"), 9000, 0.5)
    assert (wish.container, wish.opens) == ("c", True)


def test_a_port_is_a_number(capsys: Capture) -> None:
    assert call("dev", "--port", "70000") == 2
    assert "error[usage]" in capsys.readouterr().err


def told(shown: Shown) -> None:
    shown.first.emit(events.StepDone(phase="export", subject="5 layers", detail="1 new", seconds=1))
    shown.first.emit(events.Finished(text="Built in 4.2s."))
    shown.begin()
    shown.reporter.emit(
        events.Ready(name="shop", note="", seconds=1.2, places=(("web", "http://localhost:8000"),), rules="none")
    )
    shown.reporter.emit(events.Happened(action="sync", subject="app.py", detail="no restart needed", seconds=0.02))


def test_the_story_is_the_build_and_then_the_transcript(capsys: Capture) -> None:
    assert call("dev", fake=FakeServices(on_develop=told)) == 0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].split() == ["export", "5", "layers", "1", "new", "1.0s"]
    assert lines[1:3] == ["shop ready in 1.2s", "  web     http://localhost:8000"]
    assert lines[-1].split()[1:3] == ["sync", "app.py"]


def test_programs_get_the_same_events(capsys: Capture) -> None:
    assert call("dev", "--progress", "json", fake=FakeServices(on_develop=told)) == 0
    told_ = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in told_] == ["step-done", "ready", "happened"]
    assert (told_[1]["places"], told_[2]["action"]) == ([["web", "http://localhost:8000"]], "sync")


@pytest.mark.fault("PRO-01")
def test_a_stop_says_what_is_kept(capsys: Capture) -> None:
    def stopped(shown: Shown) -> None:
        shown.begin()
        stop = StoppedError(signal.SIGINT)
        stop.kept = "shop:dev@111 is the image as of 14:03."
        raise stop

    assert call("dev", fake=FakeServices(on_develop=stopped)) == 130
    assert capsys.readouterr().err == "Stopped. shop:dev@111 is the image as of 14:03.\n"


def test_a_first_build_that_fails_ends_it_with_the_error_of_builds(capsys: Capture) -> None:
    def failed(shown: Shown) -> None:
        shown.first.emit(events.Output(source="python", stream="stderr", data=b"no\n"))
        raise BuildpackFailedError("python failed", slug="buildpack-failed", foreign=("no",))

    assert call("dev", fake=FakeServices(on_develop=failed)) == 51
    err = capsys.readouterr().err
    assert "error[buildpack-failed]: python failed" in err
    assert "more: all of it (1 line): " in " ".join(err.split())


def test_detection_that_fails_names_the_command_that_explains(capsys: Capture) -> None:
    def failed(shown: Shown) -> None:
        raise DetectNoneError("nobody", slug="detect-none")

    assert call("dev", fake=FakeServices(on_develop=failed)) == 20
    assert "packrunner detect" in capsys.readouterr().err


def test_an_error_in_between_is_shown_with_its_log(capsys: Capture) -> None:
    def failed(shown: Shown) -> None:
        shown.begin()

        class Silent:
            def emit(self, event: events.Event) -> None:
                pass

        with shown.logged(Silent()) as reporter:
            reporter.emit(events.Output(source="python", stream="stderr", data=b"a\nb\n"))
        error = BuildpackFailedError("python failed", slug="buildpack-failed", foreign=("b",))
        shown.problem(shown.explained(error))

    assert call("dev", fake=FakeServices(on_develop=failed)) == 0
    err = capsys.readouterr().err
    assert "all of it (2 lines)" in " ".join(err.split())


def test_keys_come_one_by_one_and_the_terminal_is_as_it_was() -> None:
    """In a process of its own, with a terminal of its own."""
    code = (
        "import threading\n"
        "from packrunner.cli import keys\n"
        "got, done = [], threading.Event()\n"
        "def take(key):\n"
        "    got.append(key)\n"
        "    if key == 'q': done.set()\n"
        "assert keys.available()\n"
        "with keys.pressed(take):\n"
        "    print('up', flush=True)\n"
        "    assert done.wait(20)\n"
        "print('down', flush=True)\n"
        "print(got, input())\n"
    )
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    said = heard(fd, b"up")
    os.write(fd, b"rbq")
    said += heard(fd, b"down")
    os.write(fd, b"a line\n")
    said += heard(fd, b"] a line")
    os.waitpid(pid, 0)
    os.close(fd)
    assert b"['r', 'b', 'q'] a line" in said


def heard(fd: int, word: bytes) -> bytes:
    """What a terminal shows until a word comes."""
    said = b""
    while word not in said:
        said += os.read(fd, 1000)
    return said


def test_without_a_terminal_there_are_no_keys() -> None:
    assert keys.available() is False
    assert threading.active_count() >= 1
