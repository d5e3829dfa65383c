"""Builders are suggested by the names of an application's files; nothing is run, and nobody asked."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from packrunner import paths
from packrunner.bases.recipes import SUITES
from packrunner.catalog import suggest
from packrunner.cli import main
from packrunner.images.store import LocalStore
from packrunner.names import ImageName
from tests import builders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("names", "languages", "first"),
    [
        (["requirements.txt", "app.py"], ["Python"], "debian:13"),
        (["package.json", "Procfile"], ["Node.js", "Procfile"], "gcr.io/buildpacks/builder:google-22"),
        (["Procfile"], ["Procfile"], "debian:13"),
        (["shop.csproj"], [".NET"], "gcr.io/buildpacks/builder:google-22"),
        (["pubspec.yaml"], ["Dart"], "gcr.io/buildpacks/builder:google-22"),
        (["build.sbt"], ["Scala"], "heroku/builder:24"),
        (["package.json", "requirements.txt"], ["Python", "Node.js"], "gcr.io/buildpacks/builder:google-22"),
        (["Cargo.toml"], ["Rust"], "debian:13"),
        ([], [], "debian:13"),
        (["requirements.txt.bak", "node_modules"], [], "debian:13"),
    ],
)
def test_files_tell_the_language_and_that_the_builder(names: Sequence[str], languages: list[str], first: str) -> None:
    found = suggest.languages(names)
    assert [one.language for one in found] == languages
    listed = suggest.suggest(found)
    assert listed[0].builder.name == first
    assert {one.builder.name for one in listed} == {known.name for known in suggest.KNOWN}, "nothing is left out"


def test_what_is_known_is_true_of_what_is_ours(repository: Path) -> None:
    own = [one for one in suggest.KNOWN if one.vendor == suggest.OWN]
    assert [one.name for one in own] == [suite.reference for suite in SUITES]
    there = {entry.name for entry in (repository / "buildpacks").iterdir() if entry.is_dir()}
    languages = {name.lower() for one in own for name in one.languages}
    assert languages == there - {"environment-variables", "live-reload"}, "buildpacks that begin no application"
    for one in suggest.KNOWN:
        if one.vendor != suggest.OWN:
            assert ImageName.parse(one.name)
        assert one.languages or one.about, one.name


def test_the_page_and_the_document(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(os.path.join(paths.data_dir(), "store"))
    store.write(builders.paketo_like(store, builders.tiny_base(store)), ["acme/own"])
    broken = builders.tiny_base(store).with_labels({"io.buildpacks.builder.metadata": "{"})
    store.write(broken, ["acme/broken"])
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/go.mod").write_text("module shop")
    monkeypatch.chdir(tmp_path)
    assert main(("builder", "suggest", "-p", "shop")) == 0
    out, err = capsys.readouterr()
    first, blank, *rows = out.splitlines()
    assert (first, blank) == ("This looks like Go (go.mod).", "")
    assert rows[0].startswith("* gcr.io/buildpacks/builder:google-22")
    assert any(row.startswith("  acme/own:latest") and row.endswith("a builder for tests") for row in rows)
    assert "acme/broken" not in out
    assert out.index("debian:13") < out.index("acme/own:latest"), "packrunner's own before what fits as little"
    assert "packrunner config builder gcr.io/buildpacks/builder:google-22" in " ".join(err.split())
    assert main(("builder", "suggest", "--path", "shop", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "packrunner.builder-suggestions/1"
    assert found["languages"] == [{"language": "Go", "files": ["go.mod"]}]
    by_name = {one["builder"]: one for one in found["builders"]}
    assert by_name["heroku/builder:24"]["fits"] == ["Go"]
    assert by_name["acme/own:latest"]["here"] is True


def test_a_directory_that_is_none_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert main(("builder", "suggest", "-p", str(tmp_path / "gone"))) == 2
    assert "error[no-such-path]: there is no directory" in capsys.readouterr().err
