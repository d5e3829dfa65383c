"""A builder in a registry is described by its labels: no layer is fetched, unless labels leave something out."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from packrunner import paths
from packrunner.cli import main
from packrunner.images.store import LocalStore
from tests import builders
from tests.real_registry import real_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real_registry import RealRegistry

pytestmark = pytest.mark.registry
Capture = pytest.CaptureFixture[str]
DISTRO = {"io.buildpacks.base.distro.name": "ubuntu", "io.buildpacks.base.distro.version": "24.04"}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealRegistry]:
    monkeypatch.setattr("packrunner.cli.wiring.places.architecture", lambda: "amd64")
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as service:
        yield service


@pytest.mark.cnb("IMG-09", "IMG-10")
@pytest.mark.parametrize("told", [True, False])
def test_no_layer_is_fetched_where_labels_say_all(
    registry: RealRegistry, tmp_path: Path, capsys: Capture, told: bool
) -> None:
    store = LocalStore(os.path.join(paths.data_dir(), "store"))
    image = builders.paketo_like(store, builders.tiny_base(store, **(DISTRO if told else {})))
    name = f"{registry.host}/theirs/builder:1"
    store.write(image, [name])
    assert main(("push", name)) == 0
    assert main(("builder", "inspect", name, "--json")) == 0
    capsys.readouterr()
    here = inspected(name, capsys)
    store.remove(name)
    registry.asked()
    there = inspected(name, capsys)
    assert {**there, "digest": ""} == {**here, "digest": ""}
    blobs = {asked.path for asked in registry.asked() if asked.method == "GET" and "/blobs/" in asked.path}
    assert len(blobs) == 1 + (0 if told else len(image.layers)), "the configuration, which has the labels"
    assert bool(store.read(name)) is not told


def inspected(name: str, capsys: Capture) -> dict[str, object]:
    assert main(("builder", "inspect", name, "--json")) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found
