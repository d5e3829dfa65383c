"""Golden transcripts: what a build looks like, at each width, in a pipe, in CI, to a program."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from packrunner import events
from packrunner._version import __version__
from packrunner.console.live import LiveReporter, Pace
from packrunner.console.log import LogReporter, rotate
from packrunner.console.machine import JsonReporter
from packrunner.console.plain import PlainReporter
from packrunner.console.redact import Redactor
from packrunner.console.reporters import Tee, choose
from packrunner.console.terminal import Terminal, Writer
from packrunner.errors import BuildpackFailedError, DetectNoneError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def started(phase: str, subject: str, detail: str = "") -> events.StepStarted:
    return events.StepStarted(phase=phase, subject=subject, detail=detail)


def done(phase: str, subject: str, detail: str, seconds: float) -> events.StepDone:
    return events.StepDone(phase=phase, subject=subject, detail=detail, seconds=seconds)


def output(text: str) -> events.Output:
    return events.Output(source="python", stream="stdout", data=text.encode())


FIRST: list[events.Event] = [
    events.BuildStarted(
        name="shop",
        source=".",
        builder="debian:13",
        engine="sandbox",
        note="builder made on first use, kept for later",
    ),
    started("base", "debian:13"),
    done("base", "debian:13", "112 packages, 61.2 MB, signatures checked", 8.4),
    started("detect", "3 of 9 buildpacks"),
    done("detect", "3 of 9 buildpacks", "environment-variables, python, procfile", 0.11),
    started("build", "python 1.4.0"),
    output("Resolved 14 packages in 210ms\nPrepared 9 packages in 1.1s\n"),
    events.LayerReported(name="runtime", detail="new: 3.13.5 (.python-version)", size=22_400_000),
    events.LayerReported(name="dependencies", detail="new: 14 packages (uv.lock)", size=18_900_000),
    done("build", "python 1.4.0", "", 6.1),
    started("build", "procfile 1.1.0"),
    done("build", "procfile 1.1.0", "web: gunicorn app:app", 0.004),
    started("export", "5 layers"),
    done("export", "5 layers", "4 new, 74.6 MB", 0.7),
    events.Finished(text="Built in 15.3s.", hint="Start it: packrunner run shop   Work on it: packrunner dev"),
]


def show(make: Callable[[io.StringIO], PlainReporter], story: list[events.Event]) -> str:
    stream = io.StringIO()
    reporter = make(stream)
    for event in story:
        reporter.emit(event)
    reporter.close()
    return stream.getvalue()


def live(stream: io.StringIO, width: int = 100, *, color: bool = False) -> LiveReporter:
    return LiveReporter(stream, Terminal(table_width=width, color=color, is_terminal=True, motion=True), beat=0)


def plain(stream: io.StringIO, *, quiet: int = 0, verbose: int = 0, color: bool = False) -> PlainReporter:
    return PlainReporter(Writer(stream), Terminal(color=color), quiet=quiet, verbose=verbose, beat=0)


def test_the_first_build_on_a_terminal() -> None:
    assert show(live, FIRST) == (
        """\
shop from . with debian:13 (builder made on first use, kept for later), engine sandbox

  base      debian:13           112 packages, 61.2 MB, signatures checked           8.4s
  detect    3 of 9 buildpacks   environment-variables, python, procfile            110ms
  build     python 1.4.0                                                            6.1s
              runtime           new: 3.13.5 (.python-version)                    22.4 MB
              dependencies      new: 14 packages (uv.lock)                       18.9 MB
            procfile 1.1.0      web: gunicorn app:app                                4ms
  export    5 layers            4 new, 74.6 MB                                     700ms

Built in 15.3s. Start it: packrunner run shop   Work on it: packrunner dev
"""
    )


def test_eighty_columns_cut_the_detail_only() -> None:
    text = show(lambda stream: live(stream, 80), FIRST)
    assert (
        """\
  base      debian:13           112 packages, 61.2 MB, signatures checked   8.4s
  detect    3 of 9 buildpacks   environment-variables, python, procfile    110ms
  build     python 1.4.0                                                    6.1s
              runtime           new: 3.13.5 (.python-version)            22.4 MB
