"""The command line as a process: signals, closed and full streams, imports."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import pytest

from tests.unit.cli.cli_fakes import process, script

if TYPE_CHECKING:
    from pathlib import Path

PIPE = subprocess.PIPE
WAITING = """
def wait(request, reporter):
    reporter.emit(events.StepStarted(phase="build", subject="python 1.4.0", detail="installing"))
    try:
        reporter.emit(events.Noted(text="ready", always=True))
        time.sleep(30)
    finally:
        {cleanup}
sys.exit(main(["build", "shop"], services=FakeServices(on_build=wait)))
"""


def until(stream: IO[bytes], text: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + 20
    while text not in seen and time.monotonic() < deadline:
        if select.select([stream], [], [], 0.1)[0]:
            seen += os.read(stream.fileno(), 4096)
    return seen


@pytest.mark.fault("PRO-01")
@pytest.mark.fault("PRO-03")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_cleanly_and_says_so(number: signal.Signals, code: int) -> None:
    child = process(WAITING.format(cleanup=r"os.write(2, b'cleaned\n')"), stdout=PIPE, stderr=PIPE)
    assert child.stderr is not None
    until(child.stderr, b"ready")
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert child.returncode == code
    assert out == b""
    assert set(err.splitlines()) - {b"Stopping ..."} == {b"Stopped.", b"cleaned"}
    assert err.endswith(b"Stopped.\n")


def test_a_stop_is_announced_while_it_is_cleaned_up() -> None:
    child = process(WAITING.format(cleanup="time.sleep(0.5)"), stdout=PIPE, stderr=PIPE)
    assert child.stderr is not None
    until(child.stderr, b"ready")
    child.send_signal(signal.SIGINT)
    assert b"Stopping ..." in until(child.stderr, b"Stopping ...")
    _, err = child.communicate(timeout=20)
    assert err == b"Stopped.\n"


@pytest.mark.fault("PRO-02")
def test_a_second_signal_ends_at_once() -> None:
    child = process(WAITING.format(cleanup="time.sleep(30)"), stdout=PIPE, stderr=PIPE)
    assert child.stderr is not None
    until(child.stderr, b"ready")
    child.send_signal(signal.SIGINT)
    until(child.stderr, b"Stopping")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == 130


DROPPED = """
import weakref
class Thing: pass
def watching(_):
    os.kill(os.getpid(), {number})
    time.sleep(1)
def wait(request, reporter):
    thing = Thing()
    reference = weakref.ref(thing, watching)
    del thing
    time.sleep(30)
