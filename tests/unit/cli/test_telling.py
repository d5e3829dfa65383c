"""A build that fails tells of itself in report.json, as far as it came."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from packrunner import events
from packrunner.errors import (
    BuildpackFailedError,
    DetectNoneError,
    NetworkError,
    PackrunnerError,
    ShownError,
    StoppedError,
)
from packrunner.formats.group import GroupMember
from packrunner.lifecycle.explain import GroupOutcome, MemberOutcome
from tests.unit.cli.cli_fakes import FakeServices, Outcome, call

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.events import Reporter
    from packrunner.lifecycle.request import BuildRequest

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


class Failing(FakeServices):
    """A build that takes its course, and ends with an error."""

    def __init__(self, error: ShownError) -> None:
        super().__init__(on_build=self.fail)
        self.error = error

    def fail(self, request: BuildRequest, reporter: Reporter) -> Outcome:
        """Three buildpacks were chosen; the second fails."""
        telling = self.told[-1]
        if telling is None or isinstance(self.error, NetworkError):
            raise self.error
        course = telling.course
        reporter.emit(events.Output(source="b", stream="stderr", data=b"line\n"))
        if isinstance(self.error, DetectNoneError):
            course.phase = "detect"
            member = MemberOutcome(id="acme/one", version="1", short="one", status="failed", why="no file", code=100)
            course.outcomes = (GroupOutcome(status="failed", members=(member,)),)
        if isinstance(self.error, BuildpackFailedError):
            course.phase = "build"
            course.group = tuple(GroupMember(id=f"acme/{name}", version="1", api="0.12") for name in "abc")
            with course.turn(course.group[0]):
                pass
            with course.turn(course.group[1]):
                raise self.error
        raise self.error


def failed(error: PackrunnerError, app: Path, *words: str) -> dict[str, Any]:
    fake = Failing(error)
    assert call("build", *words, "--report-output-dir", "out", fake=fake) == error.exit_code
    found: dict[str, Any] = json.loads((app / "out/report.json").read_text())
    assert found["schema"] == "packrunner.report/1"
    assert found["result"] is None
    return found


def test_a_failed_buildpack_and_those_around_it(app: Path) -> None:
    error = BuildpackFailedError("b 1 ended", slug="buildpack-failed", at="b.txt:3", tries=("do",), foreign=("line",))
    found = failed(error, app)
    failure = found["failure"]
    assert failure["phase"] == "build"
    states = [(one["id"], one["status"], one["seconds"] is None) for one in failure["buildpacks"]]
    assert states == [("acme/a", "built", False), ("acme/b", "failed", False), ("acme/c", "not run", True)]
    said = failure["error"]
    assert (said["code"], said["message"], said["at"], said["exit_code"]) == (
        "buildpack-failed",
        "b 1 ended",
        "b.txt:3",
        51,
    )
    assert said["try"] == ["do"]
    assert said["output"] == ["line"]
    assert said["more"].startswith("all of it")
    assert failure["seconds"] >= failure["buildpacks"][1]["seconds"]


def test_what_detection_found(app: Path) -> None:
    failure = failed(DetectNoneError("nobody", slug="detect-none"), app)["failure"]
    assert failure["phase"] == "detect"
    [group] = failure["groups"]
    assert [(m["id"], m["status"], m["why"], m["exit_code"]) for m in group["members"]] == [
        ("acme/one", "no", "no file", 100)
    ]
    assert "packrunner detect" in failure["error"]["more"]
    assert failure["buildpacks"] == []


def test_before_anything_is_known_the_request_is(app: Path) -> None:
    found = failed(NetworkError("no answer", slug="net"), app, "shop", "-e", "A=b", "--engine", "sandbox")
    assert found["failure"]["phase"] == "prepare"
    assert found["failure"]["error"]["transient"]
    assert (found["name"], found["source"], found["engine"]) == ("shop", str(app), "sandbox")
    assert [one["name"] for one in found["variables"]] == ["A"]
    assert {found[name] for name in ("platform", "builder", "run_image", "previous")} == {None}
    assert [found[name] for name in ("groups", "sources", "caches", "changes")] == [None] * 4


def test_the_report_of_an_image_goes_with_the_failure(app: Path) -> None:
    (app / "out").mkdir()
    (app / "out/report.toml").write_text('[image]\ndigest = "sha256:0"\n')
    failed(NetworkError("no answer", slug="net"), app)
    assert sorted(path.name for path in (app / "out").iterdir()) == ["report.json"]


def test_a_stop_leaves_the_files(app: Path) -> None:
    (app / "out").mkdir()
    (app / "out/report.toml").write_text("")
    assert call("build", "--report-output-dir", "out", fake=Failing(StoppedError(2))) == 130
    assert sorted(path.name for path in (app / "out").iterdir()) == ["report.toml"]


def test_a_report_that_cannot_be_written_hides_no_error(app: Path, capsys: Capture) -> None:
    (app / "out").write_text("a file")
    assert call("build", "--report-output-dir", "out", fake=Failing(NetworkError("no answer", slug="net"))) == 14
    err = capsys.readouterr().err
    assert "warning: the report of this build could not be written" in " ".join(err.split())
    assert "error[net]: no answer" in err


def test_no_secret_is_in_it(app: Path) -> None:
    error = BuildpackFailedError(
        "refused hunter2hunter2", slug="buildpack-failed", cause="hunter2hunter2", foreign=("by hunter2hunter2",)
    )
    failed(error, app, "-e", "API_TOKEN=hunter2hunter2")
    assert "hunter2" not in (app / "out/report.json").read_text()


def test_nothing_is_written_unasked(app: Path) -> None:
    fake = Failing(NetworkError("no answer", slug="net"))
    assert call("build", fake=fake) == 14
    assert fake.told == [None]
    assert list(app.iterdir()) == []
