"""From source to a running image: the promises of the first screen, with the installed command."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack, runs_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

RESULT = re.compile(r"[a-z0-9./:_-]+@sha256:[0-9a-f]{64}\n")


def test_the_result_is_one_line_and_the_story_is_plain(cli: Cli, app: Path) -> None:
    built = cli.ok("build", "story", "-p", str(app), "--buildpack", "python")
    assert RESULT.fullmatch(built.out)
    assert "\x1b" not in built.err
    assert "\r" not in built.err
    for phase in ("detect", "build", "export"):
        assert re.search(rf"^  {phase} ", built.err, re.MULTILINE), built.err


def test_nothing_changed_is_said_and_rebuild_and_clear_cache_give_the_same_digest(
    cli: Cli, app: Path, tmp_path: Path
) -> None:
    probe = probe_buildpack(tmp_path / "probe")
    args = ("build", "same", "-p", str(app), "-b", "python", "-b", str(probe))
    first = cli.ok(*args)
    assert runs_of(cli, "same") == 1
    again = cli.ok(*args)
    assert again.err.startswith("Nothing changed since ")
    assert again.out == first.out
    assert runs_of(cli, "same") == 1
    rebuilt = cli.ok(*args, "--rebuild")
    assert runs_of(cli, "same") == 2
    assert "Nothing changed" not in rebuilt.err
    assert re.search(r"dependencies.*reused", rebuilt.err), rebuilt.err
    assert "no new" in rebuilt.err or "0 new" in rebuilt.err or "unchanged" in rebuilt.err, rebuilt.err
    assert rebuilt.out == first.out
    cleared = cli.ok(*args, "--clear-cache")
    assert runs_of(cli, "same") == 3
    assert "reused" not in "".join(line for line in cleared.err.splitlines() if "dependencies" in line), cleared.err
    assert cleared.out == first.out


def test_a_variable_given_at_build_time_reaches_the_process(cli: Cli, app: Path, port: int) -> None:
    cli.ok("build", "greeting", "-p", str(app), "-b", "python", "-e", "BPE_GREETING=hi from the build")
    with cli.serving("greeting", "-e", f"PORT={port}", port=port) as page:
        assert "hi from the build" in page


def test_quiet_leaves_the_result_alone_and_run_accepts_it(cli: Cli, app: Path) -> None:
    built = cli.ok("build", "quiet", "-p", str(app), "-b", "python", "-q")
    assert built.err == ""
    assert RESULT.fullmatch(built.out)
    ran = cli.ok("run", built.out.strip(), "--command", "--", "python3", "-c", "import flask; print('flask is here')")
    assert ran.out == "flask is here\n"


def test_one_changed_line_leaves_the_dependencies_alone(cli: Cli, app: Path) -> None:
    args = ("build", "edit", "-p", str(app), "-b", "python")
    first = cli.ok(*args)
    with (app / "app.py").open("a") as file:
        file.write("# edited\n")
    second = cli.ok(*args)
    assert "app.py" in second.err
    assert re.search(r"1 new", second.err), second.err
    assert second.digest != first.digest


def test_the_application_directory_is_never_written_to(cli: Cli, app: Path, tmp_path: Path) -> None:
    writer = tmp_path / "writer"
    shutil.copytree(probe_buildpack(tmp_path / "probe"), writer)
    build = writer / "bin" / "build"
    build.write_text(build.read_text() + "\necho changed > app.py; rm requirements.txt; mkdir made; echo x > made/x\n")
    before = {p: p.read_bytes() for p in app.rglob("*") if p.is_file()}
    cli.ok("build", "untouched", "-p", str(app), "-b", str(writer))
    assert {p: p.read_bytes() for p in app.rglob("*") if p.is_file()} == before
    shown = cli.ok(
        "run", "untouched", "--command", "--", "sh", "-c", "cat /workspace/app.py /workspace/made/x; ls /workspace"
    )
    assert shown.out.startswith("changed\nx\n")
    assert "requirements.txt" not in shown.out


def test_exit_codes_and_signals_pass_through_run(cli: Cli, app: Path) -> None:
    cli.ok("build", "codes", "-p", str(app), "-b", "python")
    assert cli("run", "codes", "--command", "--", "sh", "-c", "exit 7").code == 7
    assert cli("run", "codes", "--command", "--", "sh", "-c", "kill -TERM $$").code == 128 + 15


def test_an_ordinary_user_can_build_and_gets_the_same_digest(cli: Cli, ordinary: Cli, sample: Path, port: int) -> None:
    built = ordinary.ok("build", "shop", "-p", str(sample), "-b", "python", cwd=ordinary.home)
    assert built.digest == cli.ok("build", "shop", "-p", str(sample), "-b", "python").digest
    with ordinary.serving("shop", "-e", f"PORT={port}", port=port) as page:
        assert "<h1>" in page


@pytest.mark.cnb("PRJ-03")
def test_what_project_toml_leaves_out_is_absent_from_detection_on(cli: Cli, app: Path, tmp_path: Path) -> None:
    look = '#!/bin/sh\necho "seen: $(find . -type f | sort | tr "\\n" " ")"\n'
    probe = probe_buildpack(tmp_path / "probe", detect=look)
    for name in ("a.md", "README.md", "docs/b.md", "docs/c.txt"):
        (app / name).parent.mkdir(exist_ok=True)
        (app / name).write_text(name)
    (app / "project.toml").write_text(
        '[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["*.md", "!README.md"]\n'
    )
    told = cli.ok("build", "left-out", "-p", str(app), "-b", str(probe), "-v").err
    seen = next(line for line in told.splitlines() if "seen: " in line)
    assert "./README.md" in seen
    assert "./docs/c.txt" in seen
    assert "a.md" not in seen
    assert "b.md" not in seen


@pytest.mark.cnb("PRJ-03")
def test_dockerignore_counts_where_project_toml_says_nothing_and_is_read_again(cli: Cli, app: Path) -> None:
    for name in ("notes.md", "docs/a.md"):
        (app / name).parent.mkdir(exist_ok=True)
        (app / name).write_text(name)
    (app / ".dockerignore").write_text("**/*.md\n.dockerignore\n")
    told = cli.ok("build", "ignored", "-p", str(app), "-b", "python").err
    assert ".dockerignore says what is left out" in told
    listed = cli.ok(
        "run", "ignored", "--command", "--", "sh", "-c", "cd /workspace; ls -d *.md */*.md 2>/dev/null; true"
    ).out
    assert listed.strip() == ""
    (app / ".dockerignore").write_text("*.md\n")
    cli.ok("build", "ignored", "-p", str(app), "-b", "python")
    listed = cli.ok(
        "run", "ignored", "--command", "--", "sh", "-c", "cd /workspace; ls -d *.md */*.md 2>/dev/null; true"
    ).out
    assert listed.split() == ["docs/a.md"]


@pytest.mark.cnb("PRJ-08")
def test_project_toml_is_read(cli: Cli, app: Path) -> None:
    (app / "secret.txt").write_text("not for the image")
    (app / "project.toml").write_text(
        '[_]\nschema-version = "0.2"\n[io.buildpacks]\nexclude = ["secret.txt"]\n'
        '[[io.buildpacks.build.env]]\nname = "BPE_GREETING"\nvalue = "from the project"\n'
    )
    cli.ok("build", "project", "-p", str(app), "-b", "python")
    listed = cli.ok("run", "project", "--command", "--", "sh", "-c", "ls /workspace; echo $GREETING")
    assert "secret.txt" not in listed.out
    assert "from the project" in listed.out


@pytest.mark.cnb("STK-03")
def test_a_buildpack_from_before_targets_builds(cli: Cli, app: Path, tmp_path: Path) -> None:
    old = probe_buildpack(
        tmp_path / "old",
        build='#!/bin/sh\nset -eu\nprintf \'[[processes]]\\ntype = "web"\\ncommand = "echo old $0"\\n'
        'direct = false\\ndefault = true\\n\' > "$1/launch.toml"\n',
    )
    (old / "buildpack.toml").write_text(
        'api = "0.7"\n[buildpack]\nid = "test/old"\nversion = "1.0.0"\n'
        '[[stacks]]\nid = "io.buildpacks.stacks.jammy"\nmixins = ["libpq", "build:git"]\n'
    )
    cli.ok("build", "old", "-p", str(app), "-b", str(old))
    assert cli.ok("run", "old").out.startswith("old ")


@pytest.mark.fault("SBX-43")
def test_who_changes_a_layer_of_another_buildpack_is_named(cli: Cli, app: Path, tmp_path: Path) -> None:
    layer = (
        '#!/bin/sh\nset -eu\nmkdir -p "$1/{name}"\necho 1 > "$1/{name}/f"\n'
        'printf "[types]\\nlaunch = true\\n" > "$1/{name}.toml"\n'
    )
    scripts = {
        "victim": layer.format(name="v"),
        "innocent": layer.format(name="i"),
        "meddler": "#!/bin/sh\necho 2 > /layers/test_victim/v/f\n",
        "late": "#!/bin/sh\n",
    }
    places = [probe_buildpack(tmp_path / name, build=script, name=f"test/{name}") for name, script in scripts.items()]
    told = cli.ok("build", "meddled", "-p", str(app), "-b", ",".join(map(str, places))).err
    assert "warning: test/meddler changed the layer v of test/victim, which had finished it" in told
    assert told.count("had finished it") == 1


def test_two_builds_of_one_application_at_once_both_work(cli: Cli, app: Path) -> None:
    started = [cli.start("build", f"twin{n}", "-p", str(app), "-b", "python", "--rebuild") for n in range(2)]
    ended = [(p.communicate(timeout=300), p.returncode) for p in started]
    assert [code for _, code in ended] == [0, 0], ended
    assert len({out.partition("@")[2] for (out, _), _ in ended}) == 1


def test_the_environment_of_the_host_is_not_visible(cli: Cli, app: Path, tmp_path: Path) -> None:
    probe = probe_buildpack(tmp_path / "probe")
    (probe / "bin" / "build").write_text(
        (probe / "bin" / "build").read_text() + "\nenv > $CNB_LAYERS_DIR/probe/env.txt\n"
    )
    cli.ok(
        "build", "canary", "-p", str(app), "-b", str(probe), CANARY="do-not-leak", AWS_SECRET_ACCESS_KEY="do-not-leak"
    )
    found = cli.ok("run", "canary", "--command", "--", "cat", "/layers/test_probe/probe/env.txt").out
    assert "CNB_LAYERS_DIR=" in found
    assert "do-not-leak" not in found
    for place in ("data/store", "state", "cache/apps"):
        for folder, _, files in os.walk(os.path.join(cli.home, place)):
            for path in (os.path.join(folder, name) for name in files):
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        assert b"do-not-leak" not in file.read()
