"""`packrunner compose`: which file is written, and what becomes of changes while Compose runs."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from packrunner.cli.services import ComposePlan
from packrunner.cli.wiring import composing
from packrunner.dev.changes import Batch, Change
from packrunner.errors import BuildError, StoppedError, UsageError
from packrunner.formats.sync import LABEL, Rule, SyncRules
from packrunner.lifecycle.request import BuildRequest
from tests.unit.cli.cli_fakes import FakeServices, FakeStore, call, image, stored
from tests.unit.cli.test_sync_rules import PYTHON, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from packrunner.events import Event

Capture = pytest.CaptureFixture[str]
LABELS = {LABEL: '{"version": 1, "rules": [{"src": ["**/*.py"], "action": "reload"}]}'}


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


@dataclass
class Composing(FakeServices):
    """Remembers how Compose was run; `during` happens while it runs."""

    started: list[tuple[BuildRequest, SyncRules, tuple[str, ...], str]] = field(default_factory=list)
    during: Callable[[Callable[[], bool]], None] = lambda again: None
    missing: UsageError | None = None

    def compose_version(self, request: BuildRequest) -> tuple[str, ...]:
        if self.missing:
            raise self.missing
        return ("docker", "compose")

    def compose(self, request: BuildRequest, first: Callable[[], ComposePlan], **doors: Any) -> int:
        plan = first()
        self.started.append((request, plan.rules, plan.files, plan.service))
        self.during(doors["again"])
        return 3


def built() -> FakeStore:
    made = image()
    return FakeStore(stored("shop:dev", replace(made, labels={**made.labels, **LABELS})))


def written(path: Path) -> Any:
    return yaml.safe_load(path.read_text())["services"]


def test_init_writes_a_service_with_a_watch(shop: Path, capsys: Capture) -> None:
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "--port", "5000", fake=fake) == 0
    assert capsys.readouterr().out == "compose.yaml\n"
    (service,) = written(shop / "compose.yaml").values()
    assert service["image"] == "shop:dev"
    assert service["user"] == "1000"
    assert (service["environment"], service["ports"]) == ({"PORT": "5000"}, ["5000:5000"])
    assert [one["action"] for one in service["develop"]["watch"]] == ["sync+exec"]
    assert fake.requests[0].shape.exec_env == "development"


def test_the_user_of_a_foreign_builders_image_is_not_known(shop: Path) -> None:
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "--builder", "paketobuildpacks/builder-jammy-base", fake=fake) == 0
    assert "user" not in written(shop / "compose.yaml")["shop"]


def test_init_twice_writes_its_own_file_again(shop: Path) -> None:
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "team/shop", fake=fake) == 0
    assert call("compose", "init", "team/other", fake=fake) == 0
    assert list(written(shop / "compose.yaml")) == ["other"]


def test_beside_a_file_of_the_users_there_is_an_override(shop: Path) -> None:
    (shop / "docker-compose.yml").write_text("services: {web: {image: shop}, db: {image: postgres}}\n")
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "--service", "web", fake=fake) == 0
    assert set(written(shop / "compose.override.yaml")["web"]) == {"image", "pull_policy", "user", "develop"}
    assert (shop / "docker-compose.yml").read_text() == "services: {web: {image: shop}, db: {image: postgres}}\n"


def test_a_service_that_is_not_there_is_refused(shop: Path, capsys: Capture) -> None:
    (shop / "compose.yaml").write_text("services: {web: {image: shop}, db: {image: postgres}}\n")
    assert call("compose", "init", fake=Composing()) == 2
    err = capsys.readouterr().err
    assert "error[compose-service]: compose.yaml has no service shop" in err
    assert "its services are web, db" in err


@pytest.mark.parametrize("text", ["services: [", "\x00", "services:\n\t- a"])
def test_a_compose_file_that_cannot_be_read_is_refused(shop: Path, text: str, capsys: Capture) -> None:
    (shop / "compose.yaml").write_text(text)
    assert call("compose", "init", fake=Composing()) == 2
    assert "error[compose-file]: compose.yaml cannot be read" in capsys.readouterr().err


def test_a_file_of_the_users_is_not_overwritten(shop: Path, capsys: Capture) -> None:
    (shop / "own.yaml").write_text("services: {}\n")
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "--file", "own.yaml", fake=fake) == 2
    assert "error[compose-file]: own.yaml was not made by packrunner" in capsys.readouterr().err
    assert (shop / "own.yaml").read_text() == "services: {}\n"


def test_a_file_elsewhere_watches_the_application(shop: Path) -> None:
    fake = Composing(on_detect=lambda _: answer(PYTHON))
    assert call("compose", "init", "--file", "../compose.yaml", fake=fake) == 0
    assert [one["path"] for one in written(shop.parent / "compose.yaml")["shop"]["develop"]["watch"]] == ["shop"]


def test_up_builds_for_the_engine_writes_and_starts(shop: Path) -> None:
    fake = Composing(images=built())
    assert call("compose", "up", fake=fake) == 3
    ((request, rules, files, service),) = fake.started
    assert (request.name, request.shape.exec_env, request.delivery.load) == ("shop:dev", "development", True)
    assert [one.name for one in fake.requests] == ["shop:dev"]
    assert [rule.src for rule in rules.rules] == [("**/*.py",)]
    assert (files, service) == ((str(shop / "compose.yaml"),), "shop")
    assert written(shop / "compose.yaml")["shop"]["user"] == "1000"


def test_up_without_compose_builds_nothing(capsys: Capture) -> None:
    fake = Composing(missing=UsageError("no", slug="compose-missing"))
    assert call("compose", "up", fake=fake) == 2
    assert fake.requests == []


def test_up_builds_again_and_a_failure_keeps_what_runs(capsys: Capture) -> None:
    done: list[bool] = []
    fake = Composing(images=built())

    def fail(*_: object) -> Any:
        raise BuildError("the layer is lost", slug="bug")

    def during(again: Callable[[], bool]) -> None:
        done.append(again())
        fake.on_build = fail
        done.append(again())

    fake.during = during
    assert call("compose", "up", fake=fake) == 3
    assert done == [True, False]
    err = capsys.readouterr().err
    assert "the layer is lost" in err
    assert "the old version still serves" in err


def test_a_stop_during_a_build_ends_it() -> None:
    fake = Composing(images=built())

    def stopped(*_: object) -> Any:
        raise StoppedError(signal.SIGINT)

    def during(again: Callable[[], bool]) -> None:
        fake.on_build = stopped
        again()

    fake.during = during
    assert call("compose", "up", fake=fake) == 130


class Compose:
    """A program that is called like Compose, and writes down how; `up --watch` ends when it is interrupted."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, *, version: str = "2.40.1") -> None:
        self._seen = directory / "seen"
        self._seen.touch()
        self._pid = directory / "pid"
        program = directory / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\n"
            "import os, signal, sys, time\n"
            "words = sys.argv[1:]\n"
            "if words[-2:] == ['version', '--short']:\n"
            f"    print({version!r}); sys.exit()\n"
            "if 'ps' in words:\n"
            f"    print('id' * bool(open({str(self._seen)!r}).read())); sys.exit()\n"
            "def stop(*_):\n"
            f"    open({str(self._seen)!r}, 'a').write('interrupted\\n'); sys.exit(7)\n"
            "signal.signal(signal.SIGINT, stop)\n"
            f"if words[-1] == '--watch': open({str(self._pid)!r}, 'w').write(str(os.getpid()))\n"
            f"open({str(self._seen)!r}, 'a').write(' '.join(words) + '\\n')\n"
            "while words[-1] == '--watch': time.sleep(60)\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent))

    @property
    def pid(self) -> int:
        """That of `up --watch`."""
        return int(self._pid.read_text())

    @property
    def seen(self) -> list[str]:
        return self._seen.read_text().splitlines()

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 30
        while len(self.seen) < count:
            assert time.monotonic() < until, self.seen
            time.sleep(0.01)


