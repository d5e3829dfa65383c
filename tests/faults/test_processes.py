"""Programs on the host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from packrunner import process
from packrunner.process import Ended

if TYPE_CHECKING:
    from pathlib import Path

PATH = {"PATH": "/usr/bin:/bin"}


def run(script: str, **more: object) -> tuple[Ended, list[tuple[str, bytes]]]:
    lines: list[tuple[str, bytes]] = []
    arguments = {"env": PATH, "output": lambda stream, line: lines.append((stream, line)), **more}
    return process.run(["/bin/sh", "-c", script], **arguments), lines  # type: ignore[arg-type] # checked by the call


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def test_lines_by_stream_and_the_exit_code() -> None:
    ended, lines = run("echo one; echo err >&2; printf two; exit 3")
    assert ended == Ended(code=3)
    assert [line for stream, line in lines if stream == "stdout"] == [b"one\n", b"two"]
    assert [line for stream, line in lines if stream == "stderr"] == [b"err\n"]


def test_a_signal_is_128_and_its_number() -> None:
    assert run("kill -9 $$")[0] == Ended(code=137, signal=9)


def test_the_environment_is_exactly_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    lines: list[bytes] = []
    process.run(["/usr/bin/env"], env={"A": "1"}, output=lambda _, line: lines.append(line))
    assert lines == [b"A=1\n"]


@pytest.mark.fault("PRO-13")
def test_it_starts_where_nothing_can_be_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("pwd")[1] == [("stdout", b"/\n")]
    assert run("pwd", cwd=str(tmp_path))[1] == [("stdout", os.fsencode(tmp_path) + b"\n")]


def test_much_input_and_much_output_do_not_block_each_other() -> None:
    data = os.urandom(3_000_000)
    parts: list[bytes] = []
    ended = process.run(["/bin/cat"], env={}, stdin=data, output=lambda _, line: parts.append(line))
    assert (ended.code, b"".join(parts)) == (0, data)


def test_input_that_nobody_reads() -> None:
    assert run("exit 4", stdin=b"x" * 1_000_000)[0] == Ended(code=4)


@pytest.mark.fault("SBX-38")
def test_a_line_without_an_end_comes_in_pieces() -> None:
    _, lines = run("head -c 1000000 /dev/zero")
    assert sum(len(line) for _, line in lines) == 1_000_000
    assert max(len(line) for _, line in lines) <= 3 * (64 << 10)


@pytest.mark.parametrize(("program", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_started(program: str, code: int) -> None:
    ended = process.run([program], env={}, output=lambda *_: None)
    assert ended.code == code
    assert ended.error is not None
    assert program in ended.error


def test_arguments_are_never_a_shells() -> None:
    lines: list[bytes] = []
    process.run(["/bin/echo", "$HOME; true", "*"], env={"HOME": "x"}, output=lambda _, line: lines.append(line))
    assert lines == [b"$HOME; true *\n"]


def test_a_time_limit_interrupts_then_kills() -> None:
    began = time.monotonic()
    ended, _ = run("trap '' INT TERM; sleep 60 & wait; sleep 60", timeout=0.2)
    assert ended.timed_out
    assert ended.signal == signal.SIGKILL
    assert time.monotonic() - began < 30


def test_a_time_limit_lets_the_program_clean_up() -> None:
    ended, lines = run("trap 'exit 9' INT; while :; do sleep 0.05; done", timeout=0.2)
    assert ended == Ended(code=9, timed_out=True)
    assert lines == []


@pytest.mark.fault("SBX-36")
def test_a_process_left_behind_is_not_waited_for() -> None:
    began = time.monotonic()
    ended, lines = run("sleep 300 & echo $!")
    assert ended == Ended(code=0)
    assert time.monotonic() - began < 30
    os.kill(int(lines[0][1]), signal.SIGKILL)


@pytest.mark.fault("PRO-01")
def test_an_exception_stops_the_whole_group() -> None:
    pids: list[int] = []

    def interrupt(_: object, line: bytes) -> None:
        pids.append(int(line))
        if len(pids) == 2:
            raise KeyboardInterrupt

    script = "trap '' INT; sh -c 'trap \"\" INT; echo $$; sleep 60' & echo $$; wait"
    with pytest.raises(KeyboardInterrupt):
        process.run(["/bin/sh", "-c", script], env=PATH, output=interrupt)
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))


@pytest.mark.fault("PRO-04")
def test_a_signal_to_our_group_does_not_reach_the_program() -> None:
    code = (
        "import os, signal, threading\n"
        "from packrunner import process\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "threading.Timer(0.3, lambda: os.killpg(0, signal.SIGINT)).start()\n"
        "argv = ['/bin/sh', '-c', 'trap \"exit 7\" INT; sleep 1; exit 0']\n"
        "raise SystemExit(process.run(argv, env={'PATH': '/bin:/usr/bin'}, output=print).code)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], start_new_session=True, check=False).returncode == 0


def test_several_threads_at_once() -> None:
    codes: list[int] = []
    threads = [threading.Thread(target=lambda n=n: codes.append(run(f"exit {n}")[0].code)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 1, 2, 3, 4]


@pytest.mark.fault("PRO-11")
def test_a_stop_while_a_program_is_started_leaves_none() -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        time.sleep(0.2)
        begun.append(subprocess.Popen(["/bin/sleep", "60"]))
        return begun[0]

    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1)).start()
        with pytest.raises(KeyboardInterrupt):
            process.begin(start)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [child.returncode for child in begun] == [-signal.SIGKILL]


def test_a_program_that_is_begun_is_the_callers() -> None:
    with process.begin(lambda: subprocess.Popen(["/bin/true"])) as child:
        assert child.wait() == 0
    with pytest.raises(FileNotFoundError):
        process.begin(lambda: subprocess.Popen(["/no/such/program"]))
