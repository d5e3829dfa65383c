"""What buildpacks see of bindings and secrets, and that nothing is left of them anywhere."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

CANARIES = ("canary-of-a-binding", "canary-of-a-file", "canary-of-a-variable")
LOOK = """
if touch /platform/bindings/db/type 2>/dev/null; then echo writable; fi
echo "see $(cd "$SERVICE_BINDING_ROOT" && find . -type f | sort | tr '\\n' ' ')"
echo "types $(cat "$SERVICE_BINDING_ROOT"/*/type)"
echo "root $(cat /platform/env/SERVICE_BINDING_ROOT)"
cat /platform/bindings/*/password /platform/bindings/*/value >&2
"""


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """An application, a buildpack that looks at its bindings, and something to bind."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/file").write_text("content")
    probe = probe_buildpack(tmp_path / "probe")
    for program in ("detect", "build"):
        path = probe / "bin" / program
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([lines[0], LOOK, *lines[1:]]))
    (tmp_path / "db").mkdir()
    (tmp_path / "db/type").write_text("postgresql")
    (tmp_path / "db/password").write_text(CANARIES[0])
    (tmp_path / "token").write_text(CANARIES[1] + "\n")
    return tmp_path


def build(cli: Cli, case: Path, *more: str, **env: str) -> str:
    """The story of a build with a binding and two secrets."""
    given = ("--binding", f"db={case / 'db'}", "--secret", f"token={case / 'token'}", "--secret", "deploy=env:DEPLOY")
    args = ("build", "bound", "-p", str(case / "app"), "-b", str(case / "probe"), *given, "-v", *more)
    return cli.ok(*args, **{"DEPLOY": CANARIES[2], **env}).err


def found_below(place: str) -> list[str]:
    """The files that hold a canary: blobs, records, logs, caches, whatever there is."""
    found = []
    for folder, _, files in os.walk(place):
        for path in (os.path.join(folder, name) for name in files):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                found += [path for canary in CANARIES if canary.encode() in data]
    return found


@pytest.mark.cnb("BND-01", "BND-02", "BND-03")
def test_buildpacks_see_them_and_nothing_is_left(cli: Cli, case: Path) -> None:
    told = build(cli, case, "--output", f"oci:{case / 'out'}")
    assert "see ./db/password ./db/type ./deploy/type ./deploy/value ./token/type ./token/value" in told
    assert "types postgresqlsecretsecret" in told
    assert "root /platform/bindings" in told
    assert "writable" not in told
    # The probe printed all three, and detection's output is shown with -v: neither shows one.
    assert told.count("(hidden)") >= 2 * len(CANARIES), told
    assert found_below(cli.home) == []
    assert found_below(str(case / "out")) == []
    assert not [canary for canary in CANARIES if canary in told]
    inside = cli.ok("run", "bound", "--command", "--", "sh", "-c", "env; ls /platform 2>&1 || true").out
    assert "SERVICE_BINDING_ROOT" not in inside


@pytest.mark.cnb("BND-03", "BLD-06")
def test_a_failed_build_leaves_nothing_either(cli: Cli, case: Path) -> None:
    path = case / "probe/bin/build"
    path.write_text(path.read_text() + "\nexit 3\n")
    args = ("build", "failing", "-p", str(case / "app"), "-b", str(case / "probe"), "--binding", f"db={case / 'db'}")
    ended = cli(*args)
    assert ended.code == 51
    assert cli("inspect", "failing").code != 0
    assert CANARIES[0] not in ended.err
    assert found_below(cli.home) == []


@pytest.mark.cnb("BND-01")
def test_detection_alone_sees_them_too(cli: Cli, case: Path) -> None:
    needs = '#!/bin/sh\ntest "$(cat "$SERVICE_BINDING_ROOT/db/type")" = postgresql || exit 100\n'
    probe = probe_buildpack(case / "needs", detect=needs)
    args = ("detect", "-p", str(case / "app"), "-b", str(probe))
    assert cli(*args).code == 20
    cli.ok(*args, "--binding", f"db={case / 'db'}")
    assert found_below(cli.home) == []


def test_a_changed_binding_or_secret_is_noticed(cli: Cli, case: Path) -> None:
    time.sleep(0.05)
    build(cli, case)
    assert build(cli, case).startswith("Nothing changed")
    (case / "db/password").write_text("another one")
    assert not build(cli, case).startswith("Nothing changed")
    time.sleep(0.05)
    build(cli, case)
    assert build(cli, case).startswith("Nothing changed")
    (case / "token").write_text("another one")
    assert not build(cli, case).startswith("Nothing changed")
    time.sleep(0.05)
    build(cli, case)
    assert not build(cli, case, DEPLOY="another one").startswith("Nothing changed")
    shutil.rmtree(case / "db")
    (case / "db").mkdir()
    (case / "db/type").write_text("postgresql")
    (case / "db/password").write_text("third one")
    assert not build(cli, case).startswith("Nothing changed")


@pytest.mark.cnb("PRJ-06", "EXP-24")
def test_a_script_of_project_toml_builds(cli: Cli, case: Path) -> None:
    (case / "app/project.toml").write_text(
        '[_]\nschema-version = "0.2"\nversion = "1.2"\n'
        '[[io.buildpacks.group]]\nid = "acme/script"\n'
        'script = { api = "0.12", inline = "echo from the script > /workspace/made" }\n'
    )
    told = cli.ok("build", "scripted", "-p", str(case / "app"), "--output", f"oci:{case / 'out'}")
    assert "script 0.0.0" in told.err
    assert cli.ok("run", "scripted", "--command", "--", "cat", "/workspace/made").out == "from the script\n"
    blobs = [path.read_bytes() for path in (case / "out/blobs/sha256").iterdir()]
    (label,) = [b for b in blobs if b"io.buildpacks.project.metadata" in b]
    assert (
        rb"{\"source\":{\"metadata\":{\"url\":\"\"},\"type\":\"project\",\"version\":{\"declared\":\"1.2\"}}}" in label
    )


@pytest.mark.fault("SBX-21")
def test_nothing_of_the_applications_git_directory_is_run(cli: Cli, case: Path) -> None:
    ran = case / "ran"
    git = case / "app/.git"
    (git / "hooks").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/--upload-pack=x\n")
    (git / "config").write_text(
        f'[core]\n\tfsmonitor = "touch {ran}"\n\thooksPath = hooks\n\trepositoryformatversion = 0\n'
    )
    (case / "bin").mkdir()
    (case / "bin/git").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (case / "bin/git").chmod(0o755)
    cli.ok(
        "build",
        "git",
        "-p",
        str(case / "app"),
        "-b",
        str(probe_buildpack(case / "plain")),
        PATH=f"{case / 'bin'}:{os.environ['PATH']}",
    )
    assert not ran.exists()