"""
        in text
    )


def test_sixty_columns_keep_names_reasons_and_times() -> None:
    text = show(lambda stream: live(stream, 60), FIRST)
    rows = [line for line in text.splitlines() if line.startswith("  ")][:8]
    assert rows == [
        "  base      debian:13           112 packages, 61.2 M... 8.4s",
        "  detect    3 of 9 buildpacks   environment-variabl... 110ms",
        "  build     python 1.4.0                                6.1s",
        "              runtime           new: 3.13.5          22.4 MB",
        "                              (.python-version)",
        "              dependencies      new: 14... (uv.lock) 18.9 MB",
        "            procfile 1.1.0      web: gunicorn app:app    4ms",
        "  export    5 layers            4 new, 74.6 MB         700ms",
    ]


def test_one_line_changed_on_a_terminal() -> None:
    story: list[events.Event] = [
        events.BuildStarted(name="shop", source=".", builder="debian:13", engine="sandbox"),
        events.Changed(paths=("app/views.py",), total=1),
        started("build", "python 1.4.0"),
        done("build", "python 1.4.0", "runtime, dependencies reused (uv.lock unchanged)", 0.21),
        started("export", "5 layers"),
        done("export", "5 layers", "1 new: app, 48 kB", 0.09),
        events.Finished(text="Built in 380ms."),
    ]
    assert show(live, story) == (
        """\
  changed   app/views.py
  build     python 1.4.0        runtime, dependencies reused (uv.lock unchanged)   210ms
  export    5 layers            1 new: app, 48 kB                                   90ms
Built in 380ms.
"""
    )


def test_a_pipe_gets_every_line_and_no_escape() -> None:
    text = show(plain, FIRST)
    assert text == (
        f"""\
packrunner {__version__}: shop from . with debian:13 (builder made on first use, kept for later), engine
  sandbox
  base      debian:13           112 packages, 61.2 MB, signatures checked           8.4s
  detect    3 of 9 buildpacks   environment-variables, python, procfile            110ms
python | Resolved 14 packages in 210ms
python | Prepared 9 packages in 1.1s
  build     python 1.4.0                                                            6.1s
              runtime           new: 3.13.5 (.python-version)                    22.4 MB
              dependencies      new: 14 packages (uv.lock)                       18.9 MB
  build     procfile 1.1.0      web: gunicorn app:app                                4ms
  export    5 layers            4 new, 74.6 MB                                     700ms
