"""Images for several platforms under one name: in the store, layouts, archives and registries."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import CorruptError, UsageError
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.layout import names_in
from packrunner.images.manifest import PlatformFile
from packrunner.images.registry.credentials import Anonymous
from packrunner.images.registry.registry import Registry
from packrunner.images.several import Several
from packrunner.images.store import LocalStore
from packrunner.images.transfer import Locator, read_all, read_image, write_output
from tests.registry import registry, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packrunner.images.layer import Part

AMD64 = PlatformFile(os="linux", architecture="amd64")
ARM64 = PlatformFile(os="linux", architecture="arm64")
V7 = PlatformFile(os="linux", architecture="arm", variant="v7")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    made = LocalStore(str(tmp_path / "store"))
    with made.lease():
        yield made


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "other"))


def image(store: LocalStore, of: PlatformFile, text: str = "") -> Image:
    parts: list[Part] = [File(target="/who", data=f"{of.architecture}{text}".encode() * 1000)]
    layer = write_layer(store, parts, created_by="one").layer
    return Image(os=of.os, architecture=of.architecture, variant=of.variant).with_layers(layer)


@pytest.fixture
def several(store: LocalStore) -> Several:
    return Several(images=(image(store, V7), image(store, ARM64), image(store, AMD64)))


@pytest.mark.parametrize("kind", ["store", "oci", "oci-archive"])
def test_each_platform_gets_its_own_and_all_come_back_to_the_byte(
    tmp_path: Path, store: LocalStore, other: LocalStore, several: Several, kind: str
) -> None:
    place = Locator(kind=kind, path="app" if kind == "store" else str(tmp_path / "out"))  # type: ignore[arg-type]
    write_output(place, several, store, "app:1")
    into = store if kind == "store" else other
    for platform, one in zip((V7, ARM64, AMD64), several.images, strict=True):
        assert read_image(place, into, platform).digest == one.digest
    found = read_all(place, into)
    assert isinstance(found, Several)
    assert (found.digest, found.data) == (several.digest, several.data)
    with pytest.raises(UsageError, match="no image for linux/s390x") as caught:
        read_image(place, into, PlatformFile(os="linux", architecture="s390x"))
    assert caught.value.cause == "it has linux/amd64, linux/arm/v7, linux/arm64"


def test_the_index_says_who_is_who(several: Several) -> None:
    found = json.loads(several.data)
    assert found["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [one["platform"] for one in found["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
        {"architecture": "arm64", "os": "linux"},
    ]
    assert {one["digest"] for one in found["manifests"]} == {one.digest for one in several.images}
    assert Several(images=several.images[::-1]).digest == several.digest


def test_a_variant_that_is_not_asked_for_does_not_matter(store: LocalStore, several: Several) -> None:
    store.write(several, ["app"])
    found = store.read("app", PlatformFile(os="linux", architecture="arm"))
    assert found is not None
    assert found.image.variant == "v7"
    assert found.digest == several.digest


def test_prune_without_a_name_takes_all_of_it(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "alone"))
    store.write(Several(images=(image(store, AMD64), image(store, ARM64))), ["app"])
    assert store.prune() == 0
    assert store.check() == ()
    assert [one.name for one in store.list()] == ["app:latest"]
    assert store.read("app", ARM64) is not None
    store.remove("app")
    assert store.prune() > 0
    assert os.listdir(os.path.join(store.root, "blobs", "sha256")) == []


def test_a_replaced_index_takes_its_blobs_along_and_leaves_shared_ones(
    tmp_path: Path, store: LocalStore, other: LocalStore, several: Several
) -> None:
    place = Locator(kind="oci", path=str(tmp_path / "out"))
    write_output(place, several, store, "app:1")
    kept = several.images[2]
    changed = Several(images=(kept, image(store, ARM64, "changed")))
    write_output(place, changed, store, "app:1")
    assert read_all(place, other).digest == changed.digest
    files = set(os.listdir(tmp_path / "out" / "blobs" / "sha256"))
    assert len(files) == 3 + 3 + 1
    assert kept.layers[0].blob.digest.hex in files
    assert several.digest.hex not in files
    assert names_in(str(tmp_path / "out")) == ["1"]


def test_docker_archives_take_one_only(tmp_path: Path, store: LocalStore, several: Several) -> None:
    place = Locator(kind="docker-archive", path=str(tmp_path / "out.tar"))
    with pytest.raises(UsageError) as caught:
        write_output(place, several, store, "app:1")
    assert caught.value.slug == "one-platform"
    assert not (tmp_path / "out.tar").exists()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_registry_has_the_index_under_the_name_last(
    store: LocalStore, other: LocalStore, several: Several, compression: str
) -> None:
    with registry() as there:
        name = f"{there.host}/acme/app:1"
        with Registry(settings(), Anonymous()) as ours:
            pushed = ours.push(several, [name], store, compression=compression)  # type: ignore[arg-type]
            puts = [one.path for one in there.asked("PUT", "manifests/")]
            assert ours.push(several, [name], store, compression=compression).sent == 0  # type: ignore[arg-type]
            found = ours.read_all(name)
            assert isinstance(found, Several)
            assert found.digest == pushed.digest
            assert {one.config.digest for one in found.images} == {one.config.digest for one in several.images}
            assert (pushed.digest == several.digest) is (compression == "none")
        assert [path.rpartition("/")[2] for path in puts][-1] == "1"
        assert len(puts) == 4
        for platform, one in zip((V7, ARM64, AMD64), several.images, strict=True):
            with Registry(settings(platform=platform), Anonymous()) as ours, other.lease():
                assert ours.pull(name, other).config.digest == one.config.digest


@pytest.mark.parametrize("content", [b"{", b'{"manifests": 3}'])
def test_names_of_a_damaged_layout_are_an_error_of_what_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(CorruptError, match=str(tmp_path)) as caught:
        names_in(str(tmp_path))
    assert caught.value.slug == "image-format"
