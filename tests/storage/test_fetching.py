"""Builders that are images, carried to another machine's store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner import paths
from packrunner.cli import main
from packrunner.images.store import LocalStore
from tests import builders
from tests.builders import MIRROR, RUN_IMAGE

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
THEIRS = "registry.example.com/acme/builder:2"


def store() -> LocalStore:
    return LocalStore(os.path.join(paths.data_dir(), "store"))


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packrunner.cli.wiring.places.architecture", lambda: "amd64")
    monkeypatch.setenv("PACKRUNNER_OFFLINE", "1")


def another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path / "another"))


@pytest.mark.fault("NET-01")
@pytest.mark.parametrize("run_image", [RUN_IMAGE, MIRROR])
def test_a_builder_and_its_run_image(
    run_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    here = store()
    image = builders.paketo_like(here, builders.tiny_base(here))
    run = builders.tiny_base(here, of="run")
    here.write(image, [THEIRS])
    here.write(run, [run_image])
    usb = str(tmp_path / "usb")
    assert main(("builder", "fetch", THEIRS, "--to", usb)) == 0
    assert capsys.readouterr().out.split() == [THEIRS, RUN_IMAGE]
    another_machine(tmp_path, monkeypatch)
    assert main(("builder", "fetch", "--from", usb)) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted([THEIRS, RUN_IMAGE])
    for name, wanted in ((THEIRS, image), (RUN_IMAGE, run)):
        found = store().read(name)
        assert found is not None
        assert found.digest == wanted.digest
        assert all(store().has(layer.blob.digest, layer.blob.size) for layer in found.image.layers)
    assert main(("builder", "inspect", THEIRS)) == 0


@pytest.mark.fault("NET-02")
def test_without_any_of_its_run_images_a_builder_is_no_use(tmp_path: Path, capsys: Capture) -> None:
    here = store()
    here.write(builders.paketo_like(here, builders.tiny_base(here)), [THEIRS])
    usb = tmp_path / "usb"
    assert main(("builder", "fetch", THEIRS, "--to", str(usb))) == 14
    assert "error[offline]: registry.example.com" in capsys.readouterr().err
    assert not (usb / "packrunner.json").exists(), "it was not finished"
    assert main(("builder", "fetch", "--from", str(usb))) == 2


def test_a_file_needs_no_fetching(tmp_path: Path, capsys: Capture) -> None:
    assert main(("builder", "fetch", f"oci:{tmp_path}/builder", "--to", str(tmp_path / "usb"))) == 2
    assert "can be carried as it is" in " ".join(capsys.readouterr().err.split())


@pytest.mark.fault("STO-13")
def test_a_damaged_layer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    here = store()
    image = builders.paketo_like(here, builders.tiny_base(here))
    here.write(image, [THEIRS])
    here.write(builders.tiny_base(here, of="run"), [RUN_IMAGE])
    usb = tmp_path / "usb"
    assert main(("builder", "fetch", THEIRS, "--to", str(usb))) == 0
    blob = usb / "images/blobs/sha256" / image.layers[-1].blob.digest.hex
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    another_machine(tmp_path, monkeypatch)
    capsys.readouterr()
    assert main(("builder", "fetch", "--from", str(usb))) == 15
    assert store().read(THEIRS) is None
