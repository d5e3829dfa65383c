"""Unpacked layers: made once, kept while used, made again when damaged, removed when nobody needs them."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.engines.sandbox import SandboxEngine
from packrunner.errors import CorruptError, StoreError, UnsafeArchiveError
from packrunner.images import snapshot
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.names import Digest
from tests.rawtar import contents, directory, entry, hard_link, link, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = (directory("./", mode=0o751), directory("d", mode=0o1777), entry("d/low", b"low"), entry("f", b"low"))
TOP = (directory("d"), entry("d/new", b"new"), entry(".wh.f"), link("l", "/etc/passwd"))


class Place:
    """A store and the snapshots of its layers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = str(root / "snapshots")
        self.store = LocalStore(str(root / "store"))
        self.snapshots = Snapshots(self.path, self.store)

    def layer(self, *entries: bytes, packed: bool = False) -> Layer:
        data = tar(*entries)
        blob = self.store.add(gzip.compress(data, mtime=0) if packed else data)
        return Layer(diff_id=Digest("sha256:" + hashlib.sha256(data).hexdigest()), blob=blob)

    def image(self, *layers: tuple[bytes, ...]) -> Image:
        return Image(layers=tuple(self.layer(*entries) for entries in layers))

    def other(self) -> Snapshots:
        """Another process's view."""
        return Snapshots(self.path, self.store)

    def leftovers(self) -> list[str]:
        return [name for name in os.listdir(self.path) if name.startswith(".packrunner-")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.snapshots.close()


def test_lowers_are_the_layers_lowest_first(place: Place) -> None:
    image = Image(layers=(place.layer(*BASE), place.layer(*TOP, packed=True)))
    lowers = place.snapshots.lowers(image)
    assert [os.path.relpath(lower, place.path) for lower in lowers] == [
        f"{one.diff_id.hex}/tree" for one in image.layers
    ]
    assert [contents(lower) for lower in lowers] == [
        {"d": "dir", "d/low": "low", "f": "low"},
        {"d": "dir", "d/new": "new", "f": "whiteout", "l": "-> /etc/passwd"},
    ]
    assert os.stat(lowers[0]).st_mode & 0o7777 == 0o751
    assert os.stat(lowers[1]).st_mode & 0o7777 == 0o755
    assert os.stat(place.path).st_mode & 0o077 == 0
    assert place.leftovers() == []


def test_a_layer_that_an_image_has_twice_is_shown_once_at_its_upper_place(place: Place) -> None:
    """An application image as the run image of the same application."""
    low, top = place.layer(*BASE), place.layer(*TOP)
    lowers = place.snapshots.lowers(Image(layers=(low, top, low)))
    assert lowers == tuple(reversed(place.snapshots.lowers(Image(layers=(low, top)))))


def test_a_layer_is_unpacked_once(place: Place) -> None:
    image = place.image(BASE)
    before = place.snapshots.lowers(image)
    inode = os.stat(before[0]).st_ino
    os.unlink(place.store.blob_path(image.layers[0].blob.digest))
    assert place.snapshots.lowers(image) == before == place.other().lowers(image)
    assert os.stat(before[0]).st_ino == inode


@pytest.mark.parametrize("damage", ["file", "gone", "marker", "no-marker", "tree-is-a-link"])
def test_a_damaged_tree_is_made_again(place: Place, damage: str) -> None:
    image = place.image(BASE)
    (tree,) = place.snapshots.lowers(image)
    marker = os.path.join(os.path.dirname(tree), "made")
    if damage == "file":
        os.unlink(os.path.join(tree, "f"))
    elif damage == "marker":
        os.truncate(marker, 10)
    elif damage == "no-marker":
        os.unlink(marker)
    else:
        os.rename(tree, str(place.root / "moved"))
        if damage == "tree-is-a-link":
            os.symlink(str(place.root / "moved"), tree)
    other = place.other()
    assert other.lowers(image) == (tree,)
    assert contents(tree) == {"d": "dir", "d/low": "low", "f": "low"}
    assert not os.path.islink(tree)
    # Whoever has the damaged one mounted keeps it until nobody uses the layer.
    assert len(place.leftovers()) == 1
    assert place.other().prune(frozenset(image_ids(image))) == 0
    other.close()
    place.snapshots.close()
    place.other().prune(frozenset(image_ids(image)))
    assert place.leftovers() == []
    assert os.path.isdir(tree)


def image_ids(image: Image) -> list[str]:
    return [layer.diff_id for layer in image.layers]


def test_after_the_machine_started_again_every_file_is_looked_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = place.image(BASE)
    (tree,) = place.snapshots.lowers(image)
    deep = os.path.join(tree, "d/low")
    with open(deep, "wb"):
        pass
    assert place.other().lowers(image) == (tree,)
    assert os.stat(deep).st_size == 0
    boot = str(place.root / "boot")
    with open(boot, "w", encoding="ascii") as file:
        file.write("another\n")
    monkeypatch.setattr(snapshot, "_BOOT", boot)
    assert place.other().lowers(image) == (tree,)
    assert os.stat(deep).st_size == 3
    inode = os.stat(tree).st_ino
    monkeypatch.setattr(snapshot, "_BOOT", str(place.root / "none"))
    assert place.other().lowers(image) == (tree,)
    assert os.stat(tree).st_ino == inode


def test_verify_names_what_differs(place: Place) -> None:
    image = place.image(BASE, TOP)
    assert place.snapshots.verify(image) == []
    lowers = place.snapshots.lowers(image)
    assert place.snapshots.verify(image) == []
    with open(os.path.join(lowers[0], "d/low"), "ab") as file:
        file.write(b"more")
    os.unlink(os.path.join(lowers[1], "l"))
    first, second = (os.path.relpath(lower, place.path) for lower in lowers)
    assert place.snapshots.verify(image) == [f"{first}/d/low", f"{second}/l"]


class TestAdopt:
    def tree(self, place: Place) -> str:
        path = str(place.root / "ready")
        os.mkdir(path, 0o755)
        with open(os.path.join(path, "g"), "wb") as file:
            file.write(b"given")
        return path

    def test_a_ready_tree_becomes_the_layers(self, place: Place) -> None:
        image = place.image(BASE)
        given = self.tree(place)
        path = place.snapshots.adopt(image.layers[0].diff_id, given)
        assert not os.path.exists(given)
        assert contents(path) == {"g": "given"}
        assert place.snapshots.lowers(image) == (path,)
        assert place.snapshots.verify(image) == []

    def test_a_tree_that_is_there_is_kept(self, place: Place) -> None:
        image = place.image(BASE)
        (path,) = place.snapshots.lowers(image)
        given = self.tree(place)
        assert place.snapshots.adopt(image.layers[0].diff_id, given) == path
        assert contents(path) == {"d": "dir", "d/low": "low", "f": "low"}
        assert contents(given) == {"g": "given"}

    @pytest.mark.parametrize("kind", ["none", "file", "link"])
    def test_only_directories_can_be_adopted(self, place: Place, kind: str) -> None:
        given = str(place.root / "given")
        if kind == "file":
            open(given, "wb").close()
        elif kind == "link":
            os.symlink("/etc", given)
        with pytest.raises(StoreError) as error:
            place.snapshots.adopt(place.image(BASE).layers[0].diff_id, given)
        assert error.value.slug == "snapshot-adopt"
        assert place.leftovers() == []

    def test_another_file_system_is_refused(self, place: Place) -> None:
        elsewhere = "/dev/shm"
        if not os.access(elsewhere, os.W_OK) or os.stat(elsewhere).st_dev == os.stat(place.root).st_dev:
            pytest.skip("there is no other file system to write to")
        given = os.path.join(elsewhere, f"packrunner-test-{os.getpid()}")
        os.mkdir(given)
        try:
            with pytest.raises(StoreError) as error:
                place.snapshots.adopt(place.image(BASE).layers[0].diff_id, given)
            assert error.value.slug == "snapshot-adopt"
            assert os.path.isdir(given)
        finally:
            os.rmdir(given)


class TestPrune:
    def test_what_nobody_needs_goes(self, place: Place) -> None:
        image = place.image(BASE, TOP)
        lowers = place.snapshots.lowers(image)
        place.snapshots.close()
        keep = frozenset({image.layers[0].diff_id})
        would_free = place.other().prune(keep, dry_run=True)
        assert all(os.path.isdir(lower) for lower in lowers)
        assert place.other().prune(keep) == would_free > 0
        assert [os.path.isdir(lower) for lower in lowers] == [True, False]

    def test_what_is_in_use_stays(self, place: Place) -> None:
        (tree,) = place.snapshots.lowers(place.image(BASE))
        assert place.other().prune(frozenset()) == 0
        assert os.path.isdir(tree)
        place.snapshots.close()
        assert place.other().prune(frozenset()) > 0
        assert not os.path.exists(tree)

    def test_closed_directories_go_too(self, place: Place) -> None:
        place.snapshots.lowers(place.image((directory("d", mode=0), directory("d/e", mode=0), entry("d/e/f", b"x"))))
        place.snapshots.close()
        place.other().prune(frozenset())
        assert os.listdir(place.path) == ["locks"]

    def test_other_peoples_names_stay(self, place: Place) -> None:
        place.snapshots.lowers(place.image(BASE))
        place.snapshots.close()
        for name in ("notes", ".packrunner-notes"):
            os.mkdir(os.path.join(place.path, name))
        place.other().prune(frozenset())
        assert sorted(os.listdir(place.path)) == [".packrunner-notes", "locks", "notes"]

    def test_nothing_there(self, place: Place) -> None:
        assert place.snapshots.prune(frozenset()) == 0
        assert not os.path.exists(place.path)


class TestLayersThatCannotBeUnpacked:
    @pytest.mark.fault("ARC-02")
    def test_hostile(self, place: Place) -> None:
        with pytest.raises(UnsafeArchiveError):
            place.snapshots.lowers(place.image((entry("../x"),)))
        assert os.listdir(place.path) == ["locks"]

    @pytest.mark.fault("ARC-28")
    @pytest.mark.parametrize("more", [-1, 1])
    def test_another_size(self, place: Place, more: int) -> None:
        layer = place.layer(*BASE)
        blob = Descriptor(digest=layer.blob.digest, size=layer.blob.size + more)
        with pytest.raises(CorruptError) as error:
            place.snapshots.lowers(Image(layers=(Layer(diff_id=layer.diff_id, blob=blob),)))
        assert error.value.slug == "archive-digest"

    @pytest.mark.fault("ARC-29")
    def test_a_wrong_diff_id(self, place: Place) -> None:
        one, other = place.layer(*BASE), place.layer(*TOP)
        with pytest.raises(CorruptError) as error:
            place.snapshots.lowers(Image(layers=(Layer(diff_id=one.diff_id, blob=other.blob),)))
        assert error.value.slug == "archive-digest"
        assert os.listdir(place.path) == ["locks"]

    @pytest.mark.parametrize("damage", ["missing", "changed"])
    def test_a_damaged_store(self, place: Place, damage: str) -> None:
        image = place.image(BASE)
        path = place.store.blob_path(image.layers[0].blob.digest)
        if damage == "missing":
            os.unlink(path)
        else:
            with open(path, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"x")
        with pytest.raises(CorruptError) as error:
            place.snapshots.lowers(image)
        assert error.value.slug in {"store-missing", "store-corrupt", "archive-digest"}
        assert os.listdir(place.path) == ["locks"]

    @pytest.mark.fault("ARC-42")
    def test_a_blob_that_is_a_link_to_a_file_of_the_host(self, place: Place) -> None:
        image = place.image(BASE)
        path = place.store.blob_path(image.layers[0].blob.digest)
        os.rename(path, str(place.root / "elsewhere"))
        os.symlink(str(place.root / "elsewhere"), path)
        with pytest.raises(StoreError):
            place.snapshots.lowers(image)
        assert os.listdir(place.path) == ["locks"]


class TestManyLayers:
    def image(self, place: Place, count: int = 40) -> Image:
        layers: list[tuple[bytes, ...]] = [
            (entry("base", b"0"), directory("d"), entry("d/low", b"0"), directory("gone"))
        ]
        layers += [(entry(f"f{n}", b"%d" % n), directory("d"), entry("d/n", b"%d" % n)) for n in range(count - 2)]
        layers.append(
            (entry(".wh.f0"), entry(".wh.base"), entry(f".wh.f{count - 3}"), entry("d/.wh.low"), entry(".wh.gone"))
        )
        return place.image(*layers)

    def test_the_upper_ones_are_merged(self, place: Place) -> None:
        image = self.image(place)
        lowers = place.snapshots.lowers(image)
        assert 2 <= len(lowers) < 40
        assert sum(len(os.fsencode(lower)) + 10 for lower in lowers) <= snapshot.STACK_BYTES
        top = contents(lowers[-1])
        assert {path: top[path] for path in ("f0", "base", "gone", "f37", "d/low", "d/n", "f36")} == {
            "f0": "whiteout",
            "base": "whiteout",
            "gone": "whiteout",
            "f37": "whiteout",
            "d/low": "whiteout",
            "d/n": "37",
            "f36": "36",
        }
        assert place.other().lowers(image) == lowers
        assert place.snapshots.verify(image) == []

    def test_a_merged_tree_is_kept_with_all_of_its_layers(self, place: Place) -> None:
        image = self.image(place)
        *_, merged = place.snapshots.lowers(image)
        place.snapshots.close()
        ids = frozenset(image_ids(image))
        assert place.other().prune(ids) == 0
        place.other().prune(ids - {image.layers[-1].diff_id})
        assert not os.path.exists(merged)

    def test_an_opaque_root_hides_all_below(self, place: Place) -> None:
        image = place.image(BASE, (entry(".wh..wh..opq"), entry("new", b"1")), (entry("more", b"2"),))
        lowers = place.snapshots.lowers(image)
        assert [contents(lower) for lower in lowers] == [{"new": "1"}, {"more": "2"}]

    @pytest.mark.sandbox
    @pytest.mark.fault("ARC-16")
    def test_the_kernel_shows_the_image(self, place: Place) -> None:
        """The stack, mounted as the sandbox does."""
        replaced = (entry(".wh.d"), directory("d"), entry("d/only", b"1"), hard_link("h", "d/only"))
        image = Image(layers=(*self.image(place).layers, place.layer(*replaced)))
        found = listing(place.snapshots.lowers(image))
        assert found == sorted(["d", "d/only", "h", *[f"f{n}" for n in range(1, 37)]])
        few = place.image(BASE, TOP, replaced, (entry("d/.wh..wh..opq"), directory("d"), entry("d/last", b"1")))
        assert listing(place.snapshots.lowers(few)) == ["d", "d/last", "h", "l"]


def listing(lowers: tuple[str, ...]) -> list[str]:
    sources = [word for lower in lowers for word in ("--overlay-src", lower)]
    ids = [] if os.geteuid() == 0 else ["--unshare-user"]
    command = [SandboxEngine("", environ={}).bwrap, *ids, "--ro-bind", "/", "/", *sources, "--tmp-overlay", "/mnt"]
    done = subprocess.run([*command, "find", "/mnt", "-mindepth", "1"], capture_output=True, text=True, check=True)
    return sorted(line.removeprefix("/mnt/") for line in done.stdout.splitlines())


PROGRAM = """
import sys, time
from packrunner.images.image import Descriptor, Image, Layer
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.names import Digest
root, diff_id, blob, size = sys.argv[1:]
layer = Layer(diff_id=Digest(diff_id), blob=Descriptor(digest=Digest(blob), size=int(size)))
snapshots = Snapshots(root + "/snapshots", LocalStore(root + "/store"))
print(snapshots.lowers(Image(layers=(layer,)))[0], flush=True)
sys.stdin.read()
"""


def start(place: Place, layer: Layer) -> subprocess.Popen[str]:
    command: list[Any] = [sys.executable, "-c", PROGRAM, place.root, layer.diff_id, layer.blob.digest, layer.blob.size]
    return subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.fault("STO-10")
def test_two_processes_unpack_once_and_a_dead_ones_hold_ends(place: Place) -> None:
    layer = place.layer(*[entry(f"d{n % 20}/{n}", b"x" * 100) for n in range(1500)])
    processes = [start(place, layer) for _ in range(3)]
    try:
        paths = {process.stdout.readline().strip() for process in processes if process.stdout}
        assert len(paths) == 1
        assert place.leftovers() == []
        assert place.other().prune(frozenset()) == 0
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert place.other().prune(frozenset()) > 0
    finally:
        for process in processes:
            end(process)


@pytest.mark.fault("STO-10")
@pytest.mark.parametrize("when", range(4))
def test_a_process_killed_while_it_unpacks_leaves_nothing_for_long(place: Place, when: int) -> None:
    layer = place.layer(*[entry(f"d{n % 20}/{n}", b"x" * 100) for n in range(4000)])
    process = start(place, layer)
    try:
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            if os.path.isdir(place.path) and (made := place.leftovers()):
                tree = os.path.join(place.path, made[0], "tree")
                if when == 0 or (os.path.isdir(tree) and len(os.listdir(tree)) >= when * 6):
                    break
            if process.poll() is not None or os.path.isdir(os.path.join(place.path, layer.diff_id.hex)):
                break
        process.kill()
        process.wait()
        (tree,) = place.snapshots.lowers(Image(layers=(layer,)))
        assert len(contents(tree)) == 4020
        assert place.leftovers() == []
    finally:
        end(process)


def test_prune_takes_what_a_killed_process_left(place: Place) -> None:
    image = place.image(BASE)
    (tree,) = place.snapshots.lowers(image)
    place.snapshots.close()
    name = os.path.basename(os.path.dirname(tree))
    for kind in ("new", "old"):
        os.makedirs(os.path.join(place.path, f".packrunner-0123456789ab-{kind}-{name}", "tree", "d"))
    place.other().prune(frozenset(image_ids(image)))
    assert place.leftovers() == []
    assert os.path.isdir(tree)
