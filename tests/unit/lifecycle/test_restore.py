"""What of the last build comes back."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from packrunner.events import Noted, Warned
from packrunner.formats import labels
from packrunner.lifecycle import cache, decisions
from packrunner.names import Digest
from tests.cycle import NAME, World, writes
from tests.fakes import Call, FakeReporter

ALL = "[types]\nlaunch = true\nbuild = true\ncache = true\n"
KEPT = "[types]\nlaunch = true\ncache = true\n[metadata]\nn = 1\nlist = [1, 2.5]\n"
ONLY = "[types]\ncache = true\n[metadata]\nk = 'v'\n"
LAUNCH = "[types]\nlaunch = true\n[metadata]\nk = 'v'\n"
BUILD = "[types]\nlaunch = true\nbuild = true\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path)


def listing(world: World) -> set[str]:
    """Every file and link below the layers directory, and empty directories with a final slash."""
    found = set()
    for base, dirs, files in os.walk(world.layers()):
        place = os.path.relpath(base, world.layers())
        found |= {os.path.normpath(f"{place}/{name}") for name in files}
        found |= {os.path.normpath(f"{place}/{d}") for d in dirs if os.path.islink(os.path.join(base, d))}
        if not dirs and not files:
            found.add(f"{place}/")
    return found


def inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_ctime_ns


@pytest.mark.cnb("RES-01")
def test_a_first_build_starts_with_empty_directories(world: World) -> None:
    world.add("a", writes({}))
    world.layers("stale").mkdir()
    world.layers("stale/file").write_text("x")
    result = world.restore()
    assert listing(world) == {"acme_a/"}
    assert result.decisions == ()


@pytest.mark.cnb("RES-09")
@pytest.mark.cnb("RES-10")
@pytest.mark.cnb("RES-11")
@pytest.mark.cnb("RES-14")
@pytest.mark.cnb("RES-15")
def test_what_comes_back_by_type(world: World) -> None:
    files = {
        **{f"{n}/f": n for n in ("kept", "only", "run", "tool", "none", "bare")},
        "kept.toml": KEPT,
        "only.toml": ONLY,
        "run.toml": LAUNCH,
        "tool.toml": BUILD,
        "compiler.toml": "[types]\nbuild = true\n",
        "compiler/f": "compiler",
        "none.toml": "",
        "launch.toml": '[[processes]]\ntype = "web"\ncommand = ["x"]\n',
    }
    world.add("a", writes(files))
    world.add("other", writes({"x.toml": ONLY, "x/f": "x"}))
    world.cycle()
    world.members = world.members[:1]
    trees = inode(world.layers("acme_a/kept/f")), inode(world.layers("acme_a/only/f"))
    result = world.restore()
    assert listing(world) == {f"acme_a/{f}" for f in ("kept.toml", "kept/f", "only.toml", "only/f", "run.toml")}
    assert (inode(world.layers("acme_a/kept/f")), inode(world.layers("acme_a/only/f"))) == trees
    assert tomllib.loads(world.layers("acme_a/kept.toml").read_text()) == {"metadata": {"n": 1, "list": [1, 2.5]}}
    assert tomllib.loads(world.layers("acme_a/run.toml").read_text()) == {"metadata": {"k": "v"}}
    assert {(d.name, d.action) for d in result.decisions} == {
        ("kept", "kept"),
        ("only", "kept"),
        ("run", "metadata"),
        ("tool", "dropped"),
    }
    (noted,) = [e for e in world.reporter.of(Noted) if "tool" in e.text]
    assert decisions.BUILD_ONLY in noted.text


@pytest.mark.cnb("RES-15")
def test_a_changed_tree_is_unpacked_again_with_modes_and_links(world: World) -> None:
    def program(call: Call) -> None:
        call.write("x.toml", ONLY)
        if not os.path.exists(call.path("x/bin/tool")):
            call.write("x/bin/tool", "good", mode=0o750)
            call.write("x/sub/deep", "deep", mode=0o640)
            os.symlink("bin/tool", call.path("x/link"))
            os.chmod(call.path("x"), 0o711)

    world.add("a", program)
    world.cycle()
    tool = world.layers("acme_a/x/bin/tool")
    tool.write_text("bad!")
    world.layers("acme_a/x/extra").write_text("left by a killed build")
    result = world.restore()
    assert [d.action for d in result.decisions] == ["unpacked"]
    assert tool.read_text() == "good"
    assert tool.stat().st_mode & 0o7777 == 0o750
    assert world.layers("acme_a/x").stat().st_mode & 0o7777 == 0o711
    assert os.readlink(world.layers("acme_a/x/link")) == "bin/tool"
    assert listing(world) == {f"acme_a/{f}" for f in ("x.toml", "x/bin/tool", "x/sub/deep", "x/link")}
    world.build()
    exported = world.export()
    assert [(r.name, r.state) for r in exported.layers if r.buildpack] == [("x", "reused")]
    world.save(exported)
    assert [d.action for d in world.restore().decisions] == ["kept"]


@pytest.mark.cnb("RES-08")
@pytest.mark.cnb("RES-17")
def test_clearing_leaves_what_buildpacks_store(world: World) -> None:
    files = {
        "x.toml": KEPT,
        "x/f": "x",
        "run.toml": LAUNCH,
        "run/f": "x",
        "store.toml": "[metadata]\nsecret = 'kept'\n",
    }
    world.add("a", writes(files))
    world.cycle()
    result = world.restore(clear=True)
    assert listing(world) == {"acme_a/store.toml"}
    assert tomllib.loads(world.layers("acme_a/store.toml").read_text()) == {"metadata": {"secret": "kept"}}
    assert {d.reason for d in result.decisions} == {decisions.CLEARED}


@pytest.mark.cnb("RES-08")
def test_what_buildpacks_store_comes_from_the_image(world: World) -> None:
    world.add("a", writes({"store.toml": "[metadata]\nk = 1\n", "x.toml": ONLY, "x/f": "x"}))
    world.cycle()
    world.store.remove(NAME)
    world.restore()
    assert listing(world) == {"acme_a/x.toml", "acme_a/x/f"}


@pytest.mark.cnb("RES-12")
def test_image_and_cache_must_agree(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    record = world.cache
    other = cache.CachedLayer(diff_id="sha256:" + "0" * 64, size=1, tree="")
    changed = cache.CachedBuildpack(key="acme/a", version="1.2.3", layers={"x": other})
    cache.write(str(world.root / "cache.json"), cache.CacheRecord(exec_env="production", buildpacks=(changed,)))
    result = world.restore()
    assert listing(world) == {"acme_a/"}
    assert [d.reason for d in result.decisions] == [decisions.DISAGREE]
    assert record.buildpacks


@pytest.mark.cnb("RES-12")
@pytest.mark.fault("STO-21")
def test_a_layer_that_the_cache_lost_does_not_come_back(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    (world.root / "cache.json").unlink()
    result = world.restore()
    assert listing(world) == {"acme_a/"}
    assert [d.reason for d in result.decisions] == [decisions.NOT_CACHED]


@pytest.mark.cnb("RES-13")
def test_a_launch_layer_comes_back_from_the_cache_alone(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", "run.toml": LAUNCH, "run/f": "x"}))
    world.cycle()
    world.store.remove(NAME)
    world.restore()
    assert listing(world) == {"acme_a/x.toml", "acme_a/x/f"}
    assert tomllib.loads(world.layers("acme_a/x.toml").read_text()) == {"metadata": {"n": 1, "list": [1, 2.5]}}


@pytest.mark.cnb("RES-16")
def test_sboms_of_layers_come_back_and_others_do_not(world: World) -> None:
    cdx = "{0}.sbom.cdx.json"
    files = {
        **{f"{n}.toml": t for n, t in {"kept": KEPT, "only": ONLY, "run": LAUNCH, "tool": BUILD}.items()},
        **{f"{n}/f": n for n in ("kept", "only", "run", "tool")},
        **{cdx.format(n): f"{{{n}}}" for n in ("kept", "only", "run", "tool", "launch", "build")},
    }
    world.add("a", writes(files), sbom_formats=("application/vnd.cyclonedx+json",))
    world.cycle()
    world.layers("acme_a/kept.sbom.cdx.json").write_text("changed by a killed build")
    world.restore()
    expected = {f"acme_a/{n}{e}" for n in ("kept", "only") for e in (".toml", "/f", ".sbom.cdx.json")}
    assert listing(world) == expected | {"acme_a/run.toml", "acme_a/run.sbom.cdx.json"}
    assert world.layers("acme_a/kept.sbom.cdx.json").read_text() == "{kept}"
    assert world.layers("acme_a/only.sbom.cdx.json").read_text() == "{only}"


@pytest.mark.cnb("RES-18")
@pytest.mark.cnb("RES-11")
@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_a_damaged_copy_is_warned_about_and_not_used(world: World, damage: str) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    blob = Path(world.store.blob_path(Digest(world.cache.layers_of("acme/a")["x"].diff_id)))
    if damage == "gone":
        blob.unlink()
    else:
        data = bytearray(blob.read_bytes())
        data[600] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(data)
        world.layers("acme_a/x/f").write_text("changed")
    result = world.restore()
    assert listing(world) == {"acme_a/"}
    assert [d.action for d in result.decisions] == ["dropped"]
    (warned,) = world.reporter.of(Warned)
    assert "x" in warned.text
    world.build()
    world.export()


@pytest.mark.cnb("RES-19")
def test_another_execution_environment_starts_anew(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", "run.toml": LAUNCH}))
    world.programs["/cnb/buildpacks/acme_a/1.2.3/bin/build"] = writes({"x.toml": KEPT, "x/f": "x"})
    world.cycle()
    result = world.restore(exec_env="test")
    assert listing(world) == {"acme_a/"}
    assert [d.reason for d in result.decisions] == [decisions.OTHER_ENV]
    assert world.cycle(exec_env="test").cache.exec_env == "test"


def test_a_failed_build_leaves_the_last_state_usable(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    first = world.cycle()
    world.restore()
    world.layers("acme_a/x/f").write_text("half")
    world.layers("acme_a/x.toml").unlink()
    assert [d.action for d in world.restore().decisions] == ["unpacked"]
    world.build()
    assert world.export().image.digest == first.image.digest


@pytest.mark.parametrize("text", ["", "{", '{"format": 99}', '{"buildpacks": 1}', "\xff"])
def test_a_torn_record_is_no_record(world: World, text: str) -> None:
    (world.root / "cache.json").write_bytes(text.encode("latin-1"))
    assert world.cache == cache.CacheRecord()


def test_the_record_names_the_blobs_that_it_needs(world: World) -> None:
    files = {"x.toml": KEPT, "x/f": "x", "y.toml": ONLY, "y/f": "y", "x.sbom.cdx.json": "{}"}
    world.add("a", writes(files), sbom_formats=("application/vnd.cyclonedx+json",))
    world.cycle()
    blobs = set(cache.referenced_blobs(world.cache))
    assert len(blobs) == 3
    assert all(world.store.has(Digest(b)) for b in blobs)


@pytest.mark.fault("SBX-03")
@pytest.mark.fault("SBX-09")
@pytest.mark.fault("SBX-10")
@pytest.mark.parametrize("place", ["acme_a", "acme_a/x", "acme_a/x.toml", "acme_a/store.toml", "other", "sbom"])
def test_links_left_by_a_build_lead_nowhere(world: World, place: str) -> None:
    outside = world.root / "outside"
    (outside / "x").mkdir(parents=True)
    (outside / "x/f").write_text("sentinel")
    (outside / "x.toml").write_text("sentinel")
    before = {p: (p.read_text(), p.stat().st_mtime_ns) for p in (outside / "x/f", outside / "x.toml")}
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", "store.toml": "[metadata]\nk = 1\n"}))
    world.cycle()
    target = world.layers(place)
    if target.exists():
        target.rename(world.root / "moved")
    target.symlink_to(outside / "x.toml" if place.endswith(".toml") else outside)
    world.restore()
    assert {p: (p.read_text(), p.stat().st_mtime_ns) for p in before} == before
    assert {p.name for p in outside.rglob("*")} == {"x", "f", "x.toml"}
    assert listing(world) == {"acme_a/x.toml", "acme_a/x/f", "acme_a/store.toml"}
    assert world.layers("acme_a/x/f").read_text() == "x"


@pytest.mark.fault("SBX-09")
def test_directories_without_rights_are_removed(world: World) -> None:
    world.add("a", writes({}))
    world.layers("acme_a/junk/inner").mkdir(parents=True)
    world.layers("acme_a/junk/inner/f").write_text("x")
    world.layers("acme_a/junk").chmod(0)
    world.restore()
    assert listing(world) == {"acme_a/"}


@pytest.mark.fault("SBX-17")
@pytest.mark.parametrize("name", ["../x", "..", "a/b", "launch", ""])
def test_names_in_a_hostile_label_make_no_paths(world: World, name: str) -> None:
    world.add("a", writes({}))
    record = labels.BuildpackRecord(
        key="acme/a", version="1", layers={name: labels.LayerRecord(sha="sha256:x", launch=True, data={"k": 1})}
    )
    label = labels.LifecycleLabel(buildpacks=(record,), sbom=labels.Sha(sha="sha256:../../x"))
    world.restore(label=label)
    assert listing(world) == {"acme_a/"}
    assert not list(world.root.glob("x*"))


def test_nothing_is_said_when_nothing_is_lost(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x"}))
    world.cycle()
    world.reporter = FakeReporter()
    world.restore()
    assert world.reporter.events == []


@pytest.mark.cnb("RES-15")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_restores_belongs_to_the_images_user(world: World) -> None:
    world.add("a", writes({"x.toml": KEPT, "x/f": "x", "store.toml": "[metadata]\nk = 1\n"}))
    world.cycle()
    world.layers("acme_a/x/f").unlink()
    world.restore(owner=(12345, 12346))
    places = ["acme_a/x.toml", "acme_a/store.toml", "acme_a/x", "acme_a/x/f"]
    assert {(world.layers(p).stat().st_uid, world.layers(p).stat().st_gid) for p in places} == {(12345, 12346)}
