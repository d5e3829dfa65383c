"""Images into a Docker engine: only what it lacks moves, whichever kind of store it has."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import EngineError
from packrunner.images import serve
from packrunner.images.daemon import Daemon
from packrunner.images.dockerd import Dockerd, find_host
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from packrunner.images.serve import Served
    from tests.services import DockerService


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def image(store: LocalStore, *contents: str) -> Image:
    """An image of one layer for each content, in the store."""
    layers = [
        write_layer(store, [File(target=f"/{number}", data=text.encode())], created_by=text).layer
        for number, text in enumerate(contents)
    ]
    made = Image().with_layers(*layers).with_labels({"of": contents[-1]})
    store.write(made)
    return made


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """What was served, for the blobs that were asked for."""
    found: list[Served] = []
    original = serve.served

    @contextmanager
    def recorded(image: Image, store: LocalStore) -> Iterator[Served]:
        with original(image, store) as here:
            found.append(here)
            yield here

    monkeypatch.setattr(serve, "served", recorded)
    return found


@pytest.mark.docker
class TestEngine:
    @pytest.fixture
    def daemon(self, docker_engine: DockerService) -> Iterator[Daemon]:
        connection = Dockerd(find_host({}, docker_engine.host))
        yield Daemon(connection)
        connection.close()

    def test_only_layers_that_the_engine_lacks_move(
        self, daemon: Daemon, store: LocalStore, moved: list[Served], tmp_path: Path
    ) -> None:
        unique = str(tmp_path)
        first, second = image(store, f"base {unique}", f"one {unique}"), image(store, f"base {unique}", f"two {unique}")
        assert daemon.load(first, ["moving:1"], store) == str(first.config.digest)
        assert daemon.load(second, ["moving:2", "also/moving:3"], store) == str(second.config.digest)
        assert daemon.load(second, ["moving:4"], store) == str(second.config.digest)
        assert [sorted(one.blobs) for one in moved] == [
            sorted(str(layer.blob.digest) for layer in first.layers),
            [str(second.layers[1].blob.digest)],
        ]
        found = daemon.inspect("moving:4")
        assert found
        assert sorted(found["RepoTags"]) == ["also/moving:3", "moving:2", "moving:4"]
        # Of the registry that was there for a moment nothing is left.
        assert found["RepoDigests"] == []

    @pytest.mark.fault("K8S-14")
    def test_an_engine_that_does_not_get_to_us_is_given_an_archive(
        self, daemon: Daemon, store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = image(store, f"far {tmp_path}")
        monkeypatch.setattr(serve._Content, "__init__", _nothing)
        assert daemon.load(made, ["far:1"], store) == str(made.config.digest)
        assert daemon.has("far:1")
        read = daemon.read("far:1", store)
        assert read
        assert read.config.digest == made.config.digest

    def test_an_image_that_is_not_there(self, daemon: Daemon, store: LocalStore) -> None:
        assert daemon.inspect("no/such:image") is None
        assert daemon.read("no/such:image", store) is None


@pytest.mark.skipif(not shutil.which("podman") or os.geteuid() != 0, reason="needs root and podman")
def test_podman_speaks_the_same_api(store: LocalStore, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="packrunner-podman-") as root:
        words = ["podman", "--root", f"{root}/root", "--runroot", f"{root}/run", "--storage-driver", "vfs"]
        words += ["system", "service", "--time", "60", f"unix://{root}/podman.sock"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
            try:
                while not os.path.exists(f"{root}/podman.sock"):
                    assert service.poll() is None
                    time.sleep(0.05)
                connection = Dockerd(find_host({}, f"{root}/podman.sock"))
                assert connection.about.startswith("Podman ")
                made = image(store, f"podman {tmp_path}")
                daemon = Daemon(connection)
                daemon.load(made, ["shop:1"], store)
                found = daemon.inspect("shop:1")
                assert found
                assert [name.rpartition("/")[2] for name in found["RepoTags"]] == ["shop:1"]
                read = daemon.read("shop:1", store)
                assert read
                assert read.config.digest == made.config.digest
                connection.close()
            finally:
                service.terminate()


def _nothing(self: Any, *_: object) -> None:
    self.asked, self.small, self.large = [], {}, {}


class Store:
    """An engine's API with containerd's store: an image is known by its manifest's digest. Loads what it is given."""

    def __init__(self, image: Image, *, pulls: bool = True) -> None:
        self._image = image
        self._pulls = pulls
        self.ids: set[str] = set()
        self.asked: list[str] = []
        self.tags: list[str] = []

    def inspect_image(self, name: str) -> dict[str, Any]:
        from docker.errors import NotFound

        if name not in self.ids:
            raise NotFound("no such image")
        return {"Id": name}

    def pull(self, repository: str, *, tag: str, stream: bool, decode: bool) -> Iterable[dict[str, str]]:
        self.asked.append("pull")
        assert repository.startswith("127.0.0.1:")
        assert tag == str(self._image.digest)
        if not self._pulls:
            return [{"error": "server gave HTTP response to HTTPS client"}]
        self.ids.add(tag)
        return [{"status": "Downloaded"}]

    def load_image(self, pieces: Iterable[bytes]) -> Iterable[dict[str, str]]:
        self.asked.append("load")
        assert len(b"".join(pieces)) % 512 == 0
        self.ids.add(str(self._image.digest))
        return [{"stream": "Loaded"}]

    def tag(self, image: str, repository: str, tag: str, *, force: bool) -> None:
        assert image in self.ids
        self.tags.append(f"{repository}:{tag}")

    def remove_image(self, name: str, *, noprune: bool) -> None:
        self.asked.append(f"untag {name.partition('@')[0].rpartition(':')[0]}")


class Connection(Dockerd):
    """A connection to a stand-in."""

    def __init__(self, url: str, api: Store) -> None:
        super().__init__(find_host({}, url))
        self._api = api


@pytest.mark.parametrize(
    ("url", "pulls", "asked"),
    [
        ("unix:///a.sock", True, ["pull", "untag 127.0.0.1"]),
        ("unix:///a.sock", False, ["pull", "load"]),
        ("tcp://far:2375", True, ["load"]),
    ],
)
def test_an_engine_with_containerds_store_is_known_by_other_ids(
    url: str, pulls: bool, asked: list[str], store: LocalStore
) -> None:
    made = image(store, "x")
    api = Store(made, pulls=pulls)
    daemon = Daemon(Connection(url, api))
    for _ in range(2):
        assert daemon.load(made, ["shop:1", "registry.example/shop"], store) == str(made.digest)
    assert api.asked == asked
    assert api.tags == ["shop:1", "registry.example/shop:latest"] * 2


def test_an_engine_that_loads_something_else_is_an_error(store: LocalStore) -> None:
    made, other = image(store, "x"), image(store, "y")
    with pytest.raises(EngineError, match="another one") as caught:
        Daemon(Connection("tcp://far:2375", Store(other))).load(made, ["shop"], store)
    assert str(made.digest) in str(caught.value.cause)
