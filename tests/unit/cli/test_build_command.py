from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from packrunner import events, paths
from packrunner.cli import detecting
from packrunner.errors import BuildpackFailedError, NetworkError, StoppedError
from packrunner.lifecycle.volumes import Volume
from packrunner.lifecycle.wishes import Delivery, Shape
from packrunner.record import Record, Scan
from tests.unit.cli.cli_fakes import FakeServices, Outcome, call, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.events import Reporter
    from packrunner.lifecycle.request import BuildRequest

Capture = pytest.CaptureFixture[str]
RESULT = "shop@" + digest("3") + "\n"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "My Shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class Known:
    """What the start module would pass."""

    def __init__(self, request: Mapping[str, Any] | None) -> None:
        self.request = request
        self.record = Record("/nowhere", ["build"])
        self.scan: Scan | None = None
        self.unchanged = False


def talkative(request: BuildRequest, reporter: Reporter) -> Outcome:
    reporter.emit(events.StepStarted(phase="build", subject="python 1.4.0", detail="installing"))
    reporter.emit(events.Output(source="python", stream="stdout", data=b"Resolved 14 packages\n"))
    reporter.emit(events.StepDone(phase="build", subject="python 1.4.0", detail="", seconds=1.0))
    reporter.emit(events.Warned(text="the base is 9 days old"))
    reporter.emit(events.Finished(text="Built in 1.0s."))
    return Outcome()


def test_the_result_alone_reaches_stdout(app: Path, capsys: Capture) -> None:
    assert call("build", "shop", fake=FakeServices(on_build=talkative)) == 0
    out, err = capsys.readouterr()
    assert out == RESULT
    assert "python | Resolved 14 packages" in err
    assert "Built in 1.0s." in err


@pytest.mark.parametrize(("flag", "warned"), [("-q", True), ("-qq", False)])
def test_quiet_leaves_the_result_line_alone(app: Path, capsys: Capture, flag: str, warned: bool) -> None:
    assert call("build", "shop", flag, fake=FakeServices(on_build=talkative)) == 0
    out, err = capsys.readouterr()
    assert out == RESULT
    assert err == ("warning: the base is 9 days old\n" if warned else "")


def test_defaults_are_the_directory_and_its_name(app: Path) -> None:
    fake = FakeServices()
    assert call("build", fake=fake) == 0
    request = fake.requests[0]
    assert (request.name, request.source, request.builder) == ("my-shop", str(app), "debian:13")
    assert request.origins["builder"] == "default"


