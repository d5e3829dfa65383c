"""Our client beside others' programs: Debian's docker-registry keeps the images, skopeo is the other client."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import RefusedError
from packrunner.images.image import Image, Layer, digest_of
from packrunner.images.manifest import LAYER_GZIP, LAYER_ZSTD, PlatformFile
from packrunner.images.registry.credentials import Anonymous, Login
from packrunner.images.registry.registry import Registry
from packrunner.images.registry.settings import RegistrySettings
from packrunner.images.several import Several
from packrunner.images.store import LocalStore
from packrunner.images.transfer import Locator, read_image, write_output
from tests.rawtar import entry, tar
from tests.services import LOGIN, RegistryService
from tests.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.images.compress import Compression

pytestmark = pytest.mark.registry


class Known:
    """The login of the closed registry."""

    def of(self, registry: str, repository: str) -> Login | None:
        return Login(kind="basic", user=LOGIN[0], secret=LOGIN[1], source="a test")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "other"))


@pytest.fixture
def name(image_registry: RegistryService, request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{image_registry.host}/{abs(hash(request.node.nodeid)):x}/app:1"


def made(store: LocalStore, *sizes: int) -> Image:
    """An image with layers that are tars of noise, of which no other test has the same: skopeo remembers blobs."""
    noise = random.Random(store.root)
    blobs = [store.add(tar(entry(f"f{size}", noise.randbytes(size)))) for size in sizes]
    return Image().with_layers(*(Layer(diff_id=blob.digest, blob=blob) for blob in blobs)).with_env("A", "b")


def client(store: LocalStore, logins: Any = None, **changes: Any) -> Registry:
    return Registry(RegistrySettings(**changes), logins or Anonymous(), directory=f"{store.root}/compressed")


def skopeo(*words: str) -> str:
    command = ["skopeo", "--insecure-policy", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": "/tmp"})
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_an_image_goes_there_and_comes_back(
    name: str, store: LocalStore, other: LocalStore, compression: Compression
) -> None:
    image = made(store, 10, 3_000_000)
    with client(store) as ours, other.lease():
        pushed = ours.push(image, [name], store, compression=compression)
        found = ours.pull(name, other)
        other.write(found, ["kept"])
        assert found.digest == pushed.digest
        assert found.config_bytes() == image.config_bytes()
        assert other.check() == ()
        assert (pushed.digest == image.digest) == (compression == "none")
        assert ours.push(image, [name], store, compression=compression).sent == 0


@pytest.mark.skopeo
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_images_for_several_platforms_are_read_by_another_client(
    name: str, store: LocalStore, tmp_path: Path, compression: Compression
) -> None:
    images = [
        dataclasses.replace(made(store, 1000 + number), architecture=arch)
        for number, arch in enumerate(("amd64", "arm64"))
    ]
    with client(store) as ours:
        pushed = ours.push(Several(images=tuple(images)), [name], store, compression=compression)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert digest_of(raw.encode()) == pushed.digest
    assert [one["platform"]["architecture"] for one in json.loads(raw)["manifests"]] == ["amd64", "arm64"]
    for arch, image in zip(("amd64", "arm64"), images, strict=True):
        platform = ("--override-os", "linux", "--override-arch", arch)
        config = skopeo(*platform, "inspect", "--config", "--raw", "--tls-verify=false", f"docker://{name}")
        assert digest_of(config.encode()) == image.config.digest
    # All of it, by the other client, into a layout that we read.
    place = tmp_path / "all"
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{place}:1")
    for arch, image in zip(("amd64", "arm64"), images, strict=True):
        found = read_image(Locator(kind="oci", path=str(place)), store, PlatformFile(os="linux", architecture=arch))
        assert found.config.digest == image.config.digest


@pytest.mark.parametrize("connections", [1, 8])
def test_many_layers(name: str, store: LocalStore, other: LocalStore, connections: int) -> None:
    image = made(store, *range(1000, 1030))
    with client(store, connections=connections) as ours, other.lease():
        ours.push(image, [name], store)
        assert [layer.diff_id for layer in ours.pull(name, other).layers] == [layer.diff_id for layer in image.layers]


def test_a_large_layer_goes_in_parts(
    name: str, store: LocalStore, other: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packrunner.images.registry.upload.PART", 2_000_000)
    with client(store) as ours, other.lease():
        ours.push(made(store, 7_654_321), [name], store)
        other.write(ours.pull(name, other), ["kept"])
    assert other.check() == ()


def test_blobs_are_mounted_across_repositories(name: str, store: LocalStore) -> None:
    image = made(store, 500_000)
    with client(store) as ours:
        ours.push(image, [name], store)
        pushed = ours.push(image, [name.replace("/app:", "/second:")], store)
    assert (pushed.layers_sent, pushed.layers_there) == (0, 1)


def test_writing_and_reading_are_checked(name: str, store: LocalStore) -> None:
    with client(store) as ours:
        assert ours.check_read(name) is None
        assert ours.check_write(name) is None
        assert ours.read(name) is None


@pytest.mark.skopeo
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_skopeo_copies_what_we_pushed(
    name: str, store: LocalStore, other: LocalStore, tmp_path: Path, compression: Compression
) -> None:
    image = made(store, 10, 3_000_000)
    with client(store) as ours:
        digest = ours.push(image, [name], store, compression=compression).digest
    skopeo("copy", "-q", "--preserve-digests", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/copy:x")
    found = read_image(Locator(kind="oci", path=f"{tmp_path}/copy"), other)
    assert found.digest == digest
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in image.layers]
    shown = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert shown["Digest"] == digest


@pytest.mark.skopeo
@pytest.mark.parametrize(
    ("words", "media_type"),
    [
        (("--dest-compress-format", "gzip"), LAYER_GZIP),
        (("--dest-compress-format", "zstd"), LAYER_ZSTD),
        (("--format", "v2s2"), LAYER_GZIP),
    ],
)
def test_we_pull_what_skopeo_pushed(
    name: str, store: LocalStore, other: LocalStore, tmp_path: Path, words: tuple[str, ...], media_type: str
) -> None:
    image = made(store, 10, 2_000_000)
    write_output(Locator(kind="oci", path=f"{tmp_path}/layout"), image, store, "app:1")
    skopeo("copy", "-q", *words, "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1", f"docker://{name}")
    with client(other) as ours, other.lease():
        found = ours.pull(name, other)
        other.write(found, ["kept"])
    assert other.check() == ()
    assert {layer.blob.media_type for layer in found.layers} == {media_type}
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in image.layers]
    assert found.digest == json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))["Digest"]


@pytest.mark.skopeo
def test_the_platform_is_chosen_from_an_index(name: str, store: LocalStore, other: LocalStore, tmp_path: Path) -> None:
    images = {machine: _for(made(store, size), machine) for machine, size in (("amd64", 10), ("arm64", 20))}
    layout = tmp_path / "layout"
    for machine, image in images.items():
        write_output(Locator(kind="oci", path=str(layout), tag=machine), image, store, f"app:{machine}")
    index = json.loads((layout / "index.json").read_text())
    for item in index["manifests"]:
        item["annotations"] = {}
    data = json.dumps(index).encode()
    blob = other.add(data)
    (layout / "blobs" / "sha256" / blob.digest.hex).write_bytes(data)
    entry_of_all = {"mediaType": index["mediaType"], "digest": blob.digest, "size": len(data)}
    (layout / "index.json").write_text(json.dumps({**index, "manifests": [entry_of_all]}))
    skopeo("copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{name}")
    for machine, image in images.items():
        with client(other, platform=PlatformFile(os="linux", architecture=machine)) as ours, other.lease():
            found = ours.pull(name, other)
        assert found.architecture == machine
        assert found.config_bytes() == image.config_bytes()


def _for(image: Image, machine: str) -> Image:
    from dataclasses import replace

    return replace(image, architecture=machine)


def test_a_closed_registry_lets_in_who_is_known(tmp_path: Path, store: LocalStore, other: LocalStore) -> None:
    (tmp_path / "closed").mkdir()
    with RegistryService(tmp_path / "closed", closed=True).running() as service:
        name = f"{service.host}/app:1"
        with client(store, Known()) as ours, other.lease():
            assert ours.check_write(name) is None
            pushed = ours.push(made(store, 1000), [name], store)
            assert ours.pull(name, other).digest == pushed.digest
        with client(store) as ours:
            assert "no login was found" in str(ours.check_write(name))
            with pytest.raises(RefusedError) as error:
                ours.read(name)
    assert error.value.slug == "registry-auth"
    assert LOGIN[1] not in f"{error.value.brief}{error.value.cause}"


def test_a_registry_with_tls(tmp_path: Path, store: LocalStore, other: LocalStore) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("127.0.0.1")
    (tmp_path / "tls").mkdir()
    with RegistryService(tmp_path / "tls", tls=(pair.cert, pair.key)).running() as service:
        name = f"{service.host}/app:1"
        with client(store, ca_files=(authority.cert,)) as ours, other.lease():
            pushed = ours.push(made(store, 2_000_000), [name], store)
            assert ours.pull(name, other).digest == pushed.digest
        with client(store) as ours, pytest.raises(RefusedError) as error:
            ours.read(name)
    assert error.value.slug == "registry-tls"
