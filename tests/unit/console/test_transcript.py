"""What `packrunner dev` shows."""

from __future__ import annotations

import io
import time

import pytest

from packrunner import events
from packrunner.console.terminal import Terminal, Writer
from packrunner.console.transcript import Transcript
from packrunner.errors import BuildpackFailedError, StoppedError

NOON = time.mktime((2026, 11, 23, 14, 2, 31, 0, 0, -1))


class Screen:
    """A transcript on a stream; time passes by hand."""

    def __init__(self, *, motion: bool = False, color: bool = False, width: int = 100, quiet: int = 0) -> None:
        self.stream = io.StringIO()
        self.now = 0.0
        terminal = Terminal(motion=motion, is_terminal=motion, color=color, table_width=width)
        self.transcript = Transcript(
            Writer(self.stream), terminal, quiet=quiet, clock=lambda: self.now, now=lambda: NOON + self.now
        )

    def happened(self, action: str, subject: str, detail: str = "", seconds: float | None = None) -> None:
        self.transcript.emit(events.Happened(action=action, subject=subject, detail=detail, seconds=seconds))

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


READY = events.Ready(
    name="shop",
    note="image kept, nothing changed",
    seconds=1.2,
    places=(("web", "http://localhost:8000"), ("worker", "")),
    rules="4 from python 1.4.0: *.py sync, templates sync, uv.lock rebuild, settings.py restart",
    keys="r restart   b rebuild   l rules   q quit",
)


def test_the_address_comes_first() -> None:
    screen = Screen()
    screen.transcript.emit(READY)
    assert screen.lines == [
        "shop ready in 1.2s (image kept, nothing changed)",
        "  web     http://localhost:8000",
        "  worker",
        "  rules   4 from python 1.4.0: *.py sync, templates sync, uv.lock rebuild, settings.py restart",
        "  keys    r restart   b rebuild   l rules   q quit",
        "",
    ]


def test_a_change_is_a_line_with_its_time_at_the_right() -> None:
    screen = Screen()
    screen.happened("sync", "app/views.py", "reloaded by flask", 0.038)
    screen.happened("rebuild", "uv.lock", "the old version serves")
    assert screen.lines == [
        "14:02:31  sync      app/views.py                         reloaded by flask          38ms",
        "14:02:31  rebuild   uv.lock                              the old version serves",
    ]
    assert len(screen.lines[0]) == 88


def test_in_a_narrow_terminal_the_detail_is_cut_and_nothing_else() -> None:
    screen = Screen(motion=True, width=64)
    screen.happened("sync", "app/views.py", "no restart needed, after go build ./...", 0.038)
    assert screen.lines[0].startswith("14:02:31  sync      app/views.py ")
    assert screen.lines[0].endswith(" 38ms")
    assert len(screen.lines[0]) <= 64


def test_a_crash_shows_its_last_words_and_what_is_waited_for() -> None:
    screen = Screen()
    screen.transcript.emit(
        events.Happened(
            action="crash",
            subject="web ended with exit code 1",
            detail="waiting for a change (r: try again)",
            source="web",
            lines=('  File "app/views.py", line 12, in index', "NameError: name 'totl' is not defined"),
        )
    )
    assert screen.lines == [
        "14:02:31  crash     web ended with exit code 1",
        'web |   File "app/views.py", line 12, in index',
        "web | NameError: name 'totl' is not defined",
        "          waiting for a change (r: try again)",
    ]


def test_the_same_within_a_second_is_counted_where_it_stands() -> None:
    screen = Screen(motion=True)
    for _ in range(3):
        screen.happened("sync", "app/views.py", "no restart needed", 0.02)
        screen.now += 0.3
    last = screen.stream.getvalue().rpartition("\x1b[1A\x1b[J")[2]
    assert last.split()[-2:] == ["(x3)", "20ms"]
    assert screen.stream.getvalue().count("\x1b[1A") == 2


def test_elsewhere_the_count_follows_when_something_else_happens() -> None:
    screen = Screen()
    for _ in range(3):
        screen.happened("sync", "a", "no restart needed", 0.02)
    screen.happened("sync", "b", "no restart needed", 0.02)
    screen.transcript.close()
    assert [line.split()[2:3] + line.split()[-2:] for line in screen.lines] == [
        ["a", "needed", "20ms"],
        ["a", "(x3)", "20ms"],
        ["b", "needed", "20ms"],
    ]


def test_or_when_the_second_is_over() -> None:
    screen = Screen()
    for _ in range(2):
        screen.happened("sync", "a", "", 0.02)
    screen.transcript.fold()
    assert len(screen.lines) == 1
    screen.now = 1.5
    screen.transcript.fold()
    assert "(x2)" in screen.lines[1]
    screen.transcript.close()
    assert len(screen.lines) == 2


def test_output_in_between_makes_it_another_line() -> None:
    screen = Screen(motion=True)
    screen.happened("sync", "a", "", 0.02)
    screen.transcript.emit(events.Output(source="web", stream="stdout", data=b"GET /\n"))
    screen.happened("sync", "a", "", 0.02)
    assert "\x1b" not in screen.stream.getvalue()
    assert screen.lines[1] == "web | GET /"


def test_later_than_a_second_it_is_another_line() -> None:
    screen = Screen(motion=True)
    screen.happened("sync", "a", "", 0.02)
    screen.now = 1.5
    screen.happened("sync", "a", "", 0.02)
    assert len(screen.lines) == 2


def test_processes_have_colours_of_their_own() -> None:
    screen = Screen(color=True)
    for source in ("web", "worker", "web"):
        screen.transcript.emit(events.Output(source=source, stream="stdout", data=b"x\n"))
    assert screen.lines[0] == screen.lines[2] == "\x1b[36mweb |\x1b[0m x"
    assert screen.lines[1] == "\x1b[35mworker |\x1b[0m x"


def test_what_a_process_said_at_its_last_start_too_is_left_out() -> None:
    screen = Screen()
    for data, again in ((b"Serving\n", True), (b"News\n", False)):
        screen.transcript.emit(events.Output(source="web", stream="stdout", data=data, again=again))
    assert screen.lines == ["web | News"]


@pytest.mark.fault("PRO-07")
def test_an_application_cannot_move_the_cursor() -> None:
    screen = Screen(motion=True)
    screen.transcript.emit(events.Output(source="web", stream="stdout", data=b"\x1b[2Jx\x1b]0;y\x07\n"))
    assert "\x1b" not in screen.stream.getvalue()


def test_an_error_in_between_is_the_usual_block_and_the_stop_the_last_line() -> None:
    screen = Screen()
    screen.transcript.problem(BuildpackFailedError("python failed", slug="buildpack-failed"))
    screen.happened("failed", "rebuild", "the old version still serves")
    stop = StoppedError(2)
    stop.kept = "shop:dev@111 is the image as of 14:03."
    screen.transcript.problem(stop)
    assert screen.lines == [
        "error[buildpack-failed]: python failed",
        "14:02:31  failed    rebuild                              the old version still serves",
        "Stopped. shop:dev@111 is the image as of 14:03.",
    ]


def test_quiet_leaves_errors() -> None:
    screen = Screen(quiet=1)
    screen.transcript.emit(READY)
    screen.happened("sync", "a")
    screen.transcript.problem(BuildpackFailedError("python failed", slug="buildpack-failed"))
    assert screen.lines == ["error[buildpack-failed]: python failed"]