Built in 15.3s. Start it: packrunner run shop   Work on it: packrunner dev
"""
    )
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_pipe_cuts_nothing() -> None:
    long = "a reason that is much longer than the columns a terminal of eighty characters would have for it (uv.lock)"
    text = show(plain, [done("build", "python 1.4.0", long, 1.0)])
    assert " ".join(text.split()).replace(" 1.0s", "") == "build python 1.4.0 " + long
    assert max(map(len, text.splitlines())) <= 100


def test_a_long_subject_is_never_cut() -> None:
    text = show(lambda s: live(s, 60), [done("build", "a-rather-long-buildpack-name 12.34.56", "detail " * 9, 1.0)])
    assert "a-rather-long-buildpack-name 12.34.56" in text
    assert text.rstrip().endswith("1.0s")


def test_colours_name_subjects_and_first_words_and_end_on_each_line() -> None:
    text = show(lambda s: plain(s, color=True), [*FIRST, events.Warned(text="old base", hint="update it")])
    assert "\x1b[1mdebian:13\x1b[0m" in text
    assert "\x1b[32mBuilt\x1b[0m in 15.3s." in text
    assert "\x1b[33mwarning\x1b[0m: old base" in text
    for line in text.splitlines():
        assert line.count("\x1b[0m") * 2 == line.count("\x1b[")


def test_heartbeats_break_a_silence() -> None:
    clock = Clock()
    stream = io.StringIO()
    reporter = PlainReporter(Writer(stream), Terminal(), clock=clock, beat=0)
    reporter.emit(started("build", "python 1.4.0", "installing dependencies"))
    for second in range(1, 130):
        clock.now = float(second)
        reporter.tick()
    beats = stream.getvalue().splitlines()
    assert beats[0] == "  build     python 1.4.0        still running: installing dependencies               10s"
    assert [beat.split("dependencies")[1].strip() for beat in beats] == ["10s", "30s", "1m 00s", "2m 00s"]
    assert {len(beat) for beat in beats} == {88}


def test_a_heartbeat_comes_by_itself() -> None:
    stream = io.StringIO()
    ahead = time.monotonic() + 11
    clock = iter([0.0])
    reporter = PlainReporter(Writer(stream), Terminal(), clock=lambda: next(clock, ahead), beat=0.01)
    reporter.emit(started("build", "python 1.4.0"))
    deadline = time.monotonic() + 5
    while "still running" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    reporter.close()
    assert "still running" in stream.getvalue()
    assert not [t for t in threading.enumerate() if t.name == "console"]


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [(1, "warning: the base is old\n  try:   packrunner build --rebuild\n"), (2, "")],
)
def test_quiet_leaves_warnings_and_quieter_not_even_those(quiet: int, expected: str) -> None:
    story = [*FIRST, events.Warned(text="the base is old", hint="packrunner build --rebuild")]
    assert show(lambda s: plain(s, quiet=quiet), story) == expected


def test_notes_are_shown_when_they_matter_or_when_asked_for() -> None:
    story: list[events.Event] = [events.Noted(text="a"), events.Noted(text="b", always=True)]
    assert show(plain, story) == "note: b\n"
    assert show(lambda s: plain(s, verbose=1), story) == "note: a\nnote: b\n"


def test_an_error_closes_the_step_it_stopped() -> None:
    clock = Clock()
    stream = io.StringIO()
    reporter = PlainReporter(Writer(stream), Terminal(), clock=clock, beat=0)
    reporter.emit(started("build", "python 1.4.0", "installing dependencies"))
    clock.now = 2.2
    reporter.problem(BuildpackFailedError("python 1.4.0 could not install requirements.txt", slug="buildpack-failed"))
    assert stream.getvalue() == (
        """\
  build     python 1.4.0        failed while installing dependencies                2.2s

