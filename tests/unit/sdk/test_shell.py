"""Which commands need a shell; where none is needed, the words are those that a shell would have made."""

from __future__ import annotations

import shlex
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner.sdk import shell


@given(st.text("ab \t'\"\\-=/.:,+@%^é", max_size=30))
def test_words_are_those_of_shlex(command: str) -> None:
    try:
        expected: list[str] | None = shlex.split(command)
    except ValueError:
        expected = None
    if "\\" in command and expected is not None:
        return  # inside double quotes shlex keeps backslashes that a shell drops; the next test asks a shell
    assert shell.words(command) == expected


@settings(max_examples=60, deadline=None)
@given(st.text("ab '\"\\$`-=/~*#", max_size=12))
def test_a_direct_command_means_what_the_shell_means(tail: str) -> None:
    command = f"printf %s\\\\n {tail}"
    direct = shell.direct(command)
    if direct is None:
        return
    ended = subprocess.run(["sh", "-c", f"printf '%s\\0' first {tail}"], capture_output=True, check=True)
    words = ended.stdout.decode().split("\0")[1:-1]
    assert direct[2:] == words


@pytest.mark.parametrize("command", ["$X", "a; b", "a & b", "a 'b", "A=1 b", "cd x", ". x", "a ~/b", "a {1,2}", ""])
def test_what_only_a_shell_can_do(command: str) -> None:
    assert shell.direct(command) is None


@pytest.mark.parametrize("command", ["sleep $T", "A=1 sleep $T", "sleep ${T}", "sleep $T > /dev/null"])
def test_a_single_command_replaces_the_shell(command: str) -> None:
    """The process that was started is the program itself, so that signals reach it."""
    process = subprocess.Popen(shell.argv(command), env={"PATH": "/usr/bin:/bin", "T": "30"})
    try:
        name = ""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with open(f"/proc/{process.pid}/comm", encoding="utf-8") as file:
                name = file.read().strip()
            if name == "sleep":
                break
        assert name == "sleep"
    finally:
        process.kill()
        process.wait()