def test_every_flag_arrives(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (app / "src").mkdir()
    (app / "vars").write_text("A=file\nB=file\n")
    monkeypatch.setenv("TOKEN", "t")
    fake = FakeServices()
    words = (
        "build shop:v1 -p src -B debian:trixie -b python,acme/hello@1 -b ./own -e B=flag -e TOKEN --env-file vars "
        "--output oci:out --output docker-archive:/tmp/x.tar --run-image oci:base --clear-cache --rebuild "
        "--network none -vv --progress plain --color never"
    )
    assert call(*words.split(), fake=fake) == 0
    request = fake.requests[0]
    assert request.name == "shop:v1"
    assert request.source == str(app / "src")
    assert request.builder == "debian:trixie"
    assert request.buildpacks == ("python", "acme/hello@1", str(app / "own"))
    assert request.env == (("A", "file"), ("B", "flag"), ("TOKEN", "t"))
    assert request.inherited == ("TOKEN",)
    assert request.env_files == (str(app / "vars"),)
    assert request.outputs == (f"oci:{app}/out", "docker-archive:/tmp/x.tar")
    assert request.run_image == f"oci:{app}/base"
    assert (request.clear_cache, request.rebuild, request.network) == (True, True, "none")
    assert (request.verbose, request.progress, request.color) == (2, "plain", "never")


def test_the_flags_of_pack_arrive(app: Path, capsys: Capture) -> None:
    fake = FakeServices()
    words = (
        "build shop -t shop:v2 --tag shop:v3 --publish --load --compression zstd --insecure-registry a:5000 "
        "--pull-policy never --previous-image shop:old --cache type=dir,path=c --platform linux/amd64 "
        "--creation-time now -D worker --exec-env test --workspace /app --uid 7 --gid 8 --volume ./v:/v:rw "
        "--pre-buildpack ./a --post-buildpack b,c --disable-system-buildpacks --sbom-output-dir s "
        "--report-output-dir r --userns-host --trust-extra-buildpacks --interactive --lifecycle-image x"
    )
    assert call(*words.split(), fake=fake) == 0
    request = fake.requests[0]
    assert request.delivery == Delivery(
        tags=("shop:v2", "shop:v3"),
        push=True,
        load=True,
        compression="zstd",
        insecure=("a:5000",),
        pull_policy="never",
        previous="shop:old",
        cache=("dir", f"{app}/c"),
    )
    assert request.shape == Shape(
        platform="linux/amd64",
        created="now",
        process="worker",
        exec_env="test",
        app_dir="/app",
        uid=7,
        gid=8,
        volumes=(Volume(f"{app}/v", "/v", writable=True),),
        before=(f"{app}/a",),
        after=("b", "c"),
        without_system=True,
        sbom_dir=f"{app}/s",
        report_dir=f"{app}/r",
    )
    assert capsys.readouterr().err.count("has no effect here") == 4


def test_the_environment_and_files_fill_what_flags_leave(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_NETWORK", "none")
    monkeypatch.setenv("PACKRUNNER_OUTPUT", "oci:a, oci:b")
    config = paths.config_file()
    os.makedirs(os.path.dirname(config))
    Path(config).write_text('builder = "debian:trixie"\nnetwork = "host"\n')
    (app / "project.toml").write_text(
        '[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["docs"]\n'
        '[[io.buildpacks.build.env]]\nname = "A"\nvalue = "project"\n[[io.buildpacks.group]]\nid = "x"\n'
    )
    fake = FakeServices()
    assert call("build", fake=fake) == 0
    request = fake.requests[0]
    assert (request.builder, request.origins["builder"]) == ("debian:trixie", "config")
    assert (request.network, request.origins["network"]) == ("none", "environment")
    assert request.outputs == (f"oci:{app}/a", f"oci:{app}/b")
    assert request.exclude == ("docs",)
    assert request.env == (("A", "project"),)


@pytest.mark.cnb("PRJ-01")
def test_the_project_file_may_be_another(app: Path, capsys: Capture) -> None:
    (app / "project.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["a"]\n')
    (app / "other.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["b"]\n')
    fake = FakeServices()
    assert call("build", "--project", "other.toml", fake=fake) == 0
    assert (fake.requests[0].exclude, fake.requests[0].project_file) == (("b",), str(app / "other.toml"))
    assert call("build", "--project", "gone.toml", fake=fake) == 2
    assert "error[project-missing]" in capsys.readouterr().err


@pytest.mark.cnb("PRJ-04")
def test_the_projects_builder_counts_unless_another_is_named(app: Path) -> None:
    (app / "project.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nbuilder = "debian:trixie"\n')
    fake = FakeServices()
    assert call("build", fake=fake) == 0
    assert call("build", "--builder", "debian:13", fake=fake) == 0
    assert [r.builder for r in fake.requests] == ["debian:trixie", "debian:13"]


def test_bindings_are_read_once_and_hidden_wherever_they_are_shown(
    app: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "db").mkdir()
    (app / "db/type").write_text("mysql")
    (app / "db/password").write_text("tiger-tiger\n")
    monkeypatch.setenv("DEPLOY", "burning-bright")

    def says(request: Any, reporter: Any) -> Any:
        reporter.emit(events.Warned(text="mysql: tiger-tiger burning-bright"))
        return Outcome()

    fake = FakeServices(on_build=says)
    args = ("build", "--binding", "db=db", "--secret", "deploy=env:DEPLOY")
    assert call(*args, fake=fake) == 0
    told = capsys.readouterr().err
    assert "mysql: (hidden) (hidden)" in told
    (request,), (held,) = fake.requests, fake.held
    assert (request.bindings, request.secrets) == ((("db", str(app / "db")),), (("deploy", "env:DEPLOY"),))
    assert held is not None
    assert held.bindings["deploy"] == {"type": b"secret", "value": b"burning-bright"}
    assert "tiger" not in repr((request, held)) + request.to_json()


def test_detection_can_be_asked_with_the_same_bindings(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (app / "db").mkdir()
    (app / "db/type").write_text("mysql")
    (app / "token").write_text("tiger")
    (app / "p.toml").write_text('[_]\nschema-version = "0.2"\n')
    monkeypatch.setenv("DEPLOY", "burning-bright")
    fake = FakeServices()
    given = ("--binding", "db=db", "--secret", "deploy=env:DEPLOY", "--secret", "token=token", "--project", "p.toml")
    call("build", *given, fake=fake)
    explaining = detecting.command(fake.requests[0])
    for text in ("db=db", "deploy=env:DEPLOY", "token=./token", "--project p.toml"):
        assert text in explaining
    assert "tiger" not in explaining


def test_a_misspelt_variable_is_pointed_out(app: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_BUILDR", "x")
    assert call("build") == 0
    assert "warning: PACKRUNNER_BUILDR is not a variable of packrunner" in capsys.readouterr().err


def test_arguments_parsed_before_need_no_parser(app: Path, capsys: Capture) -> None:
    fake = FakeServices()
    call("build", "shop", "-q", fake=fake)

    known = Known(json.loads(json.dumps(fake.requests[0].to_plain())))
    assert call("build", "--whatever", "is not parsed", fake=fake, known=known) == 0
    assert fake.requests[1] == fake.requests[0]
    assert fake.known[1] == known
    assert capsys.readouterr().out == RESULT * 2


def test_a_record_of_another_shape_is_parsed_anew(app: Path) -> None:
    fake = FakeServices()
    assert call("build", "shop", fake=fake, known=Known({"colour": "blue"})) == 0
    assert fake.requests[0].name == "shop"


def test_a_failing_buildpack_ends_with_its_block_and_the_whole_log(app: Path, capsys: Capture) -> None:
    def fail(request: BuildRequest, reporter: Reporter) -> Outcome:
        talkative(request, reporter)
        raise BuildpackFailedError(
            "python 1.4.0 could not install requirements.txt",
            slug="buildpack-failed",
            foreign=("ERROR: No matching distribution found for flaskk==99.9",),
        )

    assert call("build", "shop", fake=FakeServices(on_build=fail)) == 51
    out, err = capsys.readouterr()
    assert out == ""
    assert "\nerror[buildpack-failed]: python 1.4.0 could not install requirements.txt\n  | ERROR: No match" in err
    assert "more: all of it (1 line): " in " ".join(err.split())
    logs = os.path.join(paths.state_dir(), "logs")
    [name] = os.listdir(logs)
    assert "error[buildpack-failed]" in Path(logs, name).read_text()


def test_progress_as_json_makes_errors_events_too(app: Path, capsys: Capture) -> None:
    def fail(request: BuildRequest, reporter: Reporter) -> Outcome:
        raise NetworkError("no answer", slug="net")

    assert call("build", "--progress", "json", fake=FakeServices(on_build=fail)) == 14
    [record] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (record["event"], record["code"], record["transient"]) == ("error", "net", True)


def test_a_stop_is_an_answer(app: Path, capsys: Capture) -> None:
    def stop(request: BuildRequest, reporter: Reporter) -> Outcome:
        raise StoppedError(2)

    assert call("build", fake=FakeServices(on_build=stop)) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_secrets_given_with_e_are_never_shown_or_logged(app: Path, capsys: Capture) -> None:
    def leak(request: BuildRequest, reporter: Reporter) -> Outcome:
        token = dict(request.env)["PIP_TOKEN"]
        reporter.emit(events.Output(source="python", stream="stdout", data=f"using {token}\n".encode()))
        raise BuildpackFailedError(f"pip refused {token}", slug="buildpack-failed", foreign=(f"tried {token}",))

    assert call("build", "-e", "PIP_TOKEN=hunter2hunter2", fake=FakeServices(on_build=leak)) == 51
    logs = os.path.join(paths.state_dir(), "logs")
    everything = capsys.readouterr().err + "".join(Path(logs, name).read_text() for name in os.listdir(logs))
    assert "using (hidden)" in everything
    assert "hunter2" not in everything


@pytest.mark.parametrize(
    ("argv", "code", "slug", "also"),
    [
        (("build", "-p", "nowhere"), 2, "no-such-path", "nowhere does not exist"),
        (("build", "-p", "file"), 2, "no-such-path", "file is not a directory"),
        (("build", "Shop!"), 2, "name", "lower-case"),
        (("build", "oci:out"), 2, "name", "packrunner build --output oci:out"),
        (("build", "--output", "out"), 2, "output", "--output oci:out"),
        (("build", "--output", "oci:"), 2, "output", "--output oci:image"),
        (("build", "-e", "=x"), 2, "env", "NAME=VALUE"),
        (("build", "--env-file", "nowhere"), 2, "env-file", "nowhere cannot be read"),
        (("build", "--network", "hots"), 2, "config-value", "--network host"),
        (("build", "--progress", "fancy"), 2, "config-value", "auto, tty, plain, json"),
        (("build", "--buildr", "x"), 2, "usage", "--builder"),
        (("build", "a", "b"), 2, "usage", "packrunner build --help"),
        (("build", "-p"), 2, "usage", "-p needs a value"),
    ],
)
def test_what_cannot_be_meant_is_said(
    app: Path, capsys: Capture, argv: tuple[str, ...], code: int, slug: str, also: str
) -> None:
    (app / "file").write_text("")
    assert call(*argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error[{slug}]: ")
    assert also in err
    assert max(map(len, err.splitlines())) <= 100


def test_a_line_of_an_env_file_is_named(app: Path, capsys: Capture) -> None:
    (app / "vars").write_text("# fine\n\nA=1\n=2\n")
    assert call("build", "--env-file", "vars") == 2
    assert "  at:    vars:4" in capsys.readouterr().err


def test_reasons_are_shown_when_asked_for(app: Path, capsys: Capture) -> None:
    def log(request: BuildRequest, reporter: Reporter) -> Outcome:
        logging.getLogger("packrunner.images.store").debug("wrote %s", "a blob")
        return Outcome()

    assert call("build", "-v", fake=FakeServices(on_build=log)) == 0
    err = capsys.readouterr().err
    assert "note: builder comes from default" in err
    assert "note: images.store: wrote a blob" in err


@pytest.mark.fault("PRO-14")
def test_a_directory_that_is_gone_is_said(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert call("build") == 2
    assert "error[no-such-path]: the current directory does not exist any more" in capsys.readouterr().err


def test_streams_that_are_closed_do_no_harm(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert call("build", fake=FakeServices(on_build=talkative)) == 0


def test_a_name_that_stdout_cannot_show_is_escaped(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert call("build", fake=FakeServices(on_build=lambda request, reporter: Outcome("caf\u00e9"))) == 0
    assert raw.getvalue() == b"caf\\xe9\n"