class Silent:
    def emit(self, event: Event) -> None:
        pass


RULES = SyncRules(rules=(Rule(src=("uv.lock",), action="rebuild"), Rule(src=("**/*.py",), action="sync")))


def plan(*files: str) -> ComposePlan:
    return ComposePlan(rules=RULES, files=files, service="web")


def request(source: Path) -> BuildRequest:
    return BuildRequest(name="shop:dev", source=str(source))


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        ([("file", "app.py")], False),
        ([("file", "app.py"), ("file", "uv.lock")], True),
        ([("gone", "uv.lock")], True),
        ([("file", "unheard.of")], True),
        ([("dir", "unheard.of"), ("file", "unheard.of/app.py")], False),
    ],
)
def test_what_needs_an_image(changed: list[tuple[Any, str]], needed: bool) -> None:
    changes = tuple(Change(kind=kind, path=path) for kind, path in changed)
    assert composing.needs_image(Batch(changes=changes, seen=0), RULES) is needed


@pytest.mark.parametrize("version", ["2.32.0", "v2.40.1", "5.0.1", "dev"])
def test_a_compose_that_can_run_a_command_is_taken(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Compose(tmp_path, monkeypatch, version=version)
    assert composing.compose_version(request(tmp_path)) == ("docker", "compose")


def test_an_older_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Compose(tmp_path, monkeypatch, version="2.31.0")
    with pytest.raises(UsageError) as raised:
        composing.compose_version(request(tmp_path))
    assert (raised.value.slug, raised.value.cause) == ("compose-missing", "the one here is 2.31.0")


def test_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as raised:
        composing.compose_version(request(tmp_path))
    assert raised.value.cause == "there is no `docker compose`, and no docker-compose"


@pytest.fixture
def running(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Compose, list[str]]]:
    """Compose, with the application `shop`, and what was built; ended by its own end."""
    fake = Compose(tmp_path, monkeypatch)
    builds: list[str] = []
    codes: list[int] = []

    def again() -> bool:
        builds.append("built")
        return len(builds) < 2

    def run() -> None:
        codes.append(composing.compose(request(shop), lambda: plan("a.yaml", "b.yaml"), again=again, reporter=Silent()))

    thread = threading.Thread(target=run)
    thread.start()
    fake.wait_for(1)
    yield fake, builds
    os.kill(fake.pid, signal.SIGINT)
    thread.join(30)
    assert codes == [7]


