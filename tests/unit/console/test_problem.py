from __future__ import annotations

import signal

import pytest

from packrunner.console import problem
from packrunner.console.redact import Redactor
from packrunner.console.terminal import Terminal
from packrunner.errors import BuildpackFailedError, DetectNoneError, NetworkError, StoppedError

PLAIN = Terminal()


def test_detection_that_fails_looks_as_designed() -> None:
    error = DetectNoneError(
        "no buildpack accepts this application",
        slug="detect-none",
        cause="14 files looked at, 3 groups tried. Closest was python: it needs one of requirements.txt, "
        "pyproject.toml, uv.lock, poetry.lock, setup.py. There is app.py.",
        tries=("create requirements.txt (an empty one will do), or say what it is: --buildpack python",),
        more="packrunner detect --explain",
    )
    assert problem.render(error, PLAIN) == [
        "error[detect-none]: no buildpack accepts this application",
        "  cause: 14 files looked at, 3 groups tried. Closest was python: it needs one of requirements.txt,",
        "         pyproject.toml, uv.lock, poetry.lock, setup.py. There is app.py.",
        "  try:   create requirements.txt (an empty one will do), or say what it is: --buildpack python",
        "  more:  packrunner detect --explain",
    ]


def test_labels_come_in_their_order_and_foreign_lines_first() -> None:
    error = BuildpackFailedError(
        "python 1.4.0 could not install requirements.txt",
        slug="buildpack-failed",
        foreign=tuple(f"line {i}" for i in range(30)),
        kept="shop is still the image of 13:58",
        more="all 41 lines: ~/x.log",
        at="requirements.txt:2   flaskk==99.9",
        tries=("correct the line", "pin another version"),
    )
    lines = problem.render(error, PLAIN)
    assert lines[1] == "  | line 10"
    assert lines[20] == "  | line 29"
    assert [line[2:8].strip() for line in lines[21:]] == ["at:", "try:", "or:", "more:", "kept:"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_of_ours_is_wider_than_the_terminal(width: int) -> None:
    error = NetworkError("a" + " word" * 60, slug="x", cause="because " * 40, tries=("packrunner build " * 9,))
    lines = problem.render(error, Terminal(table_width=width))
    assert max(len(line) for line in lines) <= width


def test_only_the_word_error_is_red() -> None:
    line = problem.render(DetectNoneError("none", slug="detect-none"), Terminal(color=True))[0]
    assert line == "\x1b[31merror\x1b[0m[detect-none]: none"


def test_a_retry_that_may_help_is_said() -> None:
    assert problem.render(NetworkError("no answer", slug="net"), PLAIN) == ["error[net]: no answer (transient)"]


def test_a_stop_is_no_error() -> None:
    stopped = StoppedError(signal.SIGTERM)
    assert problem.render(stopped, PLAIN) == ["Stopped."]
    stopped.kept = "shop is still the image of 13:58."
    assert problem.render(stopped, PLAIN) == ["Stopped. shop is still the image of 13:58."]
    assert [problem.exit_code(StoppedError(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == [
        130,
        143,
        129,
    ]


def test_foreign_lines_are_verbatim_but_harmless_and_without_secrets() -> None:
    error = BuildpackFailedError("failed", slug="buildpack-failed", foreign=("\x1b[2Jtoken hunter2hunter2",))
    assert problem.render(error, PLAIN, Redactor(["hunter2hunter2"]))[1] == "  | token (hidden)"


def test_errors_as_json_say_whether_to_retry() -> None:
    error = NetworkError("no answer", slug="net", cause="timeout", tries=("again",), foreign=("x",))
    assert problem.to_json(error) == {
        "code": "net",
        "message": "no answer",
        "cause": "timeout",
        "try": ["again"],
        "output": ["x"],
        "exit_code": 14,
        "transient": True,
    }
