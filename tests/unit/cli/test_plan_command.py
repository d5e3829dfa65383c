"""`packrunner plan`: the page, the document, and that it asks about the build with the same arguments."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import pytest

from packrunner import record
from packrunner.cli import app, comparing, plan_page
from packrunner.config import Config
from packrunner.console.redact import Redactor
from packrunner.console.terminal import Terminal
from packrunner.images.store import LocalStore
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.outline import (
    Cached,
    Candidate,
    Change,
    Changes,
    Group,
    Left,
    Outline,
    Pinned,
    Source,
)
from packrunner.lifecycle.request import merge
from packrunner.lifecycle.settings import Output, Setting
from tests.unit.cli.cli_fakes import FakeServices, call, digest

Capture = pytest.CaptureFixture[str]


def source(identity: str, origin: Any, place: str, content: str | None, **more: Any) -> Source:
    return Source(kind="buildpack", id=identity, version="1.0.0", origin=origin, place=place, digest=content, **more)


def found(**changes: Any) -> Outline:
    values: dict[str, Any] = {
        "name": "shop",
        "source": os.getcwd(),
        "engine": "sandbox",
        "exec_env": "production",
        "platform": "linux/amd64",
        "settings": (
            Setting(name="builder", value="debian:13"),
            Setting(name="clear-cache", value=True, origin="flag"),
            Setting(name="output", value=("oci:/a", "oci:/b"), origin="config"),
        ),
        "variables": (Setting(name="BP_X", origin="project.toml"),),
        "builder": Pinned(name="debian:13", digest=digest("1")),
        "run_image": Pinned(name="debian:13-python", digest=digest("2")),
        "groups": (
            Group(
                number=1,
                members=(
                    Candidate(id="acme/zone", version="0.1.0", optional=True, extension=True),
                    Candidate(id="acme/env", version="1.0.0", optional=True, system=True),
                    Candidate(id="acme/python", version="1.0.0"),
                ),
                skipped=(Left(id="acme/reload", version="1.0.0", why="for development only"),),
            ),
        ),
        "more_groups": False,
        "sources": (
            source("acme/env", "built-in", "/builtin/env", digest("3")),
            source("acme/python", "directory", os.path.join(os.getcwd(), "bp"), digest("4")),
            source("acme/reload", "inline", "/stage", digest("5")),
            source("acme/zone", "builder", "acme/builder:/cnb/extensions/acme_zone/1.0.0", None),
        ),
        "previous": Pinned(name="shop", digest=digest("6")),
        "caches": (
            Cached(
                buildpack="acme/python",
                layer="deps",
                action="kept",
                origin="the workspace",
                reason="",
                diff_id=digest("7"),
            ),
            Cached(
                buildpack="acme/python", layer="tool", action="unpacked", origin="the store", reason="", diff_id="x"
            ),
            Cached(
                buildpack="acme/python",
                layer="uv",
                action="kept",
                origin="the workspace",
                reason="",
                diff_id=digest("8"),
            ),
            Cached(
                buildpack="acme/gone",
                layer="old",
                action="dropped",
                origin="",
                reason="the cache was cleared",
                diff_id="",
            ),
        ),
        "changes": Changes(),
        "outputs": (Output(kind="store", place="shop"), Output(kind="file", place="oci:/a")),
    }
    return Outline(**values | changes)


def page(outline: Outline, width: int = 100) -> list[str]:
    return plan_page.page(outline, Terminal(table_width=width), str)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def test_the_page(here: Path) -> None:
    assert page(found()) == [
        "shop from . with debian:13, engine sandbox: the buildpacks run, as no build with these arguments is",
        "  known",
        "",
        "  builder   debian:13                                                       111111111111",
        "  run on    debian:13-python    linux/amd64                                 222222222222",
        "  settings  clear-cache         yes                                                 flag",
        "            output              oci:/a, oci:/b                                    config",
        "  variables BP_X                (hidden)                                    project.toml",
        "  group 1   python              zone 0.1.0 (extension), env 1.0.0 (optional, always),",
        "                                python 1.0.0",
        "  left out  reload 1.0.0        for development only",
        "  from      env 1.0.0           built in                                    333333333333",
        "            python 1.0.0        directory bp                                444444444444",
        "            reload 1.0.0        project.toml, its script                    555555555555",
        "            zone 1.0.0          builder acme/builder:/cnb/extensions/acme_zone/1.0.0",
        "  reuses    shop                the image of the last build                 666666666666",
        "  layers    python              deps, uv: kept",
        "            python              tool: unpacked from the store",
        "            acme/gone           old: not used (the cache was cleared)",
        "  goes to   store               shop",
        "            file                oci:/a",
        "",
        "More: packrunner plan --json, and packrunner detect --explain for what detection would choose",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_terminal(here: Path, width: int) -> None:
    # What can be pasted is never broken: the place of a buildpack in a builder.
    assert [line for line in page(found(), width) if len(line) > width and "acme/builder:" not in line] == []


@pytest.mark.fault("PRO-07")
@pytest.mark.parametrize("width", [1, 20, 40])
def test_a_terminal_may_be_as_narrow_as_it_likes(here: Path, width: int) -> None:
    assert {"builder", "run on"} <= {line[2:12].strip() for line in page(found(), width)}


THEN = time.mktime((2025, 11, 26, 14, 2, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("changes", "verdict", "rows"),
    [
        ((), "nothing has changed since 2025-11-26 14:02, so the image is kept", []),
        (
            (Change(what="source", where="/src", paths=("a.py", "b.py", "c.py"), total=9),),
            "the buildpacks run, as since 2025-11-26 14:02 this has changed: a.py, b.py and 7 more",
            ["  changed   source              a.py, b.py and 7 more"],
        ),
        (
            (Change(what="asked", where="--rebuild"), Change(what="buildpack", where="/bp", paths=("bin/x",), total=1)),
            "the buildpacks run, as --rebuild asks for it",
            ["  changed   --rebuild           was asked for", "            buildpack           bin/x in /bp"],
        ),
        (
            (Change(what="image", where="debian:13"), Change(what="image"), Change(what="environment")),
            "the buildpacks run, as since 2025-11-26 14:02 this has changed: debian:13, image, environment",
            [
                "  changed   image               debian:13 means another image",
                "            image               it is not whole in the store",
                "            environment         a variable that packrunner looks at",
            ],
        ),
    ],
)
def test_the_verdict_says_whether_and_why(
    here: Path, changes: tuple[Change, ...], verdict: str, rows: list[str]
) -> None:
    lines = page(found(changes=Changes(since=THEN, changes=changes)))
    head = " ".join(line.strip() for line in lines[: lines.index("")])
    assert head == f"shop from . with debian:13, engine sandbox: {verdict}"
    assert lines[lines.index("") + 1 :][: len(rows)] == rows


def test_the_document_has_every_part_and_no_secret(here: Path, capsys: Capture) -> None:
    settings = (Setting(name="builder", value="https://me:hunter2@example.com"),)
    fake = FakeServices(on_plan=lambda request: found(settings=settings, changes=Changes(since=1.5)))
    assert call("plan", "shop", "--json", fake=fake) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert document["schema"] == "packrunner.plan/1"
    assert document["changes"] == {"since": 1.5, "changes": [], "unchanged": True}
    assert document["groups"][0]["members"][0] == {
        "id": "acme/zone",
        "version": "0.1.0",
        "optional": True,
        "extension": True,
        "system": False,
    }
    assert [one["from"] for one in document["sources"]] == ["built-in", "directory", "inline", "builder"]
    assert [one["from"] for one in document["caches"]][:2] == ["the workspace", "the store"]
    assert "hunter2" not in out


def test_it_asks_about_the_build_with_the_same_arguments(here: Path, capsys: Capture) -> None:
    fake = FakeServices(on_plan=lambda request: found())
    words = ("shop", "-b", "python", "-e", "A=1", "--clear-cache", "-t", "shop:2")
    assert call("plan", "--json", *words, fake=fake) == 0
    (kept,) = fake.records
    built = record.Record(str(here), ["build", *words])
    scan = record.Scan([str(here)], app_skip=frozenset())
    built.save({"environment": "", "marker": 1}, scan)
    assert kept.load()
    assert kept.facts["marker"] == 1
    assert call("build", *words, fake=fake) == 0
    planned, asked = fake.requests
    assert planned == asked


def test_it_takes_what_build_takes() -> None:
    def options(name: str) -> dict[str, list[str]]:
        return {p.name or "": p.opts for p in app.load(name).params}

    assert {k: v for k, v in options("plan").items() if k != "json"} == options("build")


def test_its_help_is_its_own(capsys: Capture) -> None:
    assert call("plan", "--help") == 0
    out = capsys.readouterr().out
    assert "No buildpack runs." in " ".join(out.split())
    assert "Build an image" not in out
    assert isinstance(app.load("build"), click.Command)
    assert call("build", "--help") == 0
    assert "--json" not in capsys.readouterr().out


class Place:
    """An application, a setting and an output, as the last build left them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app, self.file, self.out = root / "app", root / "project.toml", root / "out.tar"
        (self.app / "below").mkdir(parents=True)
        (self.app / "below/page").write_text("1")
        self.file.write_text("a = 1")
        self.out.write_text("image")
        self.inputs = [str(self.app), str(self.file), str(root / "tool")]
        self.store = LocalStore(str(root / "store"))
        self.kept = record.Record(str(root), ["build"])

    def build(self, **facts: Any) -> None:
        self.kept.save(
            {
                "environment": record.environment_digest(os.environ, ()),
                "environment_names": [],
                "skip": [],
                "settings": [1],
                "always": False,
                "image": {"index": self.store.index_path, "names": {}, "blobs": []},
                "outputs": [[str(self.out), record.output_digest(str(self.out))]],
                "when": THEN,
                **facts,
            },
            record.Scan(self.inputs, app_skip=frozenset()),
        )

    def changes(self, **flags: Any) -> list[tuple[str, str, tuple[str, ...]]]:
        kept = record.Record(str(self.root), ["build"])
        request = merge(Flags(cwd="/src", image="shop", **flags), {}, None, Config())
        changes = comparing.changes(kept, request, {str(self.root / "tool"): "buildpack"}, self.store)
        assert changes.since == THEN
        return [(one.what, one.where.removeprefix(f"{self.root}/"), one.paths) for one in changes.changes]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    os.makedirs(os.path.dirname(made.store.index_path), exist_ok=True)
    Path(made.store.index_path).write_text('{"schemaVersion": 2, "manifests": []}')
    return made


