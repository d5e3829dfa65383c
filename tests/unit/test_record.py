"""Records: what makes "nothing changed" true, and everything that makes it doubtful."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from packrunner import paths, record

if TYPE_CHECKING:
    from pathlib import Path

LATER = 10**18
"""A moment long after everything was written, so that no entry is too new."""


def facts(**more: Any) -> dict[str, Any]:
    return {"environment": "", "environment_names": [], "skip": [], "settings": [1], "outputs": [], **more}


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").write_text("1")
    (tmp_path / "settings").write_text("a")
    return [str(tmp_path / "app"), str(tmp_path / "settings"), str(tmp_path / "absent")]


def scan(inputs: list[str]) -> record.Scan:
    return record.Scan(inputs, app_skip=frozenset())


def test_what_was_saved_is_loaded(inputs: list[str]) -> None:
    saved = record.Record("/somewhere", ["build", "x"])
    saved.save(facts(), scan(inputs))
    loaded = record.Record("/somewhere", ["build", "x"])
    assert loaded.load()
    assert loaded.tables() == scan(inputs).joined
    assert loaded.app_table() == scan(inputs).tables[0]


@pytest.mark.parametrize(("directory", "argv"), [("/elsewhere", ["build", "x"]), ("/somewhere", ["build", "y"])])
def test_other_arguments_or_directories_have_other_records(inputs: list[str], directory: str, argv: list[str]) -> None:
    record.Record("/somewhere", ["build", "x"]).save(facts(), scan(inputs))
    assert not record.Record(directory, argv).load()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 0}'])
def test_a_damaged_record_means_build(inputs: list[str], damage: bytes) -> None:
    saved = record.Record("/somewhere", ["build"])
    saved.save(facts(), scan(inputs))
    folder = os.path.join(paths.state_dir(), "records")
    (name,) = [n for n in os.listdir(folder) if n.endswith(".json")]
    with open(os.path.join(folder, name), "wb") as file:
        file.write(damage)
    assert not record.Record("/somewhere", ["build"]).load()


def test_a_changed_setting_is_told_from_a_changed_source(inputs: list[str]) -> None:
    saved = record.Record("/somewhere", ["build"])
    saved.save(facts(), scan(inputs))
    assert saved.load()
    with open(os.path.join(inputs[0], "file"), "a") as file:
        file.write("2")
    assert saved.settings_equal(scan(inputs))
    with open(inputs[1], "a") as file:
        file.write("b")
    assert not saved.settings_equal(scan(inputs))


def test_a_file_that_appears_is_a_change(inputs: list[str]) -> None:
    before = scan(inputs).joined
    with open(inputs[2], "w") as file:
        file.write("x")
    assert scan(inputs).joined != before


def test_an_entry_as_new_as_the_scan_is_not_settled(inputs: list[str]) -> None:
    fresh = scan(inputs)
    assert not fresh.settled
    time.sleep(0.05)
    assert scan(inputs).settled


def test_a_file_that_is_only_ever_replaced_may_be_new(inputs: list[str]) -> None:
    time.sleep(0.05)
    began = time.time_ns()
    with open(inputs[1], "w") as file:
        file.write("new")
    assert not record.Scan(inputs, app_skip=frozenset(), began_ns=began).settled
    assert record.Scan(inputs, app_skip=frozenset(), began_ns=began, replaced=frozenset({inputs[1]})).settled


def test_secret_values_are_not_in_the_record(inputs: list[str]) -> None:
    environ = {"TOKEN": "s3cret-value", "CNB_EXEC_ENV": "s3cret-value"}
    digest = record.environment_digest(environ, ["TOKEN"])
    saved = record.Record("/somewhere", ["build"])
    saved.save(facts(environment=digest), scan(inputs))
    folder = os.path.join(paths.state_dir(), "records")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            assert b"s3cret-value" not in file.read()
    assert digest != record.environment_digest({**environ, "TOKEN": "other"}, ["TOKEN"])
    assert digest == record.environment_digest({**environ, "UNRELATED": "other"}, ["TOKEN"])


def test_an_image_counts_only_with_its_name_and_every_blob(inputs: list[str], tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"12345")
    entry = {"digest": "sha256:1", "annotations": {"org.opencontainers.image.ref.name": "shop:latest"}}
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"manifests": [entry]}))
    image = {"index": str(index), "names": {"shop:latest": "sha256:1"}, "blobs": [[str(tmp_path / "blob"), 5]]}
    saved = record.Record("/somewhere", ["build"])
    saved.save(facts(image=image), scan(inputs))
    assert saved.load()
    assert saved.image_present()
    (tmp_path / "blob").write_bytes(b"1")
    assert not saved.image_present()
    (tmp_path / "blob").write_bytes(b"12345")
    index.write_text(json.dumps({"manifests": [{**entry, "digest": "sha256:2"}]}))
    assert not saved.image_present()
    index.write_text("torn")
    assert not saved.image_present()


def test_an_output_counts_only_as_it_was_left(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    out.write_text("image")
    saved = record.Record("/somewhere", ["build"])
    saved.save(facts(outputs=[[str(out), record.output_digest(str(out))]]), scan(inputs))
    assert saved.load()
    assert saved.outputs_present()
    out.write_text("other")
    assert not saved.outputs_present()
    out.unlink()
    assert not saved.outputs_present()
