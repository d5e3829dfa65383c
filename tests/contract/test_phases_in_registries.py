"""The phases over a real registry, with a sandbox of Python functions."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from packrunner.cli.wiring.registries import registry as opened
from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.store import LocalStore
from packrunner.lifecycle import cache_metadata
from tests.fakes import FakeReporter
from tests.real_registry import PASSWORD, USER, blobs_sent, real_registry
from tests.unit.phases.builder import World, writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real_registry import RealRegistry

pytestmark = pytest.mark.registry

FILES = {
    "x.toml": "[types]\nlaunch = true\ncache = true\n",
    "x/f": "x" * 5000,
    "only.toml": "[types]\nlaunch = true\n",
    "only/f": "only",
    "launch.toml": '[[processes]]\ntype = "web"\ncommand = ["run"]\ndefault = true\n',
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "world").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    world = World(root=tmp_path / "world", environ=monkeypatch, in_layouts=False)
    world.add("a", writes(FILES))
    return world


def provide_run_image(world: World, registry: RealRegistry, name: str = "acme/run", data: bytes = b"base") -> None:
    store = LocalStore(str(world.root / "store"))
    layer = write_layer(store, [File(target="/etc/base", data=data * 3000)], created_by="base").layer
    labels = {"io.buildpacks.base.distro.name": "debian", "io.buildpacks.base.distro.version": "13"}
    image = Image(env=(("PATH", "/bin"),), user="1000:1000", labels=labels).with_layers(layer)
    with opened(FakeReporter()) as client:
        assert client.write(image, [f"{registry.host}/{name}"], store)[1] == {}
    world.put("run.toml", f'[[images]]\nimage = "{registry.host}/{name}"\n')


@pytest.mark.cnb("RES-04")
@pytest.mark.cnb("EXP-22")
def test_a_build_from_registry_to_registry(world: World, registry: RealRegistry) -> None:
    provide_run_image(world, registry)
    run_digest, _ = registry.manifest("acme/run")
    assert world.all(f"{registry.host}/acme/shop") == [0] * 5
    analyzed = world.path("layers/analyzed.toml").read_text()
    assert f'reference = "{registry.host}/acme/run@{run_digest}"' in analyzed
    assert f'image = "{registry.host}/acme/run"' in analyzed
    digest, manifest = registry.manifest("acme/shop")
    assert digest in world.path("layers/report.toml").read_text()
    assert all(layer["mediaType"].endswith("tar+gzip") for layer in manifest["layers"])
    _, below = registry.manifest("acme/run")
    assert manifest["layers"][0] == below["layers"][0], "the run image's layer as it was"


@pytest.mark.cnb("EXP-06")
def test_an_unchanged_layer_is_not_sent_again(world: World, registry: RealRegistry) -> None:
    provide_run_image(world, registry)
    name = f"{registry.host}/acme/shop"
    assert world.all(name) == [0] * 5
    before, _ = registry.manifest("acme/shop")
    # As on another machine: nothing is known of what was sent before.
    for kept in world.root.parent.glob("**/registry/compressed*"):
        kept.unlink()
    registry.asked()
    assert world.all(name) == [0] * 5
    assert blobs_sent(registry.asked()) == []
    assert registry.manifest("acme/shop")[0] == before
    # Of a changed image only what is new: the application, the configuration.
    world.put("app/new", "x")
    registry.asked()
    assert world.all(name) == [0] * 5
    assert len([one for one in blobs_sent(registry.asked()) if one.method == "PUT"]) == 2


@pytest.mark.cnb("RES-06")
def test_access_is_checked_before_anything_else(
    world: World, registry: RealRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide_run_image(world, registry)
    (tmp_path / "other").mkdir()
    with real_registry(tmp_path / "other", read_only=True) as closed:
        assert world("analyze", f"{closed.host}/acme/shop") == 32
        assert f"{closed.host}/acme/shop cannot be written" in capsys.readouterr().err
        assert world("analyze", "-cache-image", f"{closed.host}/acme/cache", f"{registry.host}/acme/shop") == 32
        assert f"{closed.host}/acme/cache cannot be written" in capsys.readouterr().err
        assert world("analyze", "-tag", f"{closed.host}/acme/shop", f"{registry.host}/acme/shop") == 32
        assert "several registries" in capsys.readouterr().err
    assert world("analyze", "-run-image", f"{registry.host}/acme/none", f"{registry.host}/acme/shop") == 32
    assert not world.path("layers/analyzed.toml").exists()
    assert world("analyze", f"{registry.host}/acme/shop") == 0


@pytest.mark.cnb("RES-07")
def test_the_variable_comes_first_then_the_file_then_nobody(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "private").mkdir()
    with real_registry(tmp_path / "private", closed=True) as private:
        import base64

        name = f"{private.host}/acme/shop"
        right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        wrong = base64.b64encode(f"{USER}:wrong".encode()).decode()
        config = {"auths": {private.host: {"auth": right}}}
        assert world("analyze", name) == 32
        assert "cannot be written" in capsys.readouterr().err
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(json.dumps(config))
        provide_run_image(world, private)
        assert world("analyze", name) == 0
        # What the variable says counts, and not what would have worked.
        assert world("analyze", name, CNB_REGISTRY_AUTH=json.dumps({private.host: f"Basic {wrong}"})) == 32
        (tmp_path / ".docker/config.json").unlink()
        assert world("analyze", name, CNB_REGISTRY_AUTH=json.dumps({private.host: f"Basic {right}"})) == 0
        shown = capsys.readouterr()
        assert PASSWORD not in shown.err + shown.out
        assert right not in shown.err + shown.out


@pytest.mark.cnb("EXP-32")
def test_every_tag_gets_the_same_manifest(world: World, registry: RealRegistry) -> None:
    provide_run_image(world, registry)
    names = [f"{registry.host}/acme/shop", f"{registry.host}/acme/shop:v2", f"{registry.host}/other/shop:1"]
    assert world.all(*names) == [0] * 5
    digests = {registry.manifest("acme/shop", tag)[0] for tag in ("latest", "v2")}
    assert digests == {registry.manifest("other/shop", "1")[0]}


@pytest.mark.cnb("EXP-33")
def test_the_cache_may_be_an_image_in_a_registry(world: World, registry: RealRegistry) -> None:
    provide_run_image(world, registry)
    name, cached = f"{registry.host}/acme/shop", ("-cache-image", f"{registry.host}/acme/cache")
    assert world("analyze", *cached, name) == 0
    assert [world(phase) for phase in ("detect", "build")] == [0, 0]
    assert world("export", *cached, name) == 0
    world.path("layers/acme_a/x/f").unlink()
    assert world("analyze", *cached, name) == 0
    assert [world("detect"), world("restore", *cached)] == [0, 0]
    assert world.path("layers/acme_a/x/f").read_text() == "x" * 5000
    with opened(FakeReporter()) as client:
        image = client.read(f"{registry.host}/acme/cache")
    assert image is not None
    assert "acme/a" in image.labels[cache_metadata.NAME]


@pytest.mark.cnb("RBS-03")
def test_rebase_in_a_registry(world: World, registry: RealRegistry) -> None:
    provide_run_image(world, registry)
    name = f"{registry.host}/acme/shop"
    assert world.all(name) == [0] * 5
    _, before = registry.manifest("acme/shop")
    provide_run_image(world, registry, data=b"newer")
    registry.asked()
    assert world("rebase", name) == 0
    asked = registry.asked()
    _, run = registry.manifest("acme/run")
    layers = {layer["digest"] for layer in (*before["layers"], *run["layers"])}
    assert not [one for one in asked if one.method == "GET" and one.path.rpartition("/")[2] in layers]
    assert len([one for one in blobs_sent(asked) if one.method == "PUT"]) == 1, "the configuration"
    _, after = registry.manifest("acme/shop")
    assert after["layers"][1:] == before["layers"][1:]
    assert after["layers"][0] == registry.manifest("acme/run")[1]["layers"][0]


@pytest.mark.cnb("EXP-06")
def test_a_layer_that_somebody_else_compressed_is_referred_to_as_it_is(
    world: World, registry: RealRegistry, tmp_path: Path
) -> None:
    provide_run_image(world, registry)
    name = f"{registry.host}/acme/shop"
    assert world.all(name) == [0] * 5
    store = LocalStore(str(tmp_path / "others"))
    with opened(FakeReporter()) as client:
        image = client.read(name)
        assert image is not None
        blobs = {}
        for layer in image.layers:
            packed = gzip.compress(gzip.decompress(client.open(layer.blob.digest).read()), compresslevel=1)
            blobs[layer.diff_id] = store.add(packed, "application/vnd.oci.image.layer.v1.tar+gzip")
        assert client.write(image.with_blobs(blobs), [name], store)[1] == {}
    _, theirs = registry.manifest("acme/shop")
    assert theirs["layers"][1] != image.layers[1].blob.digest
    registry.asked()
    assert world.all(name) == [0] * 5
    assert blobs_sent(registry.asked()) == []
    # All but the run image's, which is that of the run image now.
    assert registry.manifest("acme/shop")[1]["layers"][1:] == theirs["layers"][1:]
