"""The thread that starts sandboxes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from packrunner.engines.keeper import Keeper


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.mark.fault("SBX-37")
def test_every_process_is_started_by_one_thread_that_goes_on() -> None:
    keeper = Keeper()
    starters: list[threading.Thread] = []

    def start() -> subprocess.Popen[bytes]:
        starters.append(threading.current_thread())
        return subprocess.Popen(["/bin/true"])

    for _ in range(2):
        thread = threading.Thread(target=lambda: keeper.start(start).wait())
        thread.start()
        thread.join()
    assert len(set(starters)) == 1
    assert starters[0].is_alive()
    assert starters[0] is not threading.main_thread()


def test_its_errors_are_the_callers() -> None:
    keeper = Keeper()
    with pytest.raises(FileNotFoundError):
        keeper.start(lambda: subprocess.Popen(["/no/such/program"]))
    with keeper.start(lambda: subprocess.Popen(["/bin/true"])) as child:
        assert child.wait() == 0


@pytest.mark.fault("PRO-11")
def test_a_caller_that_is_interrupted_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = threading.Event.wait

    def start() -> subprocess.Popen[bytes]:
        time.sleep(0.1)
        started.append(sleeper())
        return started[0]

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return real(event, timeout)

    keeper = Keeper()
    with keeper.start(lambda: subprocess.Popen(["/bin/true"])) as child:
        child.wait()
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keeper.start(start)
    monkeypatch.undo()
    with keeper.start(lambda: subprocess.Popen(["/bin/true"])) as child:
        child.wait()
    for process in started:
        assert process.returncode == -9
