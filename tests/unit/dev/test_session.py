"""The loop of `packrunner dev`, told what happens: what it sends, builds, starts and says."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner import events
from packrunner.dev import attachment
from packrunner.dev.changes import Batch, Change
from packrunner.dev.doors import Built, Doors, Ended, Heard, Item, Key, Lost, Running, Said, Unbuilt, Version
from packrunner.dev.session import Session
from packrunner.errors import BuildpackFailedError, EngineError, PackrunnerError, StoppedError
from packrunner.formats.sync import Rule, SyncRules
from tests.fakes import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLOCK = time.strftime("%H:%M", time.localtime(1.0))
RULES = SyncRules(
    rules=(
        Rule(src=("**/*.pyc",), action="ignore"),
        Rule(src=("requirements.txt",), action="rebuild"),
        Rule(src=("**/*.py",), action="reload", why="reloaded by flask"),
        Rule(src=("templates/**",), action="sync"),
        Rule(src=("settings.toml",), action="restart"),
        Rule(src=("assets/**",), action="sync", dest="/srv/assets"),
    )
)


@dataclass
class App:
    """A version that runs; remembers what it was asked."""

    version: Version
    run: int
    attached: bool = True
    processes: tuple[str, ...] = ("web",)
    sent: list[tuple[str, ...]] = field(default_factory=list)
    restarts: int = 0
    closed: bool = False

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, "http://localhost:8000") for name in self.processes)

    def send(self, changes: Sequence[Change], dest: str = "") -> int:
        self.sent.append(tuple(f"{dest}:{change.path}" if dest else change.path for change in changes))
        return len(self.sent)

    def restart(self, processes: Sequence[str] = ()) -> int:
        self.restarts += 1
        return 1000 + self.restarts

    def close(self) -> None:
        self.closed = True


@dataclass
class Source:
    """What was touched, by hand."""

    touched: list[Change] = field(default_factory=list)
    not_sent: list[str] = field(default_factory=list)

    def mark(self) -> int:
        return len(self.touched)

    def since(self, mark: int) -> tuple[Change, ...]:
        return tuple({change.path: change for change in self.touched[mark:]}.values())

    def failed(self, paths: Iterable[str]) -> None:
        self.not_sent += paths


@dataclass
class Browser:
    said: list[str] = field(default_factory=list)

    def refresh(self, kind: str = "page") -> None:
        self.said.append(kind)

    def failed(self, title: str, text: str) -> None:
        self.said.append(title)


class World:
    """A session and everything around it; `now` is its clock."""

    def __init__(self, *, builds: bool = True, attached: bool = True, rules: SyncRules | None = RULES) -> None:
        self.source, self.reporter, self.browser = Source(), FakeReporter(), Browser()
        self.apps: list[App] = []
        self.builds = 0
        self.errors: list[PackrunnerError] = []
        self.broken: EngineError | None = None
        self.now = 100.0
        self.attached = attached
        self.session = Session(
            Doors(
                source=self.source,
                start=self._start,
                build=self._build if builds else None,
                reporter=self.reporter,
                problem=self.errors.append,
                browser=self.browser,
                clock=lambda: self.now,
            ),
            name="shop",
            keys="r restart",
        )
        self.first = Version(line="shop:dev@111", rules=rules, built=1.0, fresh=False)

    def _start(self, version: Version, run: int) -> Running:
        if self.broken:
            raise self.broken
        self.apps.append(App(version, run, attached=self.attached))
        return self.apps[-1]

    def _build(self) -> None:
        self.builds += 1

    def go(self) -> None:
        """Run the session from its start to `q`."""
        self.session.queue.put(Key("q"))
        self.session.run(self.first, began=self.now, mark=0)

    def begin(self) -> None:
        """Up and ready; further items by `take`."""
        self.session._swap(self.first, 0, self.now, self.session._first)
        self.hear(attachment.Up(process="web"))
        self.reporter.events.clear()
        self.browser.said.clear()

    def take(self, item: Item) -> None:
        self.session.handle(item)

    def hear(self, event: attachment.Event) -> None:
        self.take(Heard(self.apps[-1].run, event))

    def change(self, *paths: str, seen: float | None = None) -> None:
        changes = tuple(Change(path=path, kind="file") for path in paths)
        self.source.touched += changes
        self.take(Batch(changes=changes, seen=self.now if seen is None else seen))

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        return [(e.action, e.subject, e.detail) for e in self.reporter.of(events.Happened)]


@pytest.fixture
def world() -> World:
    made = World()
    made.begin()
    return made


def version(number: int) -> Version:
    return Version(line=f"shop:dev@{number * 111}", rules=RULES, summary="dependencies new, 19.1 MB", built=1.0)


def test_it_is_ready_when_every_process_is_up() -> None:
    world = World()
    world.session._swap(world.first, 0, 98.8, world.session._first)
    assert world.reporter.of(events.Ready) == []
    world.hear(attachment.Up(process="web"))
    (ready,) = world.reporter.of(events.Ready)
    assert (ready.name, round(ready.seconds, 1), ready.note) == ("shop", 1.2, "image kept, nothing changed")
    assert ready.places == (("web", "http://localhost:8000"),)


def test_a_process_that_crashes_at_once_had_its_chance() -> None:
    world = World()
    world.session._swap(world.first, 0, 98.8, world.session._first)
    world.hear(attachment.Crash(process="web", code=1))
    assert len(world.reporter.of(events.Ready)) == 1


def test_what_a_framework_reloads_is_told_with_the_time_until_it_was_copied(world: World) -> None:
    world.change("app/views.py", seen=100.0)
    assert world.apps[0].sent == [("app/views.py",)]
    world.now = 100.038
    world.hear(attachment.Copied(id=1))
    world.now = 100.5
    world.hear(attachment.Done(id=1, action="reload", self=("web",)))
    (row,) = world.reporter.of(events.Happened)
    assert (row.action, row.subject, row.detail) == ("sync", "app/views.py", "reloaded by flask")
    assert row.seconds == pytest.approx(0.038)
    assert world.browser.said == ["page"]


def test_many_files_are_one_line(world: World) -> None:
    world.change("templates/a.html", "templates/b/c.html", "templates/d.html")
    world.hear(attachment.Done(id=1))
    assert world.rows == [("sync", "templates/ (3 files)", "no restart needed")]


def test_only_style_sheets_are_loaded_again_where_nothing_else_changed(world: World) -> None:
    world.change("templates/a.css")
    world.hear(attachment.Done(id=1))
    assert world.browser.said == ["styles"]


def test_a_restart_is_told_when_the_process_is_up(world: World) -> None:
    world.change("settings.toml")
    world.hear(attachment.Copied(id=1))
    world.hear(attachment.Restarting(id=1, process="web"))
    world.now = 100.41
    world.hear(attachment.Up(id=1, process="web"))
    world.hear(attachment.Done(id=1, action="restart", restarted=("web",)))
    (row,) = world.reporter.of(events.Happened)
    assert (row.action, row.detail) == ("restart", "web")
    assert row.seconds == pytest.approx(0.41)


def test_ignored_files_cause_nothing(world: World) -> None:
    world.change("a/b.pyc")
    assert (world.apps[0].sent, world.builds, world.rows) == ([], 0, [])


def test_what_no_rule_matches_needs_a_rebuild_while_the_old_version_serves(world: World) -> None:
    world.change("uv.lock")
    assert (world.builds, world.apps[0].closed) == (1, False)
    assert world.rows == [("rebuild", "uv.lock", "the old version serves")]


def test_one_batch_may_be_sent_in_part_and_need_a_rebuild_for_the_rest(world: World) -> None:
    world.change("requirements.txt", "app.py", "x.pyc")
    assert (world.apps[0].sent, world.builds) == ([("app.py",)], 1)


def test_each_place_of_the_image_gets_its_own(world: World) -> None:
    world.change("app.py", "assets/a.png")
    assert world.apps[0].sent == [("app.py",), ("/srv/assets:assets/a.png",)]


def test_a_directory_alone_needs_nothing(world: World) -> None:
    world.take(Batch(changes=(Change(path="empty", kind="dir", mode=0o755),), seen=100.0))
    assert (world.apps[0].sent, world.builds) == ([("empty",)], 0)


def test_a_rebuilt_version_takes_the_place_of_the_old_one(world: World) -> None:
    world.change("uv.lock", seen=100.0)
    world.now = 105.9
    world.take(Built(version(2)))
    assert [app.closed for app in world.apps] == [True, False]
    world.hear(attachment.Up(process="web"))
    row = world.reporter.of(events.Happened)[-1]
    assert (row.action, row.subject, row.detail) == ("ready", "dependencies new, 19.1 MB", "web")
    assert row.seconds == pytest.approx(5.9)


def test_what_the_old_version_says_after_its_end_is_not_heard(world: World) -> None:
    world.change("uv.lock")
    world.take(Built(version(2)))
    world.take(Heard(world.apps[0].run, attachment.Crash(process="web", code=143)))
    world.take(Ended(world.apps[0].run, "web", 143))
    assert "crash" not in [action for action, _, _ in world.rows]


@pytest.mark.fault("LIV-14")
def test_changes_during_a_build_reach_the_old_version_and_the_new_one(world: World) -> None:
    world.change("uv.lock")
    world.change("app.py")
    assert world.apps[0].sent == [("app.py",)]
    world.take(Built(version(2)))
    assert world.apps[1].sent == [("app.py",)]
    assert world.builds == 1


@pytest.mark.fault("LIV-14")
def test_a_hundred_changes_during_a_build_are_one_more_build(world: World) -> None:
    world.change("uv.lock")
    for number in range(100):
        world.change(f"lib-{number}.lock")
    assert world.builds == 1
    world.take(Built(version(2)))
    assert world.builds == 2
    assert world.rows[-1][:2] == ("rebuild", "100 files")
    world.take(Built(version(3)))
    assert world.builds == 2
    assert world.session.farewell() == f"shop:dev@333 is the image as of {CLOCK}."


def test_a_failed_rebuild_keeps_the_old_version(world: World) -> None:
    world.change("uv.lock")
    error = BuildpackFailedError("python failed", slug="buildpack-failed")
    world.take(Unbuilt(error))
    assert (world.errors, world.apps[0].closed) == ([error], False)
    assert world.rows[-1] == ("failed", "rebuild", "the old version still serves")


def test_after_a_failed_rebuild_what_came_meanwhile_is_tried(world: World) -> None:
    world.change("uv.lock")
    world.change("uv.lock")
    world.take(Unbuilt(BuildpackFailedError("python failed", slug="buildpack-failed")))
    assert world.builds == 2


def test_a_version_that_cannot_be_started_does_not_end_it(world: World) -> None:
    world.change("uv.lock")
    world.broken = EngineError("no", slug="sandbox-failed")
    world.take(Built(version(2)))
    assert [error.slug for error in world.errors] == ["sandbox-failed"]
    world.broken = None
    world.change("app.py")
    assert world.builds == 2


def test_the_first_version_that_cannot_be_started_does() -> None:
    world = World()
    world.broken = EngineError("no", slug="sandbox-failed")
    with pytest.raises(EngineError):
        world.go()


def test_a_broken_place_is_told_and_the_next_change_makes_another(world: World) -> None:
    world.take(Lost(world.apps[0].run, EngineError("gone", slug="sandbox-died")))
    assert (world.errors[0].slug, world.apps[0].closed) == ("sandbox-died", True)
    world.change("app.py")
    assert world.builds == 1


def test_a_crash_shows_the_last_place_in_the_application_and_the_error(world: World) -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/workspace/app.py", line 3, in main\n'
        "    index()\n"
        '  File "/workspace/app/views.py", line 12, in index\n'
        "    totl\n"
        '  File "/layers/lib/flask.py", line 99, in call\n'
        "    raise\n"
        "NameError: name 'totl' is not defined\n"
        "reloader: web ended with exit code 1; waiting for a change\n"
    )
    world.take(Said(world.apps[0].run, "web", "stderr", text.encode()))
    assert world.reporter.of(events.Output) == []
    world.hear(attachment.Crash(process="web", code=1))
    (row,) = world.reporter.of(events.Happened)
    assert (row.action, row.subject) == ("crash", "web ended with exit code 1")
    assert row.detail == "waiting for a change (r: try again)"
    assert row.lines == (
        '  File "app/views.py", line 12, in index',
        "    totl",
        "NameError: name 'totl' is not defined",
    )
    assert world.reporter.of(events.Output) == []
    assert world.browser.said == ["web ended with exit code 1"]


def test_a_traceback_that_ends_nothing_is_shown_whole(world: World) -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: x\n'
    world.take(Said(world.apps[0].run, "web", "stderr", text.encode() + b"next\n"))
    shown = b"".join(output.data for output in world.reporter.of(events.Output))
    assert shown.decode() == text + "next\n"


def test_the_change_after_a_crash_says_that_the_process_is_up_again(world: World) -> None:
    world.hear(attachment.Crash(process="web", code=1))
    world.change("app.py", seen=100.0)
    world.now = 100.42
    world.hear(attachment.Up(id=1, process="web"))
    world.hear(attachment.Done(id=1, action="reload", restarted=("web",)))
    row = world.reporter.of(events.Happened)[-1]
    assert (row.action, row.subject, row.detail) == ("sync", "app.py", "web is up again")
    assert row.seconds == pytest.approx(0.42)


def test_a_change_that_crashes_the_restarted_process_is_named_before_the_crash(world: World) -> None:
    world.change("settings.toml")
    world.hear(attachment.Copied(id=1))
    world.hear(attachment.Restarting(id=1, process="web"))
    world.hear(attachment.Crash(process="web", code=1))
    world.hear(attachment.Done(id=1, action="restart", restarted=("web",)))
    assert [(action, subject) for action, subject, _ in world.rows] == [
        ("restart", "settings.toml"),
        ("crash", "web ended with exit code 1"),
    ]


def test_a_rules_command_that_fails_is_told_with_its_output(world: World) -> None:
    world.change("app.py")
    world.hear(attachment.Copied(id=1))
    world.hear(attachment.Executed(id=1, command=("go", "build"), code=2, output="x.go:1: no\n", ms=120))
    world.hear(attachment.Done(id=1, action="restart"))
    (row,) = world.reporter.of(events.Happened)
    assert (row.action, row.lines, row.source) == ("failed", ("x.go:1: no",), "go")
    assert row.detail == "go build ended with 2, nothing restarted"


def test_a_rules_command_that_worked_is_named(world: World) -> None:
    world.change("app.py")
    world.hear(attachment.Executed(id=1, command=("go", "build"), code=0))
    world.hear(attachment.Up(id=1, process="web"))
    world.hear(attachment.Done(id=1, action="restart", restarted=("web",)))
    assert world.rows == [("restart", "app.py", "web, after go build")]


@pytest.mark.fault("LIV-15")
def test_a_file_that_the_application_does_not_take_is_told_and_not_taken_as_sent(world: World) -> None:
    world.change("app.py")
    world.hear(attachment.Copied(id=1, failed=(attachment.Refused(path="app.py", why="permission denied"),)))
    (warning,) = world.reporter.of(events.Warned)
    assert warning.text == "app.py is not in the application: permission denied"
    assert world.source.not_sent == ["app.py"]


def test_without_rules_each_change_is_a_rebuild_and_a_dead_process_waits_for_it() -> None:
    world = World(attached=False, rules=None)
    world.session._swap(world.first, 0, 98.8, world.session._first)
    assert len(world.reporter.of(events.Ready)) == 1
    world.take(Ended(world.apps[0].run, "web", 3))
    assert world.rows[-1] == ("crash", "web ended with exit code 3", "b: build it again")
    world.change("main.c")
    assert world.builds == 1


def test_keys(world: World) -> None:
    world.take(Key("r"))
    assert world.apps[0].restarts == 1
    world.hear(attachment.Up(id=1001, process="web"))
    world.hear(attachment.Done(id=1001, action="restart", restarted=("web",)))
    assert world.rows == [("restart", "by hand", "web")]
    world.take(Key("b"))
    assert world.builds == 1
    world.take(Key("l"))
    assert any("**/*.py" in line for line in world.reporter.of(events.Happened)[-1].lines)


def test_an_image_of_somebody_else_is_not_rebuilt() -> None:
    world = World(builds=False)
    world.begin()
    world.change("uv.lock")
    assert (world.builds, world.rows) == (0, [("rebuild", "uv.lock", "is needed, and is not ours to do")])


def test_q_says_what_is_only_in_the_files(world: World) -> None:
    world.change("app.py", "templates/a.html")
    world.take(Key("q"))
    (last,) = world.reporter.of(events.Finished)
    assert last.text == f"Stopped. shop:dev@111 is the image as of {CLOCK}; 2 later changes are only in your files."


@pytest.mark.fault("PRO-01")
def test_a_stop_ends_the_application_and_says_the_same() -> None:
    world = World()

    class Interrupted(FakeReporter):
        """As a signal, which may come in the middle of anything."""

        def emit(self, event: events.Event) -> None:
            raise StoppedError(2)

    world.session._doors = replace(world.session._doors, reporter=Interrupted())
    world.session.queue.put(Heard(1, attachment.Up(process="web")))
    with pytest.raises(StoppedError) as stopped:
        world.session.run(world.first, began=0.0, mark=0)
    assert world.apps[0].closed
    assert stopped.value.kept == f"shop:dev@111 is the image as of {CLOCK}."


def said(world: World) -> list[tuple[str, bool]]:
    return [(one.data.decode().strip(), one.again) for one in world.reporter.of(events.Output)]


def restarted(world: World, lines: str, *, crash: bool = False) -> list[tuple[str, bool]]:
    """What is told of the output of one more start."""
    world.reporter.events.clear()
    world.hear(attachment.Restarting(process="web"))
    world.take(Said(world.apps[0].run, "web", "stdout", lines.encode()))
    world.hear(attachment.Crash(process="web", code=1) if crash else attachment.Up(process="web"))
    return said(world)


def test_a_process_greets_once(world: World) -> None:
    assert restarted(world, " * Serving\npid 12\n") == [("* Serving", False), ("pid 12", False)]
    assert restarted(world, " * Serving\npid 345\nnew\n") == [("* Serving", True), ("pid 345", True), ("new", False)]
    assert restarted(world, "new\nnew\n") == [("new", True), ("new", False)], "twice is more than last time"


def test_what_comes_after_the_start_is_no_greeting(world: World) -> None:
    assert restarted(world, "GET /\n") == [("GET /", False)]
    restarted(world, "GET /\n")
    world.now += 2
    world.take(Said(world.apps[0].run, "web", "stdout", b"GET /\n"))
    assert said(world)[-1] == ("GET /", False)


def test_a_start_that_went_wrong_is_no_measure_for_the_next(world: World) -> None:
    restarted(world, "good\n")
    restarted(world, "bad\n", crash=True)
    assert restarted(world, "bad\ngood\n") == [("bad", False), ("good", True)]


def test_what_is_ignored_is_not_among_the_later_changes(world: World) -> None:
    world.change("app/views.pyc")
    assert world.session.farewell() == f"shop:dev@111 is the image as of {CLOCK}."
    world.change("app/views.py")
    assert world.session.farewell().endswith("; 1 later change is only in your files.")