sys.exit(main(["build", "shop"], services=FakeServices(on_build=wait)))
"""


@pytest.mark.fault("PRO-01")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_where_python_drops_exceptions_is_one_all_the_same(number: signal.Signals) -> None:
    child = process(DROPPED.format(number=int(number)), stdout=PIPE, stderr=PIPE)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 128 + number
    assert [line for line in err.splitlines() if line != b"Stopping ..."] == [b"Stopped."]


@pytest.mark.fault("PRO-02")
def test_after_a_stop_that_python_dropped_a_second_one_ends_at_once() -> None:
    code = DROPPED.replace("    time.sleep(30)", "    try: time.sleep(30)\n    finally: time.sleep(30)")
    child = process(code.format(number=int(signal.SIGINT)), stdout=PIPE, stderr=PIPE)
    assert child.stderr is not None
    until(child.stderr, b"Stopping")
    time.sleep(0.3)
    assert child.poll() is None, "what was sent again is not a second one"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == 130


@pytest.mark.fault("PRO-01")
@pytest.mark.parametrize(
    "ending",
    [
        "    type('Thing', (), {'field': Field()})",
        "    try: time.sleep(30 if os.kill(os.getpid(), 15) else 30)\n    finally: raise OSError('while cleaning up')",
    ],
    ids=["while a class is made", "an error while cleaning up"],
)
def test_what_a_stop_becomes_on_its_way_is_a_stop(ending: str) -> None:
    code = (
        "class Field:\n"
        "    def __set_name__(self, owner, name):\n"
        "        os.kill(os.getpid(), 15)\n"
        "        time.sleep(1)\n"
        "def wait(request, reporter):\n"
        f"{ending}\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=wait)))"
    )
    child = process(code, stdout=PIPE, stderr=PIPE)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 143
    assert [line for line in err.splitlines() if line != b"Stopping ..."] == [b"Stopped."]


def test_errors_in_a_circle_are_shown_as_the_last_of_them() -> None:
    code = (
        "from packrunner.errors import UsageError\n"
        "def fail(request, reporter):\n"
        "    first, second = OSError('first'), UsageError('no such thing', slug='usage')\n"
        "    first.__context__, second.__context__ = second, first\n"
        "    raise second\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=fail)))"
    )
    child = process(code, stdout=PIPE, stderr=PIPE)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, b"error[usage]: no such thing" in err) == (2, True)


STARTING = """
import os, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "packrunner.cli":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder)
sys.argv = ["packrunner", "images"]
from packrunner.start import main
sys.exit(main())
"""


@pytest.mark.fault("PRO-01")
@pytest.mark.fault("PRO-03")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_before_the_command_line_is_there(number: signal.Signals) -> None:
    words = [sys.executable, "-c", STARTING.format(number=int(number))]
    ended = subprocess.run(words, capture_output=True, check=False, timeout=20)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, b"", b"Stopped.\n")


@pytest.mark.fault("PRO-01")
def test_a_stop_when_all_is_said_leaves_no_traceback() -> None:
    code = (
        "import atexit, os, signal, sys, time\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(5)))\n"
        "sys.argv = ['packrunner', '--version']\n"
        "from packrunner.start import main\n"
        "sys.exit(main())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=20)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")
    assert ended.stdout.startswith(b"packrunner ")


@pytest.mark.parametrize(("signals", "cleanup"), [(1, "pass"), (2, "time.sleep(30)")])
def test_a_terminal_is_left_as_it_was_found(signals: int, cleanup: str) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    child = process(WAITING.format(cleanup=cleanup), stdout=PIPE, stderr=theirs, env=environ)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = until(screen, b"installing")
        for number in range(signals):
            child.send_signal(signal.SIGINT)
            if number + 1 < signals:
                shown += until(screen, b"Stopping")
        child.communicate(timeout=20)
        with suppress(OSError):  # the end of a terminal
            while part := screen.read(4096):
                shown += part
    assert child.returncode == 130
    assert b"\x1b[?25l" in shown, "the live display was on"
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_signals_that_were_ignored_stay_ignored() -> None:
    code = (
        "import signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "def build(request, reporter):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return Outcome('alive')\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=build)))"
    )
    child = process(code, stdout=PIPE, stderr=PIPE)
    out, _ = child.communicate(timeout=20)
    assert (child.returncode, out) == (0, b"alive\n")


BUILD = "sys.exit(main(['build', 'shop'], services=FakeServices()))"


@pytest.mark.fault("PRO-05")
def test_a_reader_that_left_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = process(BUILD, stdout=writing, stderr=PIPE)
    os.close(writing)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, b"")


@pytest.mark.fault("PRO-05")
def test_a_full_device_is_an_error_without_a_traceback() -> None:
    with open("/dev/full", "wb") as full:
        child = process(BUILD, stdout=full, stderr=PIPE)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 15
    assert err.decode() == "error[stdout]: the result could not be written to stdout: No space left on device\n"


@pytest.mark.fault("PRO-05")
def test_a_full_stderr_loses_the_story_and_keeps_the_result() -> None:
    code = (
        "def build(request, reporter):\n"
        "    reporter.emit(events.Noted(text='x', always=True))\n"
        "    return Outcome('done')\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=build)))"
    )
    with open("/dev/full", "wb") as full:
        child = process(code, stdout=PIPE, stderr=full)
        out, _ = child.communicate(timeout=20)
    assert out == b"done\n"


@pytest.mark.fault("PRO-06")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_of_ours_lands_on_a_closed_standard_stream(closed: tuple[int, ...], tmp_path: object) -> None:
    report = os.path.join(str(tmp_path), "report")
    code = (
        "def build(request, reporter):\n"
        f"    with open({report!r}, 'w') as file:\n"
        "        file.write(str(file.fileno()))\n"
        "    return Outcome('done')\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=build)))"
    )
    redirects = " ".join(f"{n}>&-" for n in closed)
    command = script(code)
    shell = subprocess.run(["sh", "-c", f'exec "$@" {redirects}', "sh", *command], check=False)
    assert shell.returncode == 0
    with open(report, encoding="utf-8") as file:
        assert int(file.read()) > 2


@pytest.mark.fault("PRO-14")
@pytest.mark.parametrize(
    "environ", [{}, {"LC_ALL": "C"}, {"HOME": "/nowhere", "TERM": "dumb"}, {"PYTHONUTF8": "0", "LC_ALL": "POSIX"}]
)
def test_a_poor_environment_is_enough(environ: dict[str, str], tmp_path: object) -> None:
    code = (
        "def build(request, reporter):\n"
        "    reporter.emit(events.Changed(paths=('caf\\udce9/\\u65e5',), total=1))\n"
        "    return Outcome('caf\\xe9')\n"
        "sys.exit(main(['build', 'shop'], services=FakeServices(on_build=build)))"
    )
    child = process(code, stdout=PIPE, stderr=PIPE, env={**environ, "PACKRUNNER_HOME": str(tmp_path)})
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) in [(0, b"caf\\xe9\n"), (0, "caf\xe9\n".encode())]
    assert b"changed" in err


def test_rich_and_the_core_are_not_loaded_for_help() -> None:
    code = (
        "main(['build', '--help'], services=FakeServices())\n"
        "sys.exit(' '.join(n for n in ('rich', 'packrunner.bases', 'httpx', 'asyncio') if n in sys.modules) or 0)"
    )
    child = process(code, stdout=PIPE, stderr=PIPE)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, b"")


def test_a_build_parsed_before_loads_no_parser() -> None:
    code = (
        "from packrunner.lifecycle.request import BuildRequest\n"
        "class Known:\n"
        "    request = BuildRequest(name='shop', source='/').to_plain()\n"
        "code = main(['build'], Known(), services=FakeServices())\n"
        "sys.exit(code or ' '.join(n for n in ('rich', 'typer', 'click') if n in sys.modules) or 0)"
    )
    child = process(code, stdout=PIPE, stderr=PIPE)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, b"")
    assert out.startswith(b"shop@sha256:")


LOST = """
import threading
def fail():
    raise RuntimeError("not with hunter2hunter2")
