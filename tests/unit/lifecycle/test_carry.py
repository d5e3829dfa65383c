"""Cached layers from one machine to the next, through a directory and through an image."""

from __future__ import annotations

import gzip
import os
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from packrunner.errors import StoppedError
from packrunner.events import StepDone, Warned
from packrunner.images.image import Descriptor, Image, Layer, digest_of
from packrunner.images.layouts import Layouts
from packrunner.lifecycle import cache, cache_metadata
from packrunner.lifecycle.cache_dir import CacheDirectory
from packrunner.lifecycle.cache_image import CacheImage
from packrunner.lifecycle.carry import Carrier
from packrunner.names import Digest
from tests.cycle import World, writes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packrunner.images.layout import Blobs
    from packrunner.lifecycle.carry import OutsideCache

KEPT = "[types]\nlaunch = true\ncache = true\n[metadata]\nn = 1\n"
ONLY = "[types]\ncache = true\n[metadata]\nk = 'v'\n"
CDX = '{"bomFormat":"CycloneDX"}'
FORMATS = ("application/vnd.cyclonedx+json",)
FILES = {"x.toml": KEPT, "x/f": "x", "x.sbom.cdx.json": CDX, "c.toml": ONLY, "c/f": "c"}

Opened = "Callable[[], OutsideCache]"


@pytest.fixture(params=["directory", "image"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], OutsideCache]:
    """A new view of the cache elsewhere, as each command has one."""
    place = tmp_path / "outside"
    place.mkdir()
    if request.param == "directory":
        return lambda: CacheDirectory(str(place))
    return lambda: CacheImage("reg.example.com/cache:1", Layouts(str(place)))


def machine(tmp_path: Path, name: str, files: dict[str, str] | None = None) -> World:
    (tmp_path / name).mkdir()
    world = World(root=tmp_path / name)
    world.add("a", writes(FILES if files is None else files), sbom_formats=FORMATS)
    return world


def carrier(world: World, outside: OutsideCache) -> Carrier:
    return Carrier(outside, world.store, world.reporter)


def fetched(world: World, outside: OutsideCache) -> cache.CacheRecord:
    """What is fetched, which is what was foreseen, but for a layer that turns out to be damaged."""
    seen, made = carrier(world, outside), carrier(world, outside)
    before = seen.foresee(tuple(world.members), world.analyze().label, world.cache)
    found = made.fetch(tuple(world.members), world.analyze().label, world.cache)
    if not world.reporter.of(Warned):
        assert identities(found) == identities(before)
        assert seen.carried == made.carried & set(identities(found).values())
    return found


def identities(record: cache.CacheRecord) -> dict[tuple[str, str], str]:
    return {(b.key, name): layer.diff_id for b in record.buildpacks for name, layer in b.layers.items()}


def steps(world: World) -> list[str]:
    """What was said about the cache elsewhere."""
    return [done.detail for done in world.reporter.of(StepDone) if done.phase == "cache"]


def keep(world: World, outside: OutsideCache) -> None:
    carrier(world, outside).keep(world.cache)


