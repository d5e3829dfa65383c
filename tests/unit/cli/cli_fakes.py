"""A composition root of plain values, and ways to call the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from packrunner.formats import labels
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.images.store import StoredImage
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.cli.services import Known, Pruned, Services, Shown, Wish
    from packrunner.cli.telling import Telling
    from packrunner.events import Reporter
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.outline import Outline
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.record import Record


def digest(letter: str) -> Digest:
    return Digest("sha256:" + letter * 64)


def layer(letter: str, size: int) -> Layer:
    return Layer(diff_id=digest(letter), blob=Descriptor(digest=digest(letter), size=size))


def image(*, app: str = "c") -> Image:
    """An image as packrunner builds it: base, launcher, runtime, application."""
    lifecycle = {
        "app": [{"sha": digest(app)}],
        "launcher": {"sha": digest("b")},
        "buildpacks": [
            {
                "key": "packrunner/python",
                "version": "1.4.0",
                "layers": {"runtime": {"sha": digest("d"), "launch": True}},
            }
        ],
        "runImage": {"topLayer": digest("a"), "image": "debian:13", "reference": digest("7")},
    }
    build = {
        "processes": [
            {"type": "web", "command": ["gunicorn"], "args": ["app:app"], "direct": True, "buildpackID": "x"},
            {"type": "worker", "command": ["celery", "-A", "my app"], "args": [], "direct": True, "buildpackID": "x"},
        ],
        "buildpacks": [{"id": "packrunner/environment-variables", "version": "1.0.2"}, {"id": "packrunner/python"}],
    }
    return Image(
        user="1000:1000",
        entrypoint=("/cnb/process/web",),
        labels={labels.LIFECYCLE: json.dumps(lifecycle), labels.BUILD: json.dumps(build)},
        layers=(layer("a", 31_200_000), layer("b", 2_100_000), layer("d", 22_400_000), layer(app, 48_000)),
    )


class FakeStore:
    def __init__(self, *stored: StoredImage) -> None:
        self.stored = list(stored)
        self.removed: list[str] = []

    def list(self) -> list[StoredImage]:
        return self.stored

    def read(self, reference: str) -> StoredImage | None:
        for found in self.stored:
            if reference in {found.name, found.name.removesuffix(":latest")} or found.digest == reference:
                return found
        return None

    def remove(self, name: str) -> bool:
        self.removed.append(name)
        return True


def stored(name: str, picture: Image, written_at: float = 1_700_000_000.0) -> StoredImage:
    return StoredImage(name=name, digest=picture.digest, image=picture, written_at=written_at)


@dataclass
class Outcome:
    line: str = "shop@" + digest("3")


@dataclass
class FakeServices:
    """Remembers what it was asked; `on_build` and `on_run` decide what happens."""

    on_build: Callable[[BuildRequest, Reporter], Outcome] = lambda request, reporter: Outcome()
    on_run: Callable[[], int] = lambda: 0
    on_develop: Callable[[Shown], None] = lambda shown: None
    on_detect: Callable[[BuildRequest], Answer] = lambda request: pytest.fail("nobody was to be asked")
    on_plan: Callable[[BuildRequest], Outline] = lambda request: pytest.fail("nobody was to be asked")
    images: FakeStore = field(default_factory=FakeStore)
    prunable: Sequence[Pruned] = ()
    requests: list[BuildRequest] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    runs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    prunes: list[tuple[bool, bool]] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    known: list[Known | None] = field(default_factory=list)
    held: list[Held | None] = field(default_factory=list)
    told: list[Telling | None] = field(default_factory=list)

    def build(
        self,
        request: BuildRequest,
        reporter: Reporter,
        known: Known | None = None,
        held: Held | None = None,
        telling: Telling | None = None,
    ) -> Outcome:
        self.requests.append(request)
        self.told.append(telling)
        self.held.append(held)
        self.known.append(known)
        return self.on_build(request, reporter)

    def detect(self, request: BuildRequest, reporter: Reporter, held: Held | None = None, **order: Any) -> Answer:
        self.requests.append(request)
        self.held.append(held)
        self.orders.append(order)
        return self.on_detect(request)

    def plan(self, request: BuildRequest, reporter: Reporter, kept: Record) -> Outline:
        self.requests.append(request)
        self.records.append(kept)
        return self.on_plan(request)

    def develop(self, request: BuildRequest, wish: Wish, shown: Shown, held: Held | None = None) -> None:
        self.requests.append(request)
        self.held.append(held)
        self.wishes.append(wish)
        self.on_develop(shown)

    def store(self) -> FakeStore:
        return self.images

    def run_app(self, image_name: str, **wishes: Any) -> int:
        self.runs.append((image_name, wishes))
        return self.on_run()

    def prune(self, *, everything: bool, dry_run: bool) -> Sequence[Pruned]:
        self.prunes.append((everything, dry_run))
        return self.prunable


def services(fake: FakeServices) -> Services:
    return cast("Services", fake)


def call(*argv: str, fake: FakeServices | None = None, known: Known | None = None) -> int:
    from packrunner.cli import main

    return main(argv, known, services=services(fake or FakeServices()))


def script(code: str) -> list[str]:
    """The command of a real process that runs `code`, with main, FakeServices and friends imported."""
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    head = (
        f"import sys, time, os; sys.path.insert(0, {root!r})\n"
        "from tests.unit.cli.cli_fakes import *\n"
        "from packrunner.cli import main\n"
        "from packrunner import events\n"
        "from packrunner.errors import *\n"
    )
    return [sys.executable, "-c", head + code]


def process(code: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start `code` as a process, with the variables that Python knows: libraries set COLUMNS behind its back."""
    return subprocess.Popen(script(code), **{"env": dict(os.environ), **options})