def build(request, reporter):
    threading.Thread(target=fail, daemon=True).start()
    time.sleep({patience})
    return Outcome()
sys.exit(main(["build", "shop", "-vv"], services=FakeServices(on_build=build)))
"""


@pytest.mark.fault("PRO-15")
@pytest.mark.parametrize("ignored", [False, True])
def test_an_exception_in_a_thread_ends_the_build_and_shows_no_secret(tmp_path: Path, ignored: bool) -> None:
    environ = {**os.environ, "API_TOKEN": "hunter2hunter2", "PACKRUNNER_HOME": str(tmp_path)}
    # Where interrupts are ignored the thread that waits cannot be woken: then the end of the build is the time.
    code = LOST.format(patience=1 if ignored else 60)
    prepare = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None
    began = time.monotonic()
    child = process(code, stdout=PIPE, stderr=PIPE, env=environ, preexec_fn=prepare)
    _, err = child.communicate(timeout=50)
    assert child.returncode == 1
    assert time.monotonic() - began < 50
    assert b"error[bug]: packrunner met something it was not made for: RuntimeError" in err
    assert b"in fail" in err, "-v shows where"
    (report,) = (tmp_path / "state/logs").glob("bug-*")
    for text in (err, report.read_bytes()):
        assert b"not with (hidden)" in text
        assert b"hunter2" not in text


@pytest.mark.fault("PRO-01")
@pytest.mark.fault("PRO-15")
def test_a_thread_that_fails_because_of_a_stop_neither_hides_it_nor_cuts_it_short() -> None:
    code = """
import threading
taken = threading.Event()
def fail():
    taken.wait()
    raise RuntimeError("its file is gone")
def build(request, reporter):
    threading.Thread(target=fail, daemon=True).start()
    try:
        reporter.emit(events.Noted(text="ready", always=True))
        time.sleep(30)
    finally:
        taken.set()
        time.sleep(0.5)
        os.write(2, b"cleaned\\n")
sys.exit(main(["build", "shop"], services=FakeServices(on_build=build)))
"""
    child = process(code, stdout=PIPE, stderr=PIPE)
    assert child.stderr is not None
    until(child.stderr, b"ready")
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 143
    assert set(err.splitlines()) - {b"Stopping ..."} == {b"cleaned", b"Stopped."}


@pytest.mark.fault("PRO-10")
@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_exit_codes_are_right_where_the_parent_does_not_hear_of_children(how: str) -> None:
    code = """
from packrunner import process as programs
def build(request, reporter):
    ended = programs.run(["/bin/sh", "-c", "exit 3"], env={}, output=lambda stream, line: None)
    reporter.emit(events.Noted(text=f"it ended with {ended.code}", always=True))
    return Outcome()
sys.exit(main(["build", "shop"], services=FakeServices(on_build=build)))
"""

    def prepare() -> None:
        if how == "ignored":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    child = process(code, stdout=PIPE, stderr=PIPE, preexec_fn=prepare)
    _, err = child.communicate(timeout=50)
    assert (child.returncode, b"it ended with 3" in err) == (0, True), err


VERSION = "sys.argv = ['packrunner', '--version']\nfrom packrunner import start\nsys.exit(start.main())"


@pytest.mark.fault("PRO-05")
def test_what_start_answers_is_an_error_on_a_full_device_too() -> None:
    with open("/dev/full", "wb") as full:
        child = process(VERSION, stdout=full, stderr=PIPE)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 15
    assert err.decode() == "error[stdout]: the result could not be written to stdout: No space left on device\n"


@pytest.mark.fault("PRO-06")
def test_what_start_answers_is_lost_where_nobody_listens() -> None:
    child = process("os.close(1)\n" + VERSION, stdout=PIPE, stderr=PIPE)
    assert (child.communicate(timeout=20), child.returncode) == ((b"", b""), 0)
