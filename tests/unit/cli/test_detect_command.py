"""`packrunner detect`: the pages, the JSON document, the exit codes, and the command that a failed build names."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.cli import detecting
from packrunner.errors import DetectErroredError, DetectNoneError
from packrunner.formats.group import GroupMember
from packrunner.formats.plan import DetectPlan, Entry, Plan, Provide, Provider, Require
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle.detect import Findings
from packrunner.lifecycle.detect_only import Answer
from packrunner.lifecycle.detect_run import Run
from packrunner.lifecycle.explain import AppFiles, GroupOutcome, MemberOutcome
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import merge
from packrunner.lifecycle.resolve import Problem, Resolution
from tests.unit.cli.cli_fakes import FakeServices, Outcome, call

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.events import Reporter
    from packrunner.lifecycle.request import BuildRequest

Capture = pytest.CaptureFixture[str]


def member(name: str, status: Any, why: str = "", **how: Any) -> MemberOutcome:
    code = {"passed": 0, "failed": 100, "skipped": 100, "unmet": 0, "errored": 1}.get(status)
    return MemberOutcome(id=f"acme/{name}", version="1.0.0", short=name, status=status, why=why, **{"code": code} | how)


JAVA = GroupOutcome(status="failed", members=(member("java", "failed", "none of pom.xml, build.gradle, *.jar"),))
PYTHON = GroupOutcome(
    status="failed",
    members=(
        member("env", "passed", optional=True),
        member(
            "python",
            "failed",
            "needs one of requirements.txt, uv.lock; there is app.py",
            tries=("create requirements.txt",),
        ),
        member("procfile", "skipped", "no Procfile", optional=True),
    ),
)
NODE = GroupOutcome(
    status="errored",
    members=(
        member("node", "errored", "exit 1: package.json:7: expected a comma", lines=("reading", "package.json:7")),
        member(
            "npm",
            "unmet",
            "requires `node`, which nothing before it provides",
            problems=(Problem(kind="unmet", id="acme/npm", version="1.0.0", name="node"),),
        ),
    ),
)
GO = GroupOutcome(
    status="chosen",
    members=(member("go", "passed", alternative=2, alternatives=3), member("procfile", "passed")),
    trial=2,
    combinations=3,
)
RUST = GroupOutcome(status="untried", members=(member("rust", "untried", code=None), member("procfile", "untried")))


def answer(*groups: GroupOutcome, **how: Any) -> Answer:
    tried = [g for g in groups if g.status != "untried"]
    require = Require(name="go")
    plan = Plan(entries=(Entry(providers=(Provider(id="acme/go", version="1.0.0"),), requires=(require,)),))
    pair = DetectPlan(provides=(Provide(name="go"),), requires=(require,))
    chosen = tried[-1].status == "chosen"
    findings = Findings(
        resolution=Resolution(ok=True, plan=plan) if chosen else None,
        group=(GroupMember(id="acme/go", version="1.0.0", api="0.12"),) if chosen else (),
        outcomes=tuple(tried),
        runs={
            ("acme/go", "1.0.0"): Run(code=0, plan=DetectPlan(alternatives=(pair, pair))),  # type: ignore[arg-type]  # of the same shape
            ("acme/procfile", "1.0.0"): Run(code=0, plan=DetectPlan(requires=(require,))),
        },
        cut_off="",
        untried=iter(()),
    )
    return Answer(
        findings=findings,
        untried=tuple(g for g in groups if g.status == "untried"),
        app=AppFiles(count=14, names=("app.py",)),
        target=RunTarget("linux", "amd64", "", "debian", "13"),
        buildpacks=9,
        seconds=0.19,
        **how,
    )


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "shop"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PWD", str(place))
    return place


def asked(*words: str, groups: tuple[GroupOutcome, ...]) -> tuple[int, FakeServices]:
    fake = FakeServices(on_detect=lambda _: answer(*groups))
    return call("detect", *words, fake=fake), fake


def test_nothing_fits_and_every_reason_is_told(capsys: Capture) -> None:
    code, _ = asked("--explain", groups=(JAVA, PYTHON, NODE))
    out, err = capsys.readouterr()
    assert (code, err) == (21, "")
    assert out.splitlines() == [
        "shop from . with debian:13: 3 groups, 9 buildpacks, 190ms",
        "",
        "group 1  java      no",
        "  no       java 1.0.0            none of pom.xml, build.gradle, *.jar (exit 100)",
        "group 2  python    no",
        "  pass     env 1.0.0",
        "  no       python 1.0.0          needs one of requirements.txt, uv.lock; there is app.py (exit 100)",
        "  skip     procfile 1.0.0        optional; no Procfile",
        "group 3  node      error",
        "  error    node 1.0.0            exit 1: package.json:7: expected a comma",
        "           | reading",
        "           | package.json:7",
        "  unmet    npm 1.0.0             requires `node`, which nothing before it provides",
        "",
        "nearest: group 2, python (1 obstacle)",
        "  no       python 1.0.0          needs one of requirements.txt, uv.lock; there is app.py (exit 100)",
        "  try:   create requirements.txt",
    ]
    assert [line for line in out.splitlines() if " error " in line] == [
        "  error    node 1.0.0            exit 1: package.json:7: expected a comma"
    ]


def test_with_success_the_chosen_group_is_marked_and_the_plan_shown(capsys: Capture) -> None:
    code, _ = asked("--explain", groups=(JAVA, GO, RUST))
    assert code == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "group 1  java      no",
        "  no       java 1.0.0            none of pom.xml, build.gradle, *.jar (exit 100)",
        "group 2  go        chosen   (trial 2 of 3)",
        "  pass     go 1.0.0              with its plan 2 of 3",
        "  pass     procfile 1.0.0",
        "group 3  rust      not tried   rust, procfile",
        "",
        "plan       `go` from go, for go, procfile",
    ]


def test_without_explain_it_is_short(capsys: Capture) -> None:
    code, _ = asked(groups=(JAVA, GO, RUST))
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "group  2 of 3: go",
        "order  go 1.0.0, procfile 1.0.0",
        "plan   `go` from go, for go, procfile",
    ]


def test_without_explain_a_failure_is_a_builds_error(capsys: Capture) -> None:
    code, _ = asked("-b", "java", groups=(JAVA,))
    out, err = capsys.readouterr()
    assert (code, out) == (20, "")
    assert err.startswith("error[detect-none]: no buildpack accepts this application\n")
    assert "  more:  packrunner detect --explain -b java\n" in err


def test_what_a_plan_lacks_is_what_would_help(capsys: Capture) -> None:
    unused = member(
        "npm",
        "unmet",
        "provides `x`, ...",
        problems=(Problem(kind="unused", name="x"), Problem(kind="unmet", name="y")),
    )
    asked("--explain", groups=(GroupOutcome(status="failed", members=(unused,)),))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  try:   add a buildpack that requires `x` after npm",
        "  and:   add a buildpack that provides `y` before npm",
    ]


def test_the_document_has_everything(capsys: Capture, shop: Path) -> None:
    code, _ = asked("--json", groups=(JAVA, GO, RUST))
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {key: found[key] for key in ("schema", "chosen", "files", "seconds", "error", "nearest", "cut_off")} == {
        "schema": "packrunner.detect/1",
        "chosen": 2,
        "files": 14,
        "seconds": 0.19,
        "error": None,
        "nearest": None,
        "cut_off": None,
    }
    assert found["source"] == str(shop)
    assert found["target"] == {
        "os": "linux", "arch": "amd64", "variant": "", "distro": "debian", "distro_version": "13"
    }  # fmt: skip
    assert found["group"] == [{"id": "acme/go", "version": "1.0.0", "api": "0.12"}]
    assert found["plan"] == {
        "entries": [
            {"providers": [{"id": "acme/go", "version": "1.0.0"}], "requires": [{"name": "go", "metadata": {}}]}
        ]
    }
    assert [(g["number"], g["name"], g["status"], g["trial"]) for g in found["groups"]] == [
        (1, "java", "no", None), (2, "go", "chosen", 2), (3, "rust", "not tried", None)
    ]  # fmt: skip
    assert found["groups"][1]["members"][0] | {"alternative": 2, "alternatives": 3} == found["groups"][1]["members"][0]


def test_the_document_of_a_failure_names_the_nearest_group_and_the_error(capsys: Capture) -> None:
    code, _ = asked("--json", groups=(JAVA, PYTHON, NODE))
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (code, err, found["chosen"], found["plan"]) == (21, "", None, None)
    assert found["nearest"]["group"] == 2
    assert found["nearest"]["try"] == ["create requirements.txt"]
    assert (found["error"]["code"], found["error"]["exit_code"]) == ("detect-errored", 21)
    node, npm = found["groups"][2]["members"]
    assert (node["status"], node["exit_code"], node["output"]) == ("error", 1, ["reading", "package.json:7"])
    assert (npm["status"], npm["unmet"], npm["unused"]) == ("unmet", ["node"], [])


def test_secrets_do_not_get_through_and_output_steers_no_terminal(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_TOKEN", "hunter2hunter2")
    said = member("a", "failed", "hunter2hunter2 \x1b[2Jis wrong", tries=("use hunter2hunter2",))
    group = GroupOutcome(status="failed", members=(said,))
    asked("--explain", groups=(group,))
    asked("--json", groups=(group,))
    captured = "".join(capsys.readouterr())
    assert "hunter2" not in captured
    assert "\x1b" not in captured


def test_flags_reach_the_request_and_the_order(shop: Path) -> None:
    (shop / "vars").write_text("A=1\n")
    words = "-p . -e B=2 --env-file vars --network none --order o.toml --buildpacks x --buildpacks y --run-image img"
    _, fake = asked(*words.split(), groups=(GO,))
    (request,) = fake.requests
    assert (request.env, request.network, request.run_image) == ((("A", "1"), ("B", "2")), "none", "img")
    assert fake.orders == [{"order": str(shop / "o.toml"), "directories": (str(shop / "x"), str(shop / "y"))}]


@pytest.mark.parametrize("words", ["--buildpacks x", "--order o.toml -b python"])
def test_flags_that_contradict(words: str, capsys: Capture) -> None:
    assert call("detect", *words.split()) == 2
    assert "error[usage]" in capsys.readouterr().err


CASES = [
    "",
    "-p sub",
    "-p ..",
    "-b python,procfile -b ./sub",
    "-B debian:trixie --network none",
    "-e A=1 -e B=two~words --env-file vars",
    "--run-image oci:img",
]


@pytest.mark.parametrize("words", CASES)
def test_the_command_that_a_failed_build_names_asks_the_same(words: str, shop: Path) -> None:
    """What it says after `more:`, typed as it is, resolves to the request that failed."""
    (shop / "sub").mkdir()
    (shop / "vars").write_text("C=3\n")
    argv = [word.replace("~", " ") for word in words.split()]
    captured: list[str] = []

    def failing(request: BuildRequest, _reporter: Reporter) -> Outcome:
        captured.append(detecting.command(request))
        raise DetectNoneError("no", slug="detect-none")

    fake = FakeServices(on_build=failing)
    assert call("build", *argv, fake=fake) == 20
    typed = shlex.split(captured[0])
    assert typed[:3] == ["packrunner", "detect", "--explain"]
    again = FakeServices(on_detect=lambda _: answer(GO))
    assert call(*typed[1:], fake=again) == 0
    wanted, got = fake.requests[0], again.requests[0]
    for name in ("source", "builder", "buildpacks", "env", "env_files", "network", "run_image"):
        assert getattr(got, name) == getattr(wanted, name)


def test_a_failed_build_names_it(capsys: Capture) -> None:
    def failing(request: BuildRequest, _reporter: Reporter) -> Outcome:
        raise DetectErroredError("no", slug="detect-errored")

    assert call("build", "-b", "python", fake=FakeServices(on_build=failing)) == 21
    assert "  more:  packrunner detect --explain -b python\n" in capsys.readouterr().err


def test_a_secret_value_is_not_put_into_the_command(shop: Path) -> None:
    flags = Flags(cwd=str(shop), env=("DB_PASSWORD=geheim", "X"))
    assert detecting.command(merge(flags, {"X": "1"})) == "packrunner detect --explain -e DB_PASSWORD -e X"


def test_a_home_is_not_quoted_into_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shop: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "other").mkdir()
    request = merge(Flags(cwd=str(shop), path=str(tmp_path / "other")), {})
    assert detecting.command(request) == f"packrunner detect --explain -p {tmp_path}/other"
