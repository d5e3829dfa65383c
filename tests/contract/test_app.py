"""Running an image's process with this terminal's own input and output, as `packrunner run` does."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox

# Not the virtual environment's: a checkout may be below /tmp, and a sandbox has a /tmp of its own.
PYTHON = os.path.realpath(sys.executable)
HERE = os.path.dirname(os.path.abspath(__file__))

RUN = """
import os, sys
from packrunner.engines.app import run_app
from packrunner.engines.base import Mount, SandboxSpec
from packrunner.engines.sandbox import SandboxEngine
from packrunner.errors import PackrunnerError
engine = SandboxEngine({state!r}, environ={{}})
spec = SandboxSpec(rootfs=({base!r},), mounts=tuple(Mount(source=s, target=t) for s, t in {mounts!r}), trust=False)
try:
    env = {{"PATH": "/usr/bin:/bin", "GREETING": "hi"}}
    sys.exit(run_app(engine, spec, sys.argv[1:], env=env, cwd="/srv", publish={publish!r}))
except PackrunnerError as error:
    sys.exit(f"{{error.slug}}: {{error.brief}}")
"""


class Runner:
    """Starts `run_app` in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        base = directory / "base"
        for name in ("usr", "srv"):
            (base / name).mkdir(parents=True)
        self.mounts = [("/usr", "/usr"), (HERE, "/attack")]
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink(f"/{name}"):
                (base / name).symlink_to(os.readlink(f"/{name}"))
            elif os.path.isdir(f"/{name}"):
                self.mounts.append((f"/{name}", f"/{name}"))
        prefix = os.path.realpath(sys.base_prefix)
        if not prefix.startswith("/usr"):
            self.mounts.append((prefix, prefix))

    def argv(self, *program: str, publish: tuple[tuple[int, int], ...] = ()) -> list[str]:
        """The command line of a process that runs `program`."""
        code = RUN.format(
            state=str(self.directory / "state"), base=str(self.directory / "base"), mounts=self.mounts, publish=publish
        )
        return [sys.executable, "-c", code, *program]

    def start(self, *program: str, publish: tuple[tuple[int, int], ...] = ()) -> subprocess.Popen[bytes]:
        """Start it with pipes."""
        return subprocess.Popen(
            self.argv(*program, publish=publish),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, script: str, stdin: bytes = b"") -> tuple[int, str]:
        """Run a shell script to its end."""
        return self.finish(self.start("/bin/sh", "-c", script), stdin)

    def finish(self, child: subprocess.Popen[bytes], stdin: bytes = b"") -> tuple[int, str]:
        """Wait for it; a test that fails must not wait for ever."""
        with child:
            try:
                output, _ = child.communicate(stdin, timeout=60)
            finally:
                child.kill()
        return child.returncode, output.decode()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def sleeping(marker: str) -> list[str]:
    """Processes of this machine that run `sleep MARKER`."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read() == f"sleep\0{marker}\0".encode():
                    found.append(name)
        except OSError:
            continue
    return found


def gone(marker: str, limit: float = 2.0) -> bool:
    deadline = time.monotonic() + limit
    while sleeping(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    return sleeping(marker) == []


def test_input_output_and_exit_code_pass_through(runner: Runner) -> None:
    code, output = runner.run('read line; echo "$GREETING $line $(pwd) $(id -u)"; exit 42', b"there\n")
    assert (code, output) == (42, "hi there /srv 1000\n")


def test_the_root_takes_writes_and_forgets_them(runner: Runner) -> None:
    script = "[ -e /home/cnb/x ] && exit 1; echo x >/home/cnb/x && cat /home/cnb/x"
    assert runner.run(script) == (0, "x\n")
    assert runner.run(script) == (0, "x\n")


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137)])
def test_a_program_killed_by_a_signal(runner: Runner, name: str, code: int) -> None:
    assert runner.run(f"kill -{name} $$; sleep 5") == (code, "")


@pytest.mark.fault("PRO-03")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(runner: Runner, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    with runner.start(
        "/bin/sh", "-c", f"trap 'echo got {name}; exit 7' {name}; echo up; while :; do sleep 0.05; done"
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        child.send_signal(number)
        code, output = runner.finish(child)
    assert (code, output) == (7, f"got {name}\n")


def test_a_program_that_is_not_there_is_an_exit_code_of_its_own(runner: Runner) -> None:
    code, output = runner.finish(runner.start("/no/such/program"))
    assert code == 127
    assert "/no/such/program" in output


@pytest.mark.fault("PRO-08")
def test_nothing_survives_a_killed_packrunner(runner: Runner) -> None:
    marker = f"5{os.getpid()}"
    script = f"trap '' TERM HUP INT; (setsid sleep {marker} &); echo up; sleep {marker}"
    with runner.start("/bin/sh", "-c", script) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == b"up\n"
            deadline = time.monotonic() + 10
            while len(sleeping(marker)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            child.kill()
            child.wait()
        assert gone(marker)


def test_what_the_program_leaves_behind_ends_with_it(runner: Runner) -> None:
    marker = f"4{os.getpid()}"
    code, _ = runner.run(f"(trap '' TERM; setsid sleep {marker} >/dev/null 2>&1 </dev/null &); sleep 0.1; exit 3")
    assert code == 3
    assert gone(marker)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    primary, secondary = pty.openpty()
    yield primary, secondary
    os.close(primary)
    os.close(secondary)


@pytest.mark.fault("SBX-25")
def test_nothing_is_pushed_into_the_users_terminal(runner: Runner, terminal: tuple[int, int]) -> None:
    _, secondary = terminal
    attack = runner.argv(PYTHON, "-I", "/attack/attacker.py", "terminal")
    with subprocess.Popen(attack, stdin=secondary, stdout=subprocess.PIPE, start_new_session=True) as child:
        output, _ = child.communicate(timeout=60)
    assert output == b"done\n"
    os.set_blocking(secondary, False)
    settings = termios.tcgetattr(secondary)
    settings[3] &= ~termios.ICANON
    termios.tcsetattr(secondary, termios.TCSANOW, settings)
    with pytest.raises(BlockingIOError):
        os.read(secondary, 1)


@pytest.mark.fault("PRO-04")
def test_ctrl_c_at_the_terminal_reaches_the_program_once(runner: Runner, terminal: tuple[int, int]) -> None:
    primary, secondary = terminal
    script = (
        "trap 'n=$((n+1))' INT; n=0; echo up; i=0; while [ $i -lt 10 ]; do sleep 0.1; i=$((i+1)); done; echo $n; exit 5"
    )
    argv = runner.argv("/bin/sh", "-c", script)
    # A session whose terminal this is: Ctrl-C is then the kernel's doing, as at a desk.
    claim = "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    code = f"import fcntl, os, sys, termios; {claim}"
    with subprocess.Popen([sys.executable, "-c", code, *argv], stdin=secondary, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        os.write(primary, b"\x03")
        assert child.stdout.read() == b"1\n"
    assert child.returncode == 5


def test_a_published_port_is_passed_on(runner: Runner, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inner = int(server.getsockname()[1])
    (runner.directory / "base" / "srv" / "page").write_text("hello")
    program = (PYTHON, "-I", "-u", "-m", "http.server", "--bind", "127.0.0.1", str(inner))
    with runner.start(*program, publish=((port, inner),)) as child:
        try:
            assert child.stdout
            assert child.stdout.readline().startswith(b"Serving")
            with urlopen(f"http://127.0.0.1:{port}/page", timeout=10) as answer:
                assert answer.read() == b"hello"
        finally:
            child.terminate()
            child.wait()


def test_a_taken_port_is_named(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = int(server.getsockname()[1])
        code, output = runner.finish(runner.start("/bin/true", publish=((taken, taken + 1),)))
    assert code == 1
    assert output.startswith(f"port-taken: port {taken}")