error[buildpack-failed]: python 1.4.0 could not install requirements.txt
"""
    )


def test_a_stop_is_said_at_once_and_once_more_at_the_end() -> None:
    stream = io.StringIO()
    reporter = plain(stream)
    reporter.emit(started("build", "python 1.4.0", "installing"))
    reporter.stopping()
    reporter.problem(StoppedError(2))
    assert stream.getvalue() == "Stopping ...\nStopped.\n"


def test_secrets_and_escapes_of_others_do_not_get_through() -> None:
    stream = io.StringIO()
    reporter = PlainReporter(Writer(stream), Terminal(), redact=Redactor(["hunter2hunter2"]), beat=0)
    reporter.emit(output("\x1b[2J\x1b[31mtoken hunter2hunter2\x1b[0m\rlast\n"))
    reporter.emit(events.Changed(paths=("a\x1b[2Jb",), total=1))
    reporter.emit(events.Noted(text="https://u:p@example.com", always=True))
    assert stream.getvalue() == "python | last\n  changed   ab\nnote: https://(hidden)@example.com\n"


def test_the_running_step_is_tall_and_shows_the_last_lines() -> None:
    clock = Clock()
    reporter = LiveReporter(io.StringIO(), Terminal(table_width=100), clock=clock, beat=0)
    reporter.emit(started("base", "debian:13", "downloading"))
    for second in range(4):
        clock.now = float(second)
        detail = f"{second} of 112 packages"
        reporter.emit(events.StepProgress(detail=detail, done=second * 10, total=100))
    assert reporter.frame() == [
        "  base      debian:13           3 of 112 packages, 7 s left                         3.0s",
        "            [#########.....................] 30%",
    ]
    reporter.emit(done("base", "debian:13", "112 packages", 8.4))
    assert reporter.frame() == []
    reporter.emit(started("build", "python 1.4.0", "installing dependencies"))
    reporter.emit(output("".join(f"line {i}\n" for i in range(9))))
    assert reporter.frame() == [
        "  build     python 1.4.0        installing dependencies",
        *(f"            | line {i}" for i in range(4, 9)),
    ]
    reporter.stopping()
    assert "stopping" in reporter.frame()[0]


def test_output_that_was_out_of_sight_is_shown_when_its_step_fails() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(stream, Terminal(), clock=Clock(), beat=0)
    reporter.emit(started("detect", ""))
    reporter.emit(output("".join(f"line {i}\n" for i in range(30)) + "unfinished"))
    reporter.problem(DetectNoneError("no buildpack accepts this application", slug="detect-none"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "python | line 11"
    assert lines[19] == "python | unfinished"
    assert lines[20].split() == ["detect", "failed", "<1ms"]
    assert lines[21:] == ["", "error[detect-none]: no buildpack accepts this application"]


def test_an_error_with_its_own_lines_repeats_nothing() -> None:
    stream = io.StringIO()
    reporter = LiveReporter(stream, Terminal(), clock=Clock(), beat=0)
    reporter.emit(started("build", "python 1.4.0"))
    reporter.emit(output("ERROR: no\n"))
    reporter.problem(BuildpackFailedError("failed", slug="buildpack-failed", foreign=("ERROR: no",)))
    assert stream.getvalue().count("ERROR: no") == 1


def test_time_left_is_said_only_when_the_pace_is_steady() -> None:
    pace = Pace()
    for second, amount in enumerate([0, 1, 2, 3, 60]):
        pace.add(float(second), amount, 100)
    assert pace.left() == "3 s left"
    jumpy = Pace()
    jumpy.add(0.0, 0, 1000)
    for tick in range(40):
        jumpy.add(10.0 + tick / 10, 500 + tick // 8, 1000)
    assert jumpy.left() == ""
    assert Pace().left() == ""


def test_a_live_display_is_drawn_and_erased_on_a_terminal() -> None:
    stream = io.StringIO()
    clock = Clock()
    terminal = Terminal(color=False, is_terminal=True, motion=True, table_width=80)
    reporter = LiveReporter(stream, terminal, clock=clock, beat=0)
    reporter.emit(started("build", "python 1.4.0", "installing [bold] dependencies"))
    reporter.tick()
    assert stream.getvalue() == "", "nothing is drawn for a step that ends at once"
    clock.now = 1.0
    reporter.emit(output("Resolved 14 packages\n"))
    reporter.tick()
    drawn = stream.getvalue()
    assert "installing [bold] dependencies" in drawn
    assert "| Resolved 14 packages" in drawn
    reporter.close()
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K")
    assert "\x1b[?25h" in stream.getvalue(), "the cursor is shown again"


@pytest.mark.parametrize(
    ("progress", "kind"), [("auto", "LiveReporter"), ("plain", "PlainReporter"), ("json", "JsonReporter")]
)
def test_the_renderer_is_chosen_by_stream_and_wish(progress: str, kind: str) -> None:
    terminal = Terminal(is_terminal=True, motion=True)
    chosen = choose(progress, io.StringIO(), terminal)  # type: ignore[arg-type]  # a parameter of the test
    chosen.close()
    assert type(chosen).__name__ == kind


@pytest.mark.parametrize(
    ("progress", "terminal", "extra"),
    [
        ("auto", Terminal(), {}),
        ("auto", Terminal(is_terminal=True), {}),
        ("auto", Terminal(is_terminal=True, motion=True), {"verbose": 1}),
        ("auto", Terminal(is_terminal=True, motion=True), {"animation": False}),
        ("tty", Terminal(), {}),
    ],
)
def test_what_cannot_or_shall_not_move_is_plain(progress: str, terminal: Terminal, extra: dict[str, int]) -> None:
    chosen = choose(progress, io.StringIO(), terminal, **extra)  # type: ignore[arg-type]  # parameters of the test
    assert type(chosen) is PlainReporter


def test_events_as_json_are_one_per_line_and_versioned() -> None:
    stream = io.StringIO()
    reporter = JsonReporter(Writer(stream), redact=Redactor(["hunter2hunter2"]), now=lambda: 0.0)
    for event in [*FIRST[:2], output("half hunter2hunter2"), done("base", "debian:13", "x", 1.23456789)]:
        reporter.emit(event)
    reporter.problem(BuildpackFailedError("failed", slug="buildpack-failed"))
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [r["event"] for r in records] == ["build-started", "step-started", "output", "step-done", "error"]
    assert {r["schema"] for r in records} == {"packrunner.event/1"}
    assert {r["time"] for r in records} == {"1970-01-01T00:00:00.000Z"}
    assert records[2]["text"] == "half (hidden)"
    assert records[3]["seconds"] == 1.234568
    assert records[4]["exit_code"] == 51


def test_the_log_has_everything_and_only_its_owner_reads_it(tmp_path: object) -> None:
    directory = f"{tmp_path}/logs"
    log = LogReporter(directory, "registry.example.com/shop:v1", redact=Redactor(["hunter2hunter2"]))
    tee = Tee([plain(io.StringIO(), quiet=2), log])
    for event in [*FIRST, output("hunter2hunter2\n"), events.Noted(text="a detail")]:
        tee.emit(event)
    tee.problem(BuildpackFailedError("failed", slug="buildpack-failed"))
    tee.close()
    assert os.path.basename(log.path).startswith("registry.example.com-shop-v1-")
    assert os.stat(log.path).st_mode & 0o777 == 0o600
    with open(log.path, encoding="utf-8") as file:
        text = file.read()
    assert "python | Resolved 14 packages in 210ms" in text
    assert "note: a detail" in text
    assert "error[buildpack-failed]: failed" in text
    assert "hunter2" not in text
    assert log.foreign == 3


def test_old_logs_go_and_those_of_others_stay(tmp_path: object) -> None:
    directory = str(tmp_path)
    for i in range(25):
        path = os.path.join(directory, f"shop-1402{i:02}.log")
        with open(path, "w", encoding="utf-8"):
            os.utime(path, (i, i))
    for name in ("shop-api-140211.log", "notes.txt"):
        with open(os.path.join(directory, name), "w", encoding="utf-8"):
            pass
    rotate(directory, "shop")
    left = sorted(os.listdir(directory))
    assert len([n for n in left if n.startswith("shop-14")]) == 20
    assert "shop-140205.log" in left
    assert "shop-140204.log" not in left
    assert {"shop-api-140211.log", "notes.txt"} <= set(left)


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    log = LogReporter("/proc/nowhere", "shop")
    log.emit(FIRST[0])
    log.close()
    assert log.path == ""


def test_an_event_after_the_end_makes_no_log(tmp_path: object) -> None:
    log = LogReporter(f"{tmp_path}/logs", "shop")
    log.close()
    log.emit(FIRST[0])
    assert log.path == ""
    assert not os.path.exists(f"{tmp_path}/logs")


def test_rich_is_imported_for_a_live_display_only() -> None:
    code = (
        "import sys, io\n"
        "from packrunner.console import reporters, live, machine, log, problem\n"
        "from packrunner.console.terminal import Terminal\n"
        "from packrunner import events\n"
        "r = reporters.choose('auto', sys.stderr, Terminal())\n"
        "r.emit(events.Finished(text='Built.'))\n"
        "r.close()\n"
        "sys.exit(any(n in sys.modules for n in ('rich', 'typer', 'click', 'asyncio', 'pathlib')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "Built.\n")


@pytest.mark.parametrize("quiet", [0, 1])
@pytest.mark.parametrize("progress", ["plain", "json"])
def test_what_is_hidden_from_now_on_is_shown_by_nobody(progress: Literal["plain", "json"], quiet: int) -> None:
    screen = io.StringIO()
    redact = Redactor()
    reporter = choose(progress, screen, Terminal(), quiet=quiet, redact=redact)
    reporter.emit(events.Hidden(secrets=("hunter2hunter2",)))
    reporter.emit(events.Warned(text="it is hunter2hunter2"))
    reporter.close()
    assert "it is (hidden)" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1
    assert redact("hunter2hunter2") == "(hidden)", "whoever shares the redactor knows too"


@pytest.mark.cnb("DET-27")
@pytest.mark.parametrize(("verbose", "lines"), [(0, []), (1, ["python | found it"])])
def test_output_that_is_detail_is_for_v(verbose: int, lines: list[str]) -> None:
    screen = io.StringIO()
    reporter = PlainReporter(Writer(screen), Terminal(), verbose=verbose, beat=0)
    reporter.emit(events.Output(source="python", stream="stdout", data=b"found it\n", detail=True))
    reporter.close()
    assert screen.getvalue().splitlines() == lines
