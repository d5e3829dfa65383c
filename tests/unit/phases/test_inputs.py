"""Flags, variables, defaults; the platform's level before all of them; exit codes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.cli.phases import exit_code, flags
from packrunner.cli.phases.inputs import Inputs, setting, targets
from packrunner.errors import (
    AnalyzeError,
    ArgumentsError,
    BuildError,
    BuildpackApiError,
    BuildpackFailedError,
    DetectNoneError,
    EngineError,
    ExperimentalError,
    ExportError,
    PackrunnerError,
    PlatformApiError,
    StoreError,
    UsageError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.cli.phases.flags import Phase
    from tests.unit.phases.builder import World

LEVEL = {"CNB_PLATFORM_API": "0.15", "CNB_USER_ID": "1000", "CNB_GROUP_ID": "1001"}


def inputs(phase: Phase, *args: str, **env: str) -> Inputs:
    return Inputs(phase, args, LEVEL | env)


@pytest.mark.cnb("EXC-04")
@pytest.mark.parametrize("flag", flags.FLAGS, ids=lambda f: f.name)
def test_flag_beats_variable_beats_default(flag: flags.Flag) -> None:
    phase: Phase = next(p for p in flags.PHASES if p in flag.phases)
    value, other = ("7", "8") if flag.kind == "number" else ("true", "false") if flag.kind == "switch" else ("/a", "/b")
    default = flag.default.replace("<layers>", "/layers")
    level = LEVEL if flag.kind != "number" else {"CNB_PLATFORM_API": "0.15"}
    assert Inputs(phase, (), level).text(flag.name) == default
    env = level | ({flag.variable: other} if flag.variable else {})
    if flag.variable:
        assert Inputs(phase, (), env).text(flag.name) == other
        assert Inputs(phase, (), level | {flag.variable: ""}).text(flag.name) == default
    for spelled in ([f"-{flag.name}={value}"], [f"--{flag.name}={value}"]):
        assert Inputs(phase, spelled, env).text(flag.name) == value
    if flag.kind != "switch":
        assert Inputs(phase, [f"-{flag.name}", value], env).text(flag.name) == value


@pytest.mark.cnb("EXC-04")
def test_files_are_below_the_layers_directory_wherever_that_is() -> None:
    assert inputs("detect", "-layers", "/l").text("group") == "/l/group.toml"
    assert inputs("detect", CNB_LAYERS_DIR="/m").text("plan") == "/m/plan.toml"
    assert inputs("detect", "-layers", "/l", CNB_GROUP_PATH="/g").text("group") == "/g"


@pytest.mark.cnb("IMG-06")
def test_an_order_of_the_platform_comes_before_the_builders(tmp_path: Path) -> None:
    assert setting(inputs("detect", "-layers", str(tmp_path))).files.order == "/cnb/order.toml"
    (tmp_path / "order.toml").write_text("")
    assert setting(inputs("detect", "-layers", str(tmp_path))).files.order == str(tmp_path / "order.toml")
    assert setting(inputs("detect", "-layers", str(tmp_path), "-order", "/o")).files.order == "/o"


@pytest.mark.cnb("EXC-03", "EXC-01")
@pytest.mark.parametrize("level", ["", "0.3", "1.0"])
def test_the_level_is_checked_before_anything_else(level: str) -> None:
    with pytest.raises(PlatformApiError):
        Inputs("detect", ["-bogus"], {"CNB_PLATFORM_API": level})


@pytest.mark.cnb("EXC-01")
@pytest.mark.parametrize(
    "args", [("-bogus",), ("-layers",), ("-uid", "x"), ("-uid=-1",), ("-no-color=perhaps",), ("-log-level",)]
)
def test_wrong_flags_are_3(args: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentsError) as raised:
        inputs("detect", *args)
    assert raised.value.exit_code == 3


@pytest.mark.cnb("EXC-01")
def test_a_flag_of_a_later_level_is_none_yet() -> None:
    with pytest.raises(ArgumentsError, match="-system") as raised:
        Inputs("detect", ["-system", "/s"], LEVEL | {"CNB_PLATFORM_API": "0.14"})
    assert "0.15" in str(raised.value.cause)


def test_the_first_word_ends_the_flags() -> None:
    assert inputs("export", "-gid=2", "a", "-uid", "3").words == ("a", "-uid", "3")
    assert inputs("export", "--", "-a").words == ("-a",)


@pytest.mark.cnb("EXC-04")
def test_repeated_flags_and_their_variable() -> None:
    assert targets(inputs("analyze", "-tag", "b", "-tag=c", "a")).names == ("a", "b", "c")
    assert inputs("analyze", "a", CNB_INSECURE_REGISTRIES="x,y").many("insecure-registry") == ("x", "y")
    with pytest.raises(ArgumentsError):
        targets(inputs("analyze", "a", "b"))


@pytest.mark.cnb("DET-01")
def test_root_has_to_say_who_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert inputs("detect").identity() == (1000, 1001)
    with pytest.raises(ArgumentsError) as raised:
        Inputs("detect", (), {"CNB_PLATFORM_API": "0.15"}).identity()
    assert raised.value.slug == "phase-user"


@pytest.mark.cnb("EXC-05")
@pytest.mark.parametrize(
    ("mode", "outcome"), [(None, "fails"), ("error", "fails"), ("warn", "warns"), ("silent", ""), ("quiet", "")]
)
def test_experimental_features(mode: str | None, outcome: str) -> None:
    found = inputs("analyze", **({"CNB_EXPERIMENTAL_MODE": mode} if mode else {}))
    if outcome == "fails":
        with pytest.raises(ExperimentalError):
            found.experimental("it")
    else:
        assert bool(found.experimental("it")) == (outcome == "warns")


@pytest.mark.cnb("DET-03")
def test_an_execution_environment_with_a_slash_is_refused() -> None:
    with pytest.raises(ArgumentsError):
        setting(inputs("detect", CNB_EXEC_ENV="a/b"))


@pytest.mark.cnb("EXC-01", "EXC-02")
@pytest.mark.parametrize(
    ("error", "phase", "code"),
    [
        (ArgumentsError, "detect", 3),
        (PlatformApiError, "build", 11),
        (BuildpackApiError, "detect", 12),
        (DetectNoneError, "detect", 20),
        (UsageError, "detect", 22),
        (EngineError, "detect", 22),
        (AnalyzeError, "analyze", 32),
        (StoreError, "analyze", 32),
        (StoreError, "restore", 42),
        (BuildpackFailedError, "build", 51),
        (BuildError, "build", 52),
        (EngineError, "build", 52),
        (BuildError, "export", 62),
        (ExportError, "export", 62),
        (ExperimentalError, "export", 1),
    ],
)
def test_exit_codes(error: type[PackrunnerError], phase: str, code: int) -> None:
    assert exit_code(error("x", slug="x"), phase) == code


@pytest.mark.cnb("EXC-02")
def test_provoked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", lambda _: 1, detect=lambda _: 100)
    assert world("detect") == 20
    world.add("a", lambda _: 1, detect=lambda _: 1)
    assert world("detect") == 21
    world.order("missing")
    assert world("detect") == 22
    assert world("analyze", "-run-image", "acme/none", "acme/shop") == 32
    assert world("restore") == 42
    world.order("a")
    world.add("a", lambda _: 1)
    assert world("detect") == 0
    assert world("build") == 51
    world.put("layers/plan.toml", "x")
    assert world("build") == 52
    assert world("export", "acme/shop") == 62
    assert world("analyze") == 3
    assert world("detect", CNB_PLATFORM_API="0.2") == 11
    assert "error[" in capsys.readouterr().err


def test_where_the_phases_cannot_go_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world("analyze", "-daemon", "x") == 3
    assert "error[phase-repository]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "argv"),
    [
        ("/cnb/lifecycle/creator", ["lifecycle", "create"]),
        ("detector", ["lifecycle", "detect"]),
        ("lifecycle", ["lifecycle"]),
        ("packrunner", []),
    ],
)
def test_programs_of_the_reference_are_phases(program: str, argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from packrunner import cli, start

    seen: list[Any] = []
    monkeypatch.setattr(cli, "main", lambda words, _known: seen.append(words))
    start.run([*start.phase_of(program), "x"])
    assert seen == [[*argv, "x"]]