def test_only_what_needs_an_image_is_built(shop: Path, running: tuple[Compose, list[str]]) -> None:
    fake, builds = running
    assert fake.seen == ["compose -f a.yaml -f b.yaml up --watch"]
    (shop / "uv.lock").write_text("1")
    fake.wait_for(2)
    assert fake.seen[1] == "compose -f a.yaml -f b.yaml up --detach --no-deps web"
    # The second build fails: what runs stays.
    (shop / "unheard.of").write_text("1")
    until = time.monotonic() + 30
    while len(builds) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(fake.seen) == 2


class Ending:
    """Builds of a test: `steps` are done in them one after another, and Compose is ended after the last."""

    def __init__(self, fake: Compose, *steps: Callable[[], object]) -> None:
        self._fake, self._steps = fake, list(steps)
        self.count = 0

    def __call__(self) -> bool:
        self.count += 1
        self._steps.pop(0)()
        if not self._steps:
            os.kill(self._fake.pid, signal.SIGINT)
        return True


def test_a_change_during_the_first_build_gets_an_image(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Compose(tmp_path, monkeypatch)
    builds = Ending(fake, lambda: None)

    def first() -> ComposePlan:
        (shop / "compose.yaml").write_text("written by the first build")
        (shop / "app.py").write_text("only to be copied, but nobody copies yet")
        return plan(str(shop / "compose.yaml"))

    assert composing.compose(request(shop), first, again=builds, reporter=Silent()) == 7
    assert builds.count == 1


def test_a_change_while_another_image_is_made_gets_one_too(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Compose(tmp_path, monkeypatch)
    builds = Ending(fake, lambda: (shop / "app.py").write_text("copied into a container that goes"), lambda: None)

    def change() -> None:
        fake.wait_for(1)
        (shop / "uv.lock").write_text("1")

    threading.Thread(target=change).start()
    assert composing.compose(request(shop), plan, again=builds, reporter=Silent()) == 7
    assert builds.count == 2


def test_the_compose_file_that_was_just_written_is_no_change(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Compose(tmp_path, monkeypatch)
    builds = Ending(fake, lambda: None)

    def first() -> ComposePlan:
        (shop / "compose.yaml").write_text("written by the first build")
        return plan(str(shop / "compose.yaml"))

    def change() -> None:
        fake.wait_for(1)
        time.sleep(0.5)
        assert builds.count == 0
        (shop / "uv.lock").write_text("1")

    threading.Thread(target=change).start()
    assert composing.compose(request(shop), first, again=builds, reporter=Silent()) == 7
    assert builds.count == 1


def test_a_stop_interrupts_compose_once(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Compose(tmp_path, monkeypatch)

    def stop() -> bool:
        raise StoppedError(signal.SIGINT)

    def change() -> None:
        fake.wait_for(1)
        (shop / "uv.lock").write_text("1")

    threading.Thread(target=change).start()
    with pytest.raises(StoppedError):
        composing.compose(request(shop), plan, again=stop, reporter=Silent())
    assert fake.seen == ["compose up --watch", "interrupted"]


def test_the_engine_that_got_the_image_is_the_one_of_compose(tmp_path: Path) -> None:
    there = composing._environment(BuildRequest(name="shop", source=str(tmp_path), docker_host="ssh://me@builder"))
    assert there["DOCKER_HOST"] == "ssh://me@builder"


def test_an_images_rules_are_written_for_tools_too(capsys: Capture) -> None:
    fake = Composing(images=built())
    assert call("sync-rules", "--from-image", "shop:dev", "--format", "compose", fake=fake) == 0
    service = yaml.safe_load(capsys.readouterr().out)["services"]["shop"]
    assert [one["include"] for one in service["develop"]["watch"]] == [["**/*.py"]]
    assert fake.requests == []
