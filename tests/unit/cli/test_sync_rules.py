"""`packrunner sync-rules`: from detection or from an image, for people and for programs; `detect` counts them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.formats.group import GroupMember
from packrunner.formats.plan import DetectPlan, Entry, Plan, Provider, Require
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle.detect import Findings
from packrunner.lifecycle.detect_only import Answer
from packrunner.lifecycle.detect_run import Run
from packrunner.lifecycle.explain import AppFiles, GroupOutcome, MemberOutcome
from packrunner.lifecycle.resolve import Resolution
from tests.unit.cli.cli_fakes import FakeServices, FakeStore, call, image, stored

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

PYTHON = {
    "buildpack": "packrunner/python",
    "version": "0.1.0",
    "rules": [
        {"src": ["requirements.txt"], "action": "rebuild", "why": "packages"},
        {"src": ["**/*.py", "**/templates/**", "**/a-rather-long-name-of-a-directory/**"], "action": "reload"},
    ],
}
GO = {
    "buildpack": "acme/go",
    "version": "2.0",
    "rules": [{"src": ["**/*.go"], "action": "restart", "exec": ["go", "build", "-o", "a b"], "dest": "/srv"}],
}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("COLUMNS", "80")


def answer(*stated: dict[str, Any], status: Any = "chosen") -> Answer:
    requires = tuple(Require(name="live-reload", metadata=one) for one in stated)
    entry = Entry(providers=(Provider(id="packrunner/live-reload", version="1"),), requires=requires)
    member = MemberOutcome(
        id="packrunner/live-reload",
        version="1",
        short="live-reload",
        status="passed" if status == "chosen" else "failed",
        alternative=1,
    )
    found = Resolution(ok=True, plan=Plan(entries=(entry,) if stated else ())) if status == "chosen" else None
    return Answer(
        findings=Findings(
            resolution=found,
            group=(GroupMember(id="packrunner/live-reload", version="1", api="0.12"),),
            outcomes=(GroupOutcome(status=status, members=(member,)),),
            runs={("packrunner/live-reload", "1"): Run(code=0, plan=DetectPlan(requires=requires))},
            cut_off="",
            untried=iter(()),
        ),
        untried=(),
        app=AppFiles(count=1),
        target=RunTarget("linux", "amd64", "", "debian", "13"),
        buildpacks=1,
        seconds=0.1,
    )


def asked(*words: str, found: Answer) -> tuple[int, FakeServices]:
    fake = FakeServices(on_detect=lambda _: found)
    return call(*words, fake=fake), fake


def test_a_table_of_the_rules_in_the_order_in_which_they_count(capsys: Capture) -> None:
    code, fake = asked("sync-rules", found=answer(PYTHON, GO))
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert fake.requests[0].shape.exec_env == "development"
    assert out.splitlines() == [
        "4 rules for files of /workspace; the first that matches counts",
        "",
        "  ignore   **/.git/**, **/.idea/**, **/.vscode/**,     of editors and git, not",
        "           **/.DS_Store, **/.*.sw?, **/*~, **/4913,    of the application",
        "           **/.#*, **/#*#, **/*___jb_???___,",
        "           **/.goutputstream-*",
        "  rebuild  requirements.txt                            python: packages",
        "  reload   **/*.py, **/templates/**,                   python",
        "           **/a-rather-long-name-of-a-directory/**",
        "  restart  **/*.go                                     go",
        "           then run go build -o 'a b'",
        "           to /srv",
        "  rebuild  anything else",
    ]


def test_a_document_for_programs(capsys: Capture) -> None:
    code, _ = asked("sync-rules", "--format", "json", found=answer(GO))
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rules"].pop(0)["action"] == "ignore"
    assert found == {
        "schema": "packrunner.sync-rules/1",
        "version": 1,
        "workspace": "/workspace",
        "rules": [
            {
                "src": ["**/*.go"],
                "action": "restart",
                "exec": ["go", "build", "-o", "a b"],
                "dest": "/srv",
                "buildpack": "acme/go",
            }
        ],
        "buildpacks": {"acme/go": "2.0"},
    }


def test_a_rule_that_is_none_is_left_out_with_a_warning(capsys: Capture) -> None:
    bad = {"buildpack": "acme/odd", "version": "1", "rules": [{"src": ["../x"], "action": "sync"}]}
    code, _ = asked("sync-rules", found=answer(bad))
    out, err = capsys.readouterr()
    assert code == 0
    assert err.startswith("warning: acme/odd: sync rule 1 (`../x` sync)")
    assert out == "no rules: every change needs a new image\n"


def test_an_application_that_nobody_takes_has_none(capsys: Capture) -> None:
    code, _ = asked("sync-rules", found=answer(status="failed"))
    out, err = capsys.readouterr()
    assert (code, out) == (20, "")
    assert "packrunner detect --explain --exec-env development" in err


def test_an_images_rules(capsys: Capture) -> None:
    labels = {"io.packrunner.sync": json.dumps({"rules": [{"src": ["**"], "action": "sync"}], "workspace": "/app"})}
    store = FakeStore(stored("shop:latest", image().with_labels(labels)), stored("plain:latest", image()))
    fake = FakeServices(images=store)
    assert call("sync-rules", "--from-image", "shop", fake=fake) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 rule for files of /app; the first that matches counts"
    assert call("sync-rules", "--from-image", "plain", fake=fake) == 2
    assert "error[no-sync-rules]" in capsys.readouterr().err


def test_a_format_that_is_not_there(capsys: Capture) -> None:
    assert call("sync-rules", "--format", "xml") == 2
    assert "there is no format xml" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--explain",)])
def test_detect_counts_them(words: tuple[str, ...], capsys: Capture) -> None:
    asked("detect", "--exec-env", "development", *words, found=answer(PYTHON, GO))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("rules"))
    assert line.split(maxsplit=1)[1] == "2 from python, 1 from go: packrunner sync-rules"


def test_detect_has_them_for_programs(capsys: Capture) -> None:
    _, fake = asked("detect", "--exec-env", "development", "--json", found=answer(PYTHON))
    found = json.loads(capsys.readouterr().out)
    assert found["exec_env"] == fake.requests[0].shape.exec_env == "development"
    assert [rule["action"] for rule in found["rules"]] == ["ignore", "rebuild", "reload"]


def test_without_rules_detect_says_nothing_of_them(capsys: Capture) -> None:
    asked("detect", found=answer())
    assert "rules" not in capsys.readouterr().out
