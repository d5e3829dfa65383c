"""`packrunner builder inspect`: a builder as its labels and files describe it; nothing of it is run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from packrunner import paths
from packrunner.cli import main
from packrunner.images.layout_write import write_layout
from packrunner.images.store import LocalStore
from tests import builders

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

PAGE = """\
  about       a builder for tests
  made by     Pack CLI 0.36.0
  builds as   1002:1003
  lifecycle   0.20.4, used at Platform API 0.13
  stack       io.buildpacks.stacks.noble
  run images  registry.example.com/acme/run:1, or mirror.example.com/acme/run:1
  buildpacks  paketo-like/ca-certificates 3.9.0
              paketo-like/cpython 1.13.1
              paketo-like/python 2.20.0
  order       paketo-like/python@2.20.0
  more        builder inspect --json
"""


@pytest.fixture
def store() -> LocalStore:
    return LocalStore(os.path.join(paths.data_dir(), "store"))


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packrunner.cli.wiring.places.architecture", lambda: "amd64")


@pytest.mark.cnb("IMG-09")
def test_the_page_says_what_the_labels_say(store: LocalStore, capsys: Capture) -> None:
    image = builders.paketo_like(store, builders.tiny_base(store))
    store.write(image, ["theirs"])
    assert main(("builder", "inspect", "theirs")) == 0
    out = capsys.readouterr().out
    assert out == f"theirs@{image.digest.short}   linux/amd64 ubuntu 24.04\n\n{PAGE}"


@pytest.mark.cnb("IMG-07", "IMG-10")
def test_a_layout_without_labels_is_read_from_its_files(
    store: LocalStore, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = builders.heroku_like(store, builders.tiny_base(store))
    bare = image.with_labels(dict.fromkeys(image.labels, ""))
    write_layout(str(tmp_path / "out"), bare, store, "latest")
    monkeypatch.chdir(tmp_path)
    assert main(("builder", "inspect", "oci:out", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "packrunner.builder/1"
    assert found["builder"] == f"oci:{tmp_path / 'out'}"
    assert found["user"] == {"uid": 1002, "gid": 1003}
    assert found["run_images"] == [{"image": builders.RUN_IMAGE, "mirrors": [builders.MIRROR]}]
    assert found["buildpacks"] == [
        {"id": "heroku-like/always", "version": "1.0.0"},
        {"id": "heroku-like/say", "version": "1.0.0"},
    ]
    assert found["order"] == [[{"id": "heroku-like/say", "version": "", "optional": False}]]
    assert found["platform_api"] == "0.15"


def test_what_is_no_builder_is_said(store: LocalStore, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_PULL_POLICY", "never")
    store.write(builders.tiny_base(store), ["plain"])
    assert main(("builder", "inspect", "plain")) == 2
    assert "error[not-a-builder]: plain is not a builder" in capsys.readouterr().err
    assert main(("builder", "inspect", "gone")) == 2
    assert "error[unknown-builder]" in capsys.readouterr().err


def test_only_our_own_bases_are_updated_here(store: LocalStore, capsys: Capture) -> None:
    store.write(builders.paketo_like(store, builders.tiny_base(store)), ["theirs"])
    assert main(("builder", "update", "theirs")) == 2
    err = capsys.readouterr().err
    assert "come from its authors" in err
    assert "packrunner builder update theirs --config builder.toml" in " ".join(err.split())


RECIPE = {
    "suite": "debian:13",
    "lock": "sha256:0123456789ab" + "0" * 52,
    "build": {"variant": "build", "packages": ["libpq-dev"]},
    "run": [{"image": "acme/run:1", "variant": "base", "packages": ["libpq5"], "exclude": ["tzdata"]}],
    "packages": {"build": 171, "run-1": 36},
    "later": "what a newer packrunner says",
}


def test_a_recipe_and_its_lock_are_shown(store: LocalStore, capsys: Capture) -> None:
    image = builders.paketo_like(store, builders.tiny_base(store))
    store.write(image.with_labels({"io.packrunner.recipe": json.dumps(RECIPE)}), ["ours"])
    assert main(("builder", "inspect", "ours")) == 0
    assert (
        """\
  recipe      build: debian:13 with libpq-dev
              acme/run:1: base of debian:13 with libpq5 without tzdata
  lock        0123456789ab
              packages: 171 in build, 36 in run-1
"""
        in capsys.readouterr().out
    )
    assert main(("builder", "inspect", "ours", "--json")) == 0
    found = json.loads(capsys.readouterr().out)["recipe"]
    assert (found["lock"], found["run"][0]["packages"]) == (RECIPE["lock"], ["libpq5"])


@pytest.mark.parametrize("text", ["{", "[]", '{"suite": 3}', "[" * 9000])
def test_a_recipe_that_cannot_be_read_is_refused(store: LocalStore, capsys: Capture, text: str) -> None:
    image = builders.paketo_like(store, builders.tiny_base(store))
    store.write(image.with_labels({"io.packrunner.recipe": text}), ["ours"])
    assert main(("builder", "inspect", "ours")) == 2
    assert "error[not-a-builder]: ours has a label that cannot be read" in capsys.readouterr().err
