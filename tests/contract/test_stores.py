"""What every place for images promises: this machine's store, layouts, archives, a registry, a Docker engine."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from packrunner.errors import CorruptError, UsageError
from packrunner.images.compress import Compressor
from packrunner.images.daemon import Daemon
from packrunner.images.dockerd import Dockerd, find_host
from packrunner.images.image import Image
from packrunner.images.layer import Dir, File, write_layer
from packrunner.images.manifest import LAYER_ZSTD
from packrunner.images.registry.credentials import Anonymous
from packrunner.images.registry.registry import Registry
from packrunner.images.registry.settings import RegistrySettings
from packrunner.images.store import LocalStore
from packrunner.images.transfer import Kind, Locator, read_image, write_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packrunner.images.layer import Part


class Place(Protocol):
    """Somewhere images are kept by name."""

    keeps_manifest: bool
    """Whether an image has the same digest there; else its layers are stored in another form, and its id stays."""

    def write(self, image: Image, store: LocalStore) -> None:
        """Put it there."""

    def read(self, store: LocalStore) -> Image:
        """The image that is there, its blobs in `store`. Raises UsageError (`unknown-image`)."""


@dataclass
class ByLocator:
    locator: Locator
    keeps_manifest: bool = True

    def write(self, image: Image, store: LocalStore) -> None:
        write_output(self.locator, image, store, "shop")

    def read(self, store: LocalStore) -> Image:
        return read_image(self.locator, store)


@dataclass
class OwnStore:
    store: LocalStore
    keeps_manifest: bool = True

    def write(self, image: Image, store: LocalStore) -> None:
        for layer in image.layers:
            with store.open(layer.blob.digest) as stream, self.store.new_blob() as blob:
                while data := stream.read(1 << 20):
                    blob.write(data)
                blob.commit()
        self.store.write(image, ["shop"])

    def read(self, store: LocalStore) -> Image:
        image = read_image(Locator(kind="store", path="shop"), self.store)
        for layer in image.layers:
            with self.store.open(layer.blob.digest) as stream, store.new_blob() as blob:
                while data := stream.read(1 << 20):
                    blob.write(data)
                blob.commit()
        return image


@dataclass
class InRegistry:
    registry: Registry
    name: str
    keeps_manifest: bool = False

    def write(self, image: Image, store: LocalStore) -> None:
        self.registry.push(image, [self.name], store)

    def read(self, store: LocalStore) -> Image:
        return self.registry.pull(self.name, store)


@dataclass
class InEngine:
    daemon: Daemon
    name: str
    keeps_manifest: bool = False

    def write(self, image: Image, store: LocalStore) -> None:
        self.daemon.load(image, [self.name], store)

    def read(self, store: LocalStore) -> Image:
        image = self.daemon.read(self.name, store)
        if image is None:
            raise UsageError("the engine has no such image", slug="unknown-image")
        return image


LOCATORS: dict[str, Kind] = {"layout": "oci", "oci archive": "oci-archive", "docker archive": "docker-archive"}


@pytest.fixture(
    params=[
        "store",
        *LOCATORS,
        pytest.param("registry", marks=pytest.mark.registry),
        pytest.param("engine", marks=pytest.mark.docker),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    unique = f"contract/{os.urandom(6).hex()}"
    match request.param:
        case "store":
            yield OwnStore(LocalStore(str(tmp_path / "own")))
        case "registry":
            service = request.getfixturevalue("image_registry")
            with Registry(RegistrySettings(), Anonymous(), directory=str(tmp_path / "memory")) as registry:
                yield InRegistry(registry, f"{service.host}/{unique}:1")
        case "engine":
            connection = Dockerd(find_host({}, request.getfixturevalue("docker_engine").host))
            yield InEngine(Daemon(connection), f"{unique}:1")
            connection.close()
        case kind:
            keeps = kind != "docker archive"
            yield ByLocator(Locator(kind=LOCATORS[kind], path=str(tmp_path / "out")), keeps_manifest=keeps)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def empty(tmp_path: Path) -> LocalStore:
    """A store of another machine."""
    return LocalStore(str(tmp_path / "empty"))


def image(store: LocalStore, text: str = "x", *, again: bool = False) -> Image:
    """An image with an environment, labels and layers, the first of them once more on top where asked for."""
    parts: list[Part] = [Dir(target="/app"), File(target="/app/f", data=text.encode() * 300_000)]
    first = write_layer(store, parts, created_by="one").layer
    second = write_layer(store, [File(target="/g", data=text.encode())], created_by="two").layer
    made = Image(labels={"text": text, "é": "ü\n"}).with_layers(first, second, *([first] if again else []))
    return made.with_env("A", "b=c").with_entrypoint("/app/f", "x").with_user("1000:1000")


def bytes_of(found: Image, store: LocalStore) -> list[int]:
    """How many bytes each layer has; reading them to the end compares their digests."""
    sizes = []
    for layer in found.layers:
        with store.open(layer.blob.digest) as stream:
            sizes.append(sum(len(data) for data in iter(lambda: stream.read(1 << 20), b"")))
    return sizes


@pytest.mark.parametrize("again", [False, True], ids=["", "one layer twice"])
def test_an_image_comes_back_as_it_was(place: Place, store: LocalStore, empty: LocalStore, *, again: bool) -> None:
    written = image(store, again=again)
    place.write(written, store)
    with empty.lease():
        found = place.read(empty)
        assert found.config_bytes() == written.config_bytes()
        assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in written.layers]
        assert all(bytes_of(found, empty))
        if place.keeps_manifest:
            assert found.digest == written.digest


def squeezed(made: Image, store: LocalStore) -> Image:
    """The image with its layers compressed by zstd, as others push it."""
    blobs = {}
    with closing(Compressor()) as compressor:
        for layer in made.layers:
            with store.open(layer.blob.digest) as stream, store.new_blob() as blob:
                for piece in compressor.pieces(stream, "zstd"):
                    blob.write(piece)
                blobs[layer.diff_id] = blob.commit(LAYER_ZSTD)
    for layer in made.layers:
        store.quarantine(layer.blob.digest)
    return made.with_blobs(blobs)


def test_layers_of_zstd_come_back_too(place: Place, store: LocalStore, empty: LocalStore) -> None:
    """Also where whoever keeps them reads no zstd, as Docker engines before 23."""
    if isinstance(place, OwnStore):
        pytest.skip("a store keeps blobs as they are")
    made = image(store, os.urandom(4).hex())
    written = squeezed(made, store)
    with store.lease():
        place.write(written, store)
    with empty.lease():
        found = place.read(empty)
        assert found.config_bytes() == written.config_bytes()
        assert all(bytes_of(found, empty))


def test_the_name_means_the_last_image_written(place: Place, store: LocalStore, empty: LocalStore) -> None:
    for text in ("x", "x", "y"):
        place.write(image(store, text), store)
    with empty.lease():
        assert place.read(empty).labels["text"] == "y"


def test_what_is_not_there_is_said(place: Place, empty: LocalStore) -> None:
    with empty.lease(), pytest.raises(UsageError) as caught:
        place.read(empty)
    assert caught.value.slug == "unknown-image"


@pytest.mark.fault("STO-14", "REG-29")
def test_an_image_that_cannot_be_read_whole_replaces_nothing(
    place: Place, store: LocalStore, empty: LocalStore
) -> None:
    place.write(image(store, "x"), store)
    # Of its own: an engine that has a layer already does not need its bytes.
    broken = image(store, os.urandom(4).hex())
    store.quarantine(broken.layers[0].blob.digest)
    with pytest.raises(CorruptError):
        place.write(broken, store)
    with empty.lease():
        assert place.read(empty).labels["text"] == "x"
