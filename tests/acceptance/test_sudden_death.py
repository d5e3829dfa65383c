"""Killed or interrupted at any moment: nothing outlives the command, and the next build works."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.probe import probe_buildpack

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

SLOW = """#!/bin/sh
set -eu
layer="$CNB_LAYERS_DIR/slow"
mkdir -p "$layer"
for n in 1 2 3 4 5 6 7 8 9 10; do
    echo "$n" > "$layer/part$n"
    sleep 0.05
done
printf '[types]\\nlaunch = true\\ncache = true\\n' > "$layer.toml"
if [ -e sleep-long ]; then (trap '' TERM; sleep 300) & sleep 300; fi
"""


def left_running(marker: str) -> list[str]:
    """Command lines of processes that carry the marker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line and int(pid) != os.getpid():
            found.append(line)
    return found


def gone(marker: str) -> bool:
    """Whether no process with the marker is alive within two seconds."""
    for _ in range(40):
        if not left_running(marker):
            return True
        time.sleep(0.05)
    return False


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end; what was printed on stderr."""
    return process.communicate(timeout=60)[1]


@pytest.mark.fault("PRO-08")
@pytest.mark.fault("SBX-37")
def test_killed_at_any_moment_the_next_build_works(cli: Cli, app: Path, tmp_path: Path) -> None:
    slow = probe_buildpack(tmp_path / "slow", build=SLOW)
    args = ("build", "killed", "-p", str(app), "-b", "python", "-b", str(slow), "--rebuild")
    expected = cli.ok(*args).digest
    seed = random.Random(7)
    for _ in range(12):
        process = cli.start(*args)
        time.sleep(seed.uniform(0.02, 1.2))
        process.kill()
        ended(process)
        assert gone(str(slow)), left_running(str(slow))
        assert json.loads(cli.ok("inspect", "killed", "--json").out)["digest"] == expected
    assert cli.ok(*args).digest == expected
    assert cli.ok(*args, "--clear-cache").digest == expected


@pytest.mark.fault("PRO-01")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stop_is_an_answer_and_nothing_is_left(
    cli: Cli, app: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (app / "sleep-long").touch()
    slow = probe_buildpack(tmp_path / f"slow{number}", build=SLOW)
    process = cli.start("build", "stopped", "-p", str(app), "-b", str(slow))
    time.sleep(1.5)
    began = time.monotonic()
    process.send_signal(number)
    said = ended(process)
    assert process.returncode == code, said
    assert time.monotonic() - began < 20
    assert "Stop" in said
    assert "error" not in said
    assert "Traceback" not in said
    assert gone(str(slow))
    (app / "sleep-long").unlink()
    cli.ok("build", "stopped", "-p", str(app), "-b", str(slow))


@pytest.mark.fault("PRO-02")
def test_a_second_interrupt_ends_at_once(cli: Cli, app: Path, tmp_path: Path) -> None:
    (app / "sleep-long").touch()
    slow = probe_buildpack(tmp_path / "slow", build=SLOW)
    process = cli.start("build", "twice", "-p", str(app), "-b", str(slow))
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    ended(process)
    assert process.returncode in {130, -signal.SIGINT}
    assert gone(str(slow))
    (app / "sleep-long").unlink()
    cli.ok("build", "twice", "-p", str(app), "-b", str(slow))


@pytest.mark.fault("STO-13")
def test_a_damaged_layer_is_made_again(cli: Cli, app: Path) -> None:
    args = ("build", "damaged", "-p", str(app), "-b", "python")
    digest = cli.ok(*args).digest
    facts = json.loads(cli.ok("inspect", "damaged", "--json").out)
    for layer in facts["layers"][1:]:
        blob = os.path.join(cli.home, "data", "store", "blobs", "sha256", layer["diff_id"].partition(":")[2])
        size = os.path.getsize(blob)
        os.chmod(blob, 0o600)
        with open(blob, "r+b") as file:
            file.seek(size // 2)
            byte = file.read(1)
            file.seek(size // 2)
            file.write(bytes([byte[0] ^ 1]))
    with (app / "app.py").open("a") as file:
        file.write("# edited\n")
    assert cli.ok(*args, "--clear-cache").digest != digest
    start = ("run", "damaged", "--command", "--", "python3", "-c", "import flask; print('whole')")
    # What is damaged is found when it is read, put aside, and made anew by the next build.
    while (ran := cli(*start)).code:
        assert "error[store-corrupt]" in ran.err
        cli.ok(*args)
    assert ran.out == "whole\n"


@pytest.mark.fault("STO-22")
def test_prune_keeps_what_is_needed_and_all_state_can_go(cli: Cli, app: Path, tmp_path: Path) -> None:
    args = ("build", "pruned", "-p", str(app), "-b", "python")
    digest = cli.ok(*args).digest
    for n in range(3):
        (app / "version").write_text(str(n))
        cli.ok(*args)
    shown = cli.ok("prune", "--dry-run").out
    assert "layers" in shown
    cli.ok("prune", "--yes")
    assert "layers (" not in cli.ok("prune", "--dry-run").out
    (app / "version").unlink()
    rebuilt = cli.ok(*args)
    assert re_used(rebuilt.err), rebuilt.err
    assert rebuilt.digest == digest
    private = type(cli)(home=str(tmp_path / "home"))
    assert private.ok("prune", "--all", "--yes").out == "Nothing to remove.\n"


def re_used(story: str) -> bool:
    """Whether the dependencies came from the cache."""
    return any("dependencies" in line and "reused" in line for line in story.splitlines())
