from __future__ import annotations

import io
from typing import Any

import pytest

from packrunner.console.terminal import Terminal, Writer, wants_color, wants_motion


@pytest.mark.parametrize(
    ("choice", "environ", "is_terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"GITHUB_ACTIONS": "true", "CI": "true"}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_decides_on_colour(choice: Any, environ: dict[str, str], is_terminal: bool, colored: bool) -> None:
    assert wants_color(choice, environ, is_terminal=is_terminal) is colored


@pytest.mark.parametrize(
    ("environ", "is_terminal", "moves"),
    [
        ({}, True, True),
        ({"CI": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colour_does_not_make_a_pipe_move(environ: dict[str, str], is_terminal: bool, moves: bool) -> None:
    assert wants_motion(environ, is_terminal=is_terminal) is moves


@pytest.mark.fault("PRO-07")
@pytest.mark.parametrize(
    ("columns", "width"), [("0", 100), ("1", 20), ("80", 80), ("500", 100), ("wide", 100), ("-3", 100), ("\u0663", 100)]
)
def test_any_width_is_survived(columns: str, width: int) -> None:
    assert Terminal.of(io.StringIO(), {"COLUMNS": columns}).width == width


def test_an_ascii_stream_gets_no_ellipsis_of_one_character() -> None:
    assert Terminal.of(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), {}).ellipsis == "..."
    assert Terminal.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).ellipsis == "\u2026"


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not Terminal.of(stream, {}).is_terminal
    assert not Terminal.of(None, {}).color


def test_a_writer_gives_up_on_a_stream_that_is_gone() -> None:
    class Full:
        calls = 0

        def write(self, text: str) -> int:
            self.calls += 1
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

    stream = Full()
    writer = Writer(stream)
    writer.line("one")
    writer.line("two")
    assert stream.calls == 1
    assert not writer.used
