"""Each phase by what it reads and leaves."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.formats import labels
from tests.unit.phases.builder import writes

if TYPE_CHECKING:
    from packrunner.images.image import Image
    from tests.fakes import Call
    from tests.unit.phases.builder import World

KEPT = "[types]\nlaunch = true\ncache = true\n[metadata]\nn = 1\n"
ONLY = "[types]\ncache = true\n"
CDX = '{"bomFormat":"CycloneDX"}'
WEB = '[[processes]]\ntype = "web"\ncommand = ["run"]\ndefault = true\n'
FILES = {
    "x.toml": KEPT,
    "x/f": "x",
    "x.sbom.cdx.json": CDX,
    "c.toml": ONLY,
    "c/f": "c",
    "launch.toml": WEB,
    "store.toml": "[metadata]\nk = 1\n",
}


def read(world: World, name: str) -> dict[str, Any]:
    return tomllib.loads(world.path(f"layers/{name}").read_text())


def image(world: World, name: str = "acme/shop") -> Image:
    found = world.layouts.read(name)
    assert found is not None
    return found


@pytest.mark.cnb("RES-03", "RES-04", "RES-01")
def test_analyze_writes_what_it_found(world: World) -> None:
    world.add("a", writes(FILES))
    run = image(world, "acme/run:1")
    place = world.path("layout/index.docker.io/acme/run/1")
    assert world("analyze", "acme/shop") == 0
    first = read(world, "analyzed.toml")
    assert first == {
        "run-image": {
            "reference": f"{place}@{run.digest}",
            "image": "acme/run:1",
            "target": {"os": "linux", "arch": "amd64", "distro": {"name": "debian", "version": "13"}},
        }
    }
    assert world.all() == [0] * 5
    assert world("analyze", "acme/shop") == 0
    again = read(world, "analyzed.toml")
    assert (
        again["image"]["reference"] == f"{world.path('layout/index.docker.io/acme/shop/latest')}@{image(world).digest}"
    )
    assert set(again["metadata"]) >= {"app", "buildpacks", "run-image", "process-types"}
    assert again["metadata"]["run-image"]["top-layer"] == str(run.layers[-1].diff_id)


@pytest.mark.cnb("RES-05")
def test_a_mirror_on_the_outputs_registry_comes_first(world: World) -> None:
    world.put("run.toml", '[[images]]\nimage = "acme/run:1"\nmirrors = ["ghcr.io/acme/run:1", "quay.io/acme/run:1"]\n')
    chosen = {}
    for output in ("ghcr.io/acme/shop", "quay.io/acme/shop", "acme/shop"):
        if output.startswith("ghcr.io"):
            world.run_image("ghcr.io/acme/run:1")
        assert world("analyze", output) == 0
        chosen[output] = read(world, "analyzed.toml")["run-image"]["image"]
    # There is no image on quay.io, so it is the first that can be read.
    assert list(chosen.values()) == ["ghcr.io/acme/run:1", "acme/run:1", "acme/run:1"]
    world.run_image("acme/other:1")
    assert world("analyze", "-run-image", "acme/other:1", "ghcr.io/acme/shop") == 0
    assert read(world, "analyzed.toml")["run-image"]["image"] == "acme/other:1"
    shutil.rmtree(world.path("layout"))
    assert world("analyze", "acme/shop") == 32


@pytest.mark.cnb("RES-06")
def test_where_the_image_cannot_be_written_analyze_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world("analyze", "-tag", "ghcr.io/acme/shop", "acme/shop") == 32
    assert "several registries" in capsys.readouterr().err
    if os.geteuid():
        # What of the image's path is there already: the run image's is beside it.
        nearest = world.path("layout/index.docker.io/acme")
        nearest.chmod(0o555)
        assert world("analyze", "acme/shop") == 32
        nearest.chmod(0o755)


@pytest.mark.cnb("IMG-07")
@pytest.mark.parametrize("level", ["0.11", "0.12"])
def test_old_platforms_read_stack_toml(world: World, level: str) -> None:
    world.level = level
    world.put("run.toml", '[[images]]\nimage = "acme/new:1"\n')
    world.run_image("acme/new:1")
    if level == "0.11":
        # Layouts are no part of that level: the choice itself is asked.
        from packrunner.cli.phases.inputs import Inputs, setting
        from packrunner.lifecycle.phases import documents

        args = ("-stack", str(world.path("stack.toml")), "acme/shop")
        environ = {"CNB_PLATFORM_API": level, "CNB_USER_ID": "1", "CNB_GROUP_ID": "1"}
        found = documents.run_images(setting(Inputs("analyze", args, environ)))
        assert [entry.image for entry in found.images] == ["acme/run:1"]
    else:
        assert world("analyze", "acme/shop") == 0
        assert read(world, "analyzed.toml")["run-image"]["image"] == "acme/new:1"


@pytest.mark.cnb("DET-24", "DET-25", "DET-06", "DET-09", "IMG-08", "IMG-04")
def test_detect_leaves_group_and_plan(world: World) -> None:
    def detect(call: Call) -> int:
        with open(call.args[1], "a", encoding="utf-8") as file:
            file.write('[[provides]]\nname = "x"\n[[requires]]\nname = "x"\n[requires.metadata]\nv = 1\n')
        assert call.command.cwd == str(world.path("app"))
        assert call.args[0] == str(world.path("platform"))
        assert (call.env["MINE"], call.env["THEIRS"], call.env["BOTH"]) == ("1\n", "2", "mine")
        return 0

    world.add("a", lambda _: 0, detect)
    world.put("platform/env/MINE", "1\n")
    world.put("platform/env/BOTH", "mine")
    world.put("build-config/env/THEIRS", "2")
    world.put("build-config/env/BOTH", "theirs")
    assert world("detect") == 0
    assert read(world, "group.toml") == {"group": [{"id": "acme/a", "version": "1.0.0", "api": "0.10"}]}
    (entry,) = read(world, "plan.toml")["entries"]
    assert entry["providers"] == [{"id": "acme/a", "version": "1.0.0"}]
    assert entry["requires"] == [{"name": "x", "metadata": {"v": 1}}]


@pytest.mark.cnb("BPD-11")
def test_system_buildpacks_of_the_builder_join(world: World) -> None:
    world.add("a", lambda _: 0)
    world.add("s", lambda _: 0)
    system = world.put("system.toml", '[[system.post.buildpacks]]\nid = "acme/s"\nversion = "1.0.0"\n')
    assert world("detect", "-system", str(system)) == 0
    assert [m["id"] for m in read(world, "group.toml")["group"]] == ["acme/a", "acme/s"]


@pytest.mark.cnb("EXC-06", "EXP-06")
def test_create_is_the_phases_in_one_call(world: World) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    first = image(world).digest
    for name in ("layers", "cache"):
        shutil.rmtree(world.path(name))
        world.path(name).mkdir()
    assert world("create", "acme/other") == 0
    assert image(world, "acme/other").digest == first


@pytest.mark.cnb("RES-11", "RES-14", "RES-16", "RES-08", "RES-12")
def test_restore_brings_back_what_export_cached(world: World) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    shutil.rmtree(world.path("layers"))
    world.path("layers").mkdir()
    world.put("layers/order.toml", "the platform's own")
    assert [world("analyze", "acme/shop"), world("detect")] == [0, 0]
    assert world.path("layers/sbom/launch/acme_a/x/sbom.cdx.json").exists()
    assert world("restore") == 0
    mine = world.path("layers/acme_a")
    assert {p.name for p in mine.iterdir()} == {"x", "x.toml", "x.sbom.cdx.json", "c", "c.toml", "store.toml"}
    assert read(world, "acme_a/x.toml") == {"metadata": {"n": 1}}
    assert not world.path("layers/sbom").exists()
    assert {p.name for p in world.path("layers").iterdir()} == {
        "order.toml",
        "analyzed.toml",
        "group.toml",
        "plan.toml",
        "acme_a",
    }


@pytest.mark.cnb("RES-17")
def test_with_skip_layers_only_the_store_comes_back(world: World) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    shutil.rmtree(world.path("layers"))
    world.path("layers").mkdir()
    assert [world("analyze", "-skip-layers", "acme/shop"), world("detect"), world("restore", "-skip-layers")] == [0] * 3
    assert [p.name for p in world.path("layers/acme_a").iterdir()] == ["store.toml"]


@pytest.mark.cnb("RES-18", "RES-11")
@pytest.mark.fault("STO-21")
@pytest.mark.parametrize("damage", ["flip", "gone", "metadata"])
def test_a_damaged_cache_costs_only_time(world: World, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    committed = world.path("cache/committed")
    for tar in committed.glob("*.tar"):
        if damage == "flip":
            # The last byte of a file's content, of which nothing but the digest tells.
            data = bytearray(tar.read_bytes())
            data[len(data.rstrip(b"\0")) - 1] ^= 1
            tar.write_bytes(bytes(data))
        elif damage == "gone":
            tar.unlink()
    if damage == "metadata":
        (committed / "io.buildpacks.lifecycle.cache.metadata").write_text("{")
    shutil.rmtree(world.path("layers"))
    world.path("layers").mkdir()
    assert [world("analyze", "acme/shop"), world("detect"), world("restore")] == [0] * 3
    assert [p.name for p in world.path("layers/acme_a").iterdir()] == ["store.toml"]
    assert "not used" in capsys.readouterr().err
    assert [world("build"), world("export", "acme/shop")] == [0, 0]
    assert {p.name for p in committed.glob("*.tar")}


@pytest.mark.cnb("EXP-33", "RES-11")
def test_the_cache_may_be_an_image(world: World) -> None:
    world.add("a", writes(FILES))
    cached = ("-cache-image", "acme/shop:cache")
    images = ("-layout", "-layout-dir", str(world.path("layout")))
    assert world("analyze", *cached, "acme/shop") == 0
    for phase in ("detect", "restore", "build"):
        assert world(phase) == 0
    assert world("export", *cached, "acme/shop") == 0
    label = json.loads(image(world, "acme/shop:cache").labels["io.buildpacks.lifecycle.cache.metadata"])
    assert set(label["buildpacks"][0]["layers"]) == {"x", "c"}
    assert not list(world.path("cache").iterdir()), "the image comes before the directory"
    shutil.rmtree(world.path("layers"))
    world.path("layers").mkdir()
    assert world("analyze", *cached, "acme/shop") == 0
    assert world("detect") == 0
    assert world("restore", *cached, *images) == 0
    assert world.path("layers/acme_a/c/f").read_text() == "c"
    assert world.path("layers/acme_a/x.sbom.cdx.json").read_text() == CDX


@pytest.mark.cnb("EXP-33")
def test_the_cache_has_the_references_form_and_forgets_what_is_not_cached_again(world: World) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    committed = world.path("cache/committed")
    metadata = json.loads((committed / "io.buildpacks.lifecycle.cache.metadata").read_text())
    layers = metadata["buildpacks"][0]["layers"]
    assert (metadata["buildpacks"][0]["key"], set(layers)) == ("acme/a", {"x", "c"})
    assert layers["x"] == {"sha": layers["x"]["sha"], "data": {"n": 1}, "build": False, "launch": True, "cache": True}
    expected = {f"{layers['x']['sha']}.tar", f"{layers['c']['sha']}.tar", f"{metadata['sbom']['sha']}.tar"}
    assert {p.name for p in committed.glob("*.tar")} == expected
    kept = (committed / f"{layers['x']['sha']}.tar").stat().st_ino

    def less(call: Call) -> None:
        shutil.rmtree(call.path("c"), ignore_errors=True)
        call.write("c.toml", "")
        call.write("x.toml", KEPT)

    world.add("a", less)
    assert world.all() == [0] * 5
    after = {p.name for p in committed.glob("*.tar")}
    assert f"{layers['x']['sha']}.tar" in after
    assert f"{layers['c']['sha']}.tar" not in after
    assert (committed / f"{layers['x']['sha']}.tar").stat().st_ino == kept
    assert {p.name for p in world.path("cache").iterdir()} == {"committed"}


@pytest.mark.cnb("EXP-34")
def test_a_cache_that_cannot_be_written_only_warns(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", writes(FILES))
    shutil.rmtree(world.path("cache"))
    assert world.all() == [0] * 5
    assert "the cache could not be saved" in capsys.readouterr().err
    assert world.layouts.read("acme/shop") is not None


@pytest.mark.cnb("EXP-31", "EXP-32", "EXP-35")
def test_every_name_gets_the_image_and_a_failed_one_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", writes(FILES))
    assert world.all("acme/shop", "acme/shop:2") == [0] * 5
    assert image(world).digest == image(world, "acme/shop:2").digest
    report = read(world, "report.toml")["image"]
    assert report == {
        "tags": ["acme/shop", "acme/shop:2"],
        "digest": str(image(world).digest),
        "manifest-size": image(world).manifest_size,
    }
    world.path("layers/report.toml").unlink()
    world.put("layout/index.docker.io/acme/shop/bad/x", "no layout")
    assert world("export", "acme/shop:bad", "acme/shop:3") == 62
    assert "acme/shop:bad" in capsys.readouterr().err
    assert image(world, "acme/shop:3").digest == image(world).digest
    assert not world.path("layers/report.toml").exists()


@pytest.mark.cnb("EXP-22")
def test_what_the_label_says_of_the_run_image(world: World) -> None:
    world.add("a", writes(FILES))
    world.put(
        "run.toml",
        '[[images]]\nimage = "acme/first:1"\n[[images]]\nimage = "acme/run:1"\nmirrors = ["ghcr.io/acme/run:1"]\n',
    )
    assert world("analyze", "-run-image", "acme/run:1", "acme/shop") == 0
    assert [world("detect"), world("restore"), world("build"), world("export", "acme/shop")] == [0] * 4
    label = json.loads(image(world).labels[labels.LIFECYCLE])
    assert label["runImage"]["image"] == "acme/run:1"
    assert label["runImage"]["mirrors"] == ["ghcr.io/acme/run:1"]
    # By name and digest: the path of a layout says nothing on another machine.
    assert label["runImage"]["reference"] == f"acme/run:1@{image(world, 'acme/run:1').digest}"


@pytest.mark.cnb("EXP-11")
@pytest.mark.parametrize("level", ["0.12", "0.15"])
def test_sboms_of_the_lifecycle_join(world: World, level: str) -> None:
    world.level = level
    world.add("a", writes({"launch.toml": WEB}))
    world.put("cnb/launcher.sbom.cdx.json", "{}")
    world.put("cnb/lifecycle.sbom.spdx.json", "{}")
    assert world.all() == [0] * 5
    before = image(world).digest
    assert world("export", "-launcher-sbom", str(world.path("cnb")), "acme/shop") == 0
    assert world.path("layers/sbom/launch/buildpacksio_lifecycle/launcher/sbom.cdx.json").exists()
    assert world.path("layers/sbom/build/buildpacksio_lifecycle/sbom.spdx.json").exists()
    assert image(world).digest != before


@pytest.mark.cnb("EXP-24", "EXP-17", "EXP-28")
def test_what_else_the_platform_hands_over(world: World) -> None:
    world.add("a", writes({"launch.toml": WEB + '[[processes]]\ntype = "job"\ncommand = ["x"]\n'}))
    world.put("layers/project-metadata.toml", '[source]\ntype = "git"\n')
    assert world.all(CNB_PROCESS_TYPE="job", SOURCE_DATE_EPOCH="86400") == [0] * 5
    made = image(world)
    assert json.loads(made.labels[labels.PROJECT]) == {"source": {"type": "git"}}
    assert made.entrypoint == ("/cnb/process/job",)
    assert made.created == "1970-01-02T00:00:00Z"
    assert world("export", "-process-type", "none", "acme/shop") == 62


@pytest.mark.cnb("EXC-06")
def test_each_phase_reads_what_it_needs_from_the_disk_alone(world: World) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    made = image(world).digest
    kept = {"analyzed.toml", "group.toml", "acme_a", "config", "sbom"}
    for path in world.path("layers").iterdir():
        if path.name not in kept:
            path.unlink()
    shutil.rmtree(world.path("bps"))
    assert world("export", "acme/again") == 0
    assert image(world, "acme/again").digest == made


def test_an_image_that_moved_since_analyze_is_noticed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", writes(FILES))
    assert [world("analyze", "acme/shop"), world("detect"), world("restore"), world("build")] == [0] * 4
    world.run_image("acme/run:1", working_dir="/moved")
    assert world("export", "acme/shop") == 62
    assert "error[image-moved]" in capsys.readouterr().err


@pytest.mark.fault("SBX-01")
@pytest.mark.parametrize("name", ["analyzed.toml", "group.toml", "project-metadata.toml", "config/metadata.toml"])
def test_a_link_that_a_buildpack_left_for_a_file_is_not_followed(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = world.put("secret", "the = 'hidden value'\n")
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    place = world.path(f"layers/{name}")
    place.unlink(missing_ok=True)
    place.symlink_to(secret)
    assert world("export", "acme/shop") == 62
    err = capsys.readouterr().err
    assert "hidden" not in err
    assert "error[unsafe-tree]" in err


@pytest.mark.cnb("RBS-01", "RBS-02", "RBS-03", "RBS-08", "RBS-11")
def test_rebase_in_layouts(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("a", writes(FILES))
    assert world.all() == [0] * 5
    before = image(world)
    world.run_image("acme/run:1", working_dir="/newer")
    newer = image(world, "acme/run:1")
    world.run_image("acme/other:1")
    assert world("rebase", "-previous-image", "acme/shop", "acme/shop:new", "acme/shop:latest-base") == 0
    assert image(world).digest == before.digest
    made = image(world, "acme/shop:new")
    assert made.digest == image(world, "acme/shop:latest-base").digest
    assert made.layers[: len(newer.layers)] == newer.layers
    assert [x.diff_id for x in made.layers[len(newer.layers) :]] == [x.diff_id for x in before.layers[1:]]
    assert json.loads(made.labels[labels.LIFECYCLE])["runImage"]["reference"] == f"acme/run:1@{newer.digest}"
    assert read(world, "report.toml")["image"]["tags"] == ["acme/shop:new", "acme/shop:latest-base"]
    capsys.readouterr()
    assert world("rebase", "-run-image", "acme/other:1", "acme/shop:new") == 72
    assert world("rebase", "-run-image", "acme/other:1", "-force", "acme/shop:new") == 0
    assert world("rebase", "acme/none") == 72


def with_extension(world: World, dockerfile: str, *, code: int = 0) -> None:
    """Add the extension acme/e, which provides what the buildpack acme/a requires."""

    def provides(call: Call) -> int:
        with open(call.args[1], "a", encoding="utf-8") as file:
            file.write('[[provides]]\nname = "tool"\n')
        return 0

    def requires(call: Call) -> int:
        with open(call.args[1], "a", encoding="utf-8") as file:
            file.write('[[requires]]\nname = "tool"\n')
        return 0

    def generate(call: Call) -> int:
        with open(f"{call.args[0]}/run.Dockerfile", "w", encoding="utf-8") as file:
            file.write(dockerfile)
        return code

    world.add("a", writes(FILES), requires)
    place = world.path("exts/acme_e/1.0.0")
    world.put("exts/acme_e/1.0.0/extension.toml", 'api = "0.10"\n[extension]\nid = "acme/e"\nversion = "1.0.0"\n')
    for name, program in (("detect", provides), ("generate", generate)):
        world.put(f"exts/acme_e/1.0.0/bin/{name}", "#!/bin/sh\n").chmod(0o755)
        world.programs[f"{place}/bin/{name}"] = program
    text = world.path("order.toml").read_text()
    world.put(
        "order.toml", text + '[[order-extensions]]\n[[order-extensions.group]]\nid = "acme/e"\nversion = "1.0.0"\n'
    )


@pytest.mark.cnb("EXT-06", "EXT-08", "EXT-10", "DET-24")
def test_detect_ends_with_generate_where_extensions_take_part(world: World) -> None:
    with_extension(world, "FROM acme/chosen:1\n")
    assert [world("analyze", "acme/shop"), world("detect")] == [0, 0]
    assert read(world, "group.toml")["group-extensions"] == [{"id": "acme/e", "version": "1.0.0", "api": "0.10"}]
    assert world.path("layers/generated/acme_e/run.Dockerfile").exists()
    assert read(world, "analyzed.toml")["run-image"] == {"reference": "acme/chosen:1", "image": "acme/chosen:1"}
    assert read(world, "plan.toml")["entries"] == []


@pytest.mark.cnb("EXT-08", "EXT-09", "RES-04", "EXT-15")
def test_restore_looks_up_the_run_image_that_an_extension_chose(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with_extension(world, "FROM acme/chosen:1\nRUN true\n")
    layout = ("-layout", "-layout-dir", str(world.path("layout")))
    assert [world("analyze", "acme/shop"), world("detect"), world("restore", *layout)] == [0, 0, 42]
    assert "error[run-image]" in capsys.readouterr().err
    chosen = world.run_image("acme/chosen:1")
    assert world("restore") == 0
    assert read(world, "analyzed.toml")["run-image"]["reference"] == "acme/chosen:1"
    assert world("restore", *layout) == 0
    run = read(world, "analyzed.toml")["run-image"]
    assert run["reference"] == f"{world.layouts.path('acme/chosen:1')}@{chosen.digest}"
    assert (run["image"], run["extend"]) == ("acme/chosen:1", True)
    assert run["target"]["distro"] == {"name": "debian", "version": "13"}
    assert world("build") == 0
    assert "acme/e" in world.path("layers/config/metadata.toml").read_text()
    # What is to be extended is not exported as it is.
    assert world("export", "acme/shop") == 62
    assert "error[extended-image]" in capsys.readouterr().err
    world.path("elsewhere/run").mkdir(parents=True)
    world.path("layers/extended").symlink_to(world.path("elsewhere"))
    assert world("export", "acme/shop") == 62


@pytest.mark.cnb("EXC-02", "EXT-05")
def test_a_failed_generate_is_91(world: World) -> None:
    with_extension(world, "FROM acme/chosen:1\n", code=1)
    assert [world("analyze", "acme/shop"), world("detect"), world("generate")] == [0, 91, 91]


@pytest.mark.cnb("EXC-06")
def test_create_cannot_extend(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with_extension(world, "FROM acme/chosen:1\n")
    assert world("create", "acme/shop") == 22
    assert "error[create-extensions]" in capsys.readouterr().err


@pytest.mark.cnb("EXC-05")
def test_extensions_are_an_experiment_before_0_13(world: World) -> None:
    with_extension(world, "FROM acme/chosen:1\n")
    assert world("analyze", "acme/shop") == 0
    world.level = "0.12"
    assert world("detect", CNB_EXPERIMENTAL_MODE="error") == 1
    assert world("detect", CNB_EXPERIMENTAL_MODE="silent") == 0
    assert world.path("layers/generated/run/acme_e/Dockerfile").exists()
