"""The extended run image as the extender leaves it for the exporter, and what it is worth after buildpacks ran."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import PackrunnerError
from packrunner.images.image import Image, Layer
from packrunner.images.store import LocalStore
from packrunner.lifecycle import extended_layout
from packrunner.lifecycle.extend import ExtendResult

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """A run image of one layer, extended by another, written to a layout."""

    def __init__(self, place: Path) -> None:
        self.store = LocalStore(str(place / "store"))
        self.below = Image(user="1000", layers=(self.layer(b"below"),))
        new = self.layer(b"new")
        self.image = self.below.with_env("A", "1").with_layers(new)
        self.extended = place / "extended"
        self.extended.mkdir()
        done = ExtendResult(image=self.image, layers=(new,), repeatable=True)
        self.layout = Path(extended_layout.write(done, str(self.extended), self.store))
        self.new = new

    def layer(self, data: bytes) -> Layer:
        blob = self.store.add(data)
        return Layer(diff_id=blob.digest, blob=blob)

    def read(self, place: Path) -> Image | None:
        return extended_layout.read(str(self.extended), self.below, LocalStore(str(place / "other")))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.cnb("EXT-15")
def test_the_layout_has_manifest_config_and_the_new_layers_only(world: World) -> None:
    assert world.layout == world.extended / "run" / str(world.image.digest)
    blobs = {world.image.digest.hex, world.image.config.digest.hex, world.new.blob.digest.hex}
    assert set(os.listdir(world.layout / "blobs" / "sha256")) == blobs
    assert json.loads((world.layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (manifest,) = json.loads((world.layout / "index.json").read_text())["manifests"]
    assert manifest["digest"] == world.image.digest


@pytest.mark.cnb("EXT-15")
def test_what_was_written_is_read_again(world: World, tmp_path: Path) -> None:
    image = world.read(tmp_path)
    assert image is not None
    assert image.digest == world.image.digest
    assert LocalStore(str(tmp_path / "other")).has(world.new.blob.digest)
    shutil.rmtree(world.extended / "run")
    assert world.read(tmp_path) is None


def _edit(layout: Path, digest: str) -> None:
    """Something that reads as well as before, and is something else."""
    path = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    data = path.read_bytes()
    changed = data.replace(b"A=1", b"A=2") if b"A=1" in data else b"old" if data == b"new" else data + b" "
    path.write_bytes(changed)


@pytest.mark.cnb("EXT-15")
@pytest.mark.fault("SBX-01", "SBX-07")
@pytest.mark.parametrize(
    "harm",
    [
        lambda w: _edit(w.layout, w.image.digest),
        lambda w: _edit(w.layout, w.image.config.digest),
        lambda w: _edit(w.layout, w.new.blob.digest),
        lambda w: (w.layout / "blobs" / "sha256" / w.new.blob.digest.hex).unlink(),
        lambda w: os.rename(w.layout, w.layout.parent / "sha256:no-digest"),
        lambda w: setattr(w, "below", Image(layers=(w.layer(b"another"),))),
    ],
)
def test_what_a_buildpack_changed_there_is_refused(
    world: World, tmp_path: Path, harm: Callable[[World], object]
) -> None:
    harm(world)
    with pytest.raises(PackrunnerError):
        world.read(tmp_path)


@pytest.mark.fault("SBX-01")
def test_a_link_in_the_place_of_a_layer_is_not_followed(world: World, tmp_path: Path) -> None:
    path = world.layout / "blobs" / "sha256" / world.new.blob.digest.hex
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackrunnerError) as caught:
        world.read(tmp_path)
    assert caught.value.slug == "unsafe-tree"