def test_nothing_is_compared_without_a_build(place: Place) -> None:
    request = merge(Flags(cwd="/src", image="shop"), {}, None, Config())
    assert comparing.changes(place.kept, request, {}, place.store).since is None


def test_nothing_changed(place: Place) -> None:
    place.build()
    assert place.changes() == []


def test_every_kind_of_change_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.build(
        environment=record.environment_digest({}, ()),
        image={"index": place.store.index_path, "names": {"shop:latest": digest("1")}, "blobs": []},
    )
    monkeypatch.setenv("PACKRUNNER_NETWORK", "none")
    (place.app / "below/page").write_text("22")
    (place.app / "new").write_text("")
    place.file.write_text("a = 2")
    (place.root / "tool").mkdir()
    place.out.unlink()
    assert place.changes(rebuild=True) == [
        ("asked", "--rebuild", ()),
        ("environment", "", ()),
        ("source", "app", ("below/page", "new")),
        ("setting", "project.toml", ()),
        ("buildpack", "tool", ()),
        ("image", "shop:latest", ()),
        ("output", "out.tar", ()),
    ]


def test_an_image_that_is_not_whole_has_changed(place: Place) -> None:
    place.build(image={"index": place.store.index_path, "names": {}, "blobs": [[str(place.root / "blob"), 3]]})
    assert place.changes() == [("image", "", ())]


def test_what_changes_unseen_is_said_where_nothing_else_is(place: Place) -> None:
    place.build(always=True)
    assert place.changes() == [("unseen", "", ())]
    assert place.changes(clear_cache=True) == [("asked", "--clear-cache", ())]


def test_a_redactor_reaches_every_text(here: Path) -> None:
    hiding = Redactor.of({}).knowing(["hunter2"])
    outline = found(settings=(Setting(name="builder", value="hunter2", origin="flag"),))
    assert not any("hunter2" in line for line in plan_page.page(outline, Terminal(table_width=100), hiding))