@pytest.mark.cnb("EXP-33")
@pytest.mark.cnb("RES-11")
@pytest.mark.cnb("RES-13")
def test_a_fresh_machine_has_what_the_other_one_cached(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    one.cycle()
    keep(one, opened())
    known = fetched(two, opened())
    two.restore(cache=known)
    assert two.layers("acme_a/x/f").read_text() == "x"
    assert two.layers("acme_a/c/f").read_text() == "c"
    assert two.layers("acme_a/x.sbom.cdx.json").read_text() == CDX
    assert "n = 1" in two.layers("acme_a/x.toml").read_text()
    assert [said.partition(",")[0] for said in steps(two)] == ["3 layers restored"], "one of SBOMs"
    # What came is proven, so that the export need not read it again.
    two.build()
    assert {layer.name: layer.state for layer in two.export(cache=known).layers if layer.buildpack} == {
        "c": "reused",
        "x": "reused",
    }


def test_what_this_machine_has_is_not_fetched(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one = machine(tmp_path, "one")
    one.cycle()
    keep(one, opened())
    before = one.cache
    assert fetched(one, opened()).buildpacks == before.buildpacks
    assert steps(one) == ["3 layers kept"]


@pytest.mark.cnb("RES-12")
def test_the_version_that_the_previous_image_has_is_taken(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two", FILES | {"x/f": "older"})
    two.cycle()
    image = one.cycle().image
    keep(one, opened())
    # The image of the first machine is now the previous one of the second.
    for layer in image.layers:
        shutil.copy(one.store.blob_path(layer.blob.digest), two.store.blob_path(layer.blob.digest))
    os.unlink(two.store.blob_path(Digest(one.cache.layers_of("acme/a")["x"].diff_id)))
    two.store.add(image.config_bytes())
    for layer in image.layers:
        if not two.store.has(layer.blob.digest):
            two.store.add(one.store.open(layer.blob.digest).read())
    two.store.write(image, ["shop"])
    known = fetched(two, opened())
    assert known.layers_of("acme/a")["x"].diff_id == one.cache.layers_of("acme/a")["x"].diff_id
    assert two.cache.layers_of("acme/a")["x"].diff_id != known.layers_of("acme/a")["x"].diff_id
    # Of a layer that only the cache has there is no better version than this machine's.
    assert known.layers_of("acme/a")["c"].tree == two.cache.layers_of("acme/a")["c"].tree


@pytest.mark.cnb("RES-18")
def test_damaged_layers_are_warned_about_and_the_rest_comes(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two", {})
    one.cycle()
    keep(one, opened())
    x = Digest(one.cache.layers_of("acme/a")["x"].diff_id)
    (path,) = [p for p in (tmp_path / "outside").rglob("*") if x.hex in p.name]
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    carried = carrier(two, opened())
    known = carried.fetch(tuple(two.members), two.analyze().label, two.cache)
    assert set(known.layers_of("acme/a")) == {"c"}
    assert [w for w in two.reporter.of(Warned) if "is not used" in w.text]
    assert not two.store.has(x)
    if isinstance(opened(), CacheImage):
        return
    # The layer is made again, and what is damaged does not stay because its name is right.
    two.add("a", writes(FILES), sbom_formats=FORMATS)
    two.cycle()
    carried.keep(two.cache)
    three = machine(tmp_path, "three")
    assert set(fetched(three, opened()).layers_of("acme/a")) == {"x", "c"}


def test_another_environment_is_another_cache(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    one.cycle(exec_env="test")
    keep(one, opened())
    two.cycle()
    assert fetched(two, opened()) == two.cache


def test_nothing_is_saved_where_nothing_changed(tmp_path: Path, opened: Callable[[], OutsideCache]) -> None:
    one = machine(tmp_path, "one")
    one.cycle()
    keep(one, opened())
    keep(one, opened())
    assert steps(one) == ["3 layers kept"]
    one.add("a", writes({"c.toml": ONLY, "c/f": "c"}), sbom_formats=FORMATS)
    shutil.rmtree(one.layers("acme_a"))
    one.cycle()
    keep(one, opened())
    assert set(opened().record().layers_of("acme/a")) == {"c"}, "what is not cached again is forgotten"


@pytest.mark.cnb("EXP-34")
def test_a_cache_that_cannot_be_saved_only_warns(tmp_path: Path) -> None:
    one = machine(tmp_path, "one")
    one.cycle()
    (tmp_path / "file").touch()
    keep(one, CacheDirectory(str(tmp_path / "file")))
    keep(one, CacheImage("reg.example.com/cache", Layouts(str(tmp_path / "file"))))
    assert len([w for w in one.reporter.of(Warned) if "could not be saved" in w.text]) == 2


class Stopping(CacheDirectory):
    """Somebody presses Ctrl-C while it is written."""

    def save(self, record: cache.CacheRecord, layers: Blobs) -> None:
        raise StoppedError(2)


@pytest.mark.fault("PRO-01")
def test_a_stop_while_a_cache_is_saved_is_no_cache_that_cannot_be_saved(tmp_path: Path) -> None:
    one = machine(tmp_path, "one")
    one.cycle()
    (tmp_path / "outside").mkdir()
    with pytest.raises(StoppedError):
        keep(one, Stopping(str(tmp_path / "outside")))


def test_an_image_that_is_no_cache_is_none(tmp_path: Path) -> None:
    one = machine(tmp_path, "one")
    layouts = Layouts(str(tmp_path / "layouts"))
    for label in ({}, {cache_metadata.NAME: "no JSON"}, {cache_metadata.NAME: '{"buildpacks":[{"key":1}]}'}):
        layouts.write(Image(labels=label), ["a/b"], one.store)
        assert CacheImage("a/b", Layouts(str(tmp_path / "layouts"))).record() == cache.CacheRecord()
    assert CacheImage("a/none", layouts).record() == cache.CacheRecord()


def test_layers_of_a_cache_image_may_be_compressed_and_are_verified_uncompressed(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two", {})
    one.cycle()
    layouts = Layouts(str(tmp_path / "layouts"))
    layers = []
    for text in cache_metadata.digests(one.cache):
        packed = gzip.compress(one.store.open(Digest(text)).read())
        one.store.add(packed)
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        blob = Descriptor(digest=digest_of(packed), size=len(packed), media_type=kind)
        layers.append(Layer(diff_id=Digest(text), blob=blob))
    label = {cache_metadata.NAME: cache_metadata.encode(one.cache).decode()}
    layouts.write(Image(labels=label, layers=tuple(layers)), ["a/b"], one.store)
    assert set(fetched(two, CacheImage("a/b", layouts)).layers_of("acme/a")) == {"x", "c"}
    # Names that do not belong to the bytes: whoever writes to the cache cannot give one layer for another.
    swapped = [msgspec.structs.replace(a, blob=b.blob) for a, b in zip(layers, layers[::-1], strict=True)]
    layouts.write(Image(labels=label, layers=tuple(swapped)), ["a/c"], one.store)
    three = machine(tmp_path, "three", {})
    assert fetched(three, CacheImage("a/c", layouts)).layers_of("acme/a").keys() != {"x", "c"}
    assert three.reporter.of(Warned)


def test_a_layer_that_is_gone_elsewhere_is_not_foreseen(tmp_path: Path) -> None:
    place = tmp_path / "outside"
    place.mkdir()
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two", {})
    one.cycle()
    carrier(one, CacheDirectory(str(place))).keep(one.cache)
    (place / "committed" / f"{one.cache.layers_of('acme/a')['c'].diff_id}.tar").unlink()
    foresight = carrier(two, CacheDirectory(str(place)))
    found = foresight.foresee(tuple(two.members), two.analyze().label, two.cache)
    assert {name for _, name in identities(found)} == {"x"}
    assert foresight.carried == set(identities(found).values())
    assert not two.reporter.of(Warned)
