"""The image store in good times: names, digests, prune, several processes, and what must be refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import CorruptError, StoreError, UsageError
from packrunner.images.image import Image, Layer
from packrunner.images.layer import File, write_layer
from packrunner.images.store import LocalStore
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def layer(store: LocalStore, text: str) -> Layer:
    return write_layer(store, [File(target="/f", data=text.encode())], created_by=text).layer


def image(store: LocalStore, *texts: str) -> Image:
    return Image().with_layers(*(layer(store, text) for text in texts))


def blobs(store: LocalStore) -> set[str]:
    return set(os.listdir(os.path.join(store.root, "blobs", "sha256")))


def blobs_of(*images: Image) -> set[str]:
    digests = [d for i in images for d in (i.digest, i.config.digest, *(x.blob.digest for x in i.layers))]
    return {digest.hex for digest in digests}


def test_an_absent_store_is_empty(store: LocalStore) -> None:
    assert store.list() == []
    assert store.read("app") is None
    assert store.remove("app") is False
    assert store.prune() == 0
    assert store.check() == ()
    assert not os.path.exists(store.root)


def test_written_images_are_read_by_name_digest_and_beginning(store: LocalStore) -> None:
    one = image(store, "a", "b")
    digest = store.write(one, ["app", "other:1"])
    assert digest == one.digest
    for reference in ("app", "app:latest", "other:1", str(digest), digest.hex, digest.short, digest.hex[:5]):
        found = store.read(reference)
        assert found
        assert found.digest == digest
        assert found.image.manifest_bytes() == one.manifest_bytes()
        assert found.image.layers == one.layers
        assert abs(found.written_at - time.time()) < 60
    assert store.read("app:2") is None
    assert store.read("0" * 64) is None
    assert [(i.name, i.digest) for i in store.list()] == [("app:latest", digest), ("other:1", digest)]


def test_the_beginning_of_two_digests_is_refused(store: LocalStore) -> None:
    seen: dict[str, Image] = {}
    for number in range(100_000):
        one = Image(labels={"n": str(number)})
        start = one.digest.hex[:4]
        if start in seen:
            store.write(seen[start], ["one"])
            store.write(one, ["two"])
            break
        seen[start] = one
    else:
        pytest.fail("no two digests begin alike")
    with pytest.raises(UsageError) as caught:
        store.read(start)
    assert caught.value.slug == "ambiguous-image"


def test_an_image_without_a_name_is_found_by_its_whole_digest(store: LocalStore) -> None:
    one = image(store, "a")
    store.write(one)
    assert store.list() == []
    found = store.read(str(one.digest))
    assert found
    assert found.name == ""
    assert store.read(one.digest.hex[:12]) is None
    # A layer's digest is no image's.
    assert store.read(str(one.layers[0].diff_id)) is None


def test_a_name_moves_to_the_new_image(store: LocalStore) -> None:
    old, new = image(store, "a"), image(store, "b")
    store.write(old, ["app"])
    store.write(new, ["app"])
    found = store.read("app")
    assert found
    assert found.digest == new.digest


def test_writing_the_same_again_writes_nothing(store: LocalStore) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    before = {name: os.stat(os.path.join(store.root, name)).st_mtime_ns for name in os.listdir(store.root)}
    store.write(one, ["app"])
    assert before == {name: os.stat(os.path.join(store.root, name)).st_mtime_ns for name in os.listdir(store.root)}


def test_names_are_checked(store: LocalStore) -> None:
    with pytest.raises(UsageError):
        store.write(image(store, "a"), ["Not A Name"])
    assert store.list() == []


def test_an_image_whose_layer_is_not_there_is_refused(store: LocalStore) -> None:
    one = image(store, "a")
    os.unlink(store.blob_path(one.layers[0].blob.digest))
    with pytest.raises(CorruptError) as caught:
        store.write(one, ["app"])
    assert caught.value.slug == "store-missing"
    assert store.list() == []


def test_it_is_an_oci_layout(store: LocalStore) -> None:
    store.write(image(store, "a"), ["app"])
    with open(os.path.join(store.root, "oci-layout"), "rb") as file:
        assert json.load(file) == {"imageLayoutVersion": "1.0.0"}
    with open(store.index_path, "rb") as file:
        index = json.load(file)
    assert index["schemaVersion"] == 2
    assert [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]] == ["app:latest"]


@pytest.mark.skopeo
def test_skopeo_reads_it(store: LocalStore) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    command = ["skopeo", "inspect", "--format", "{{.Digest}}", f"oci:{store.root}:app:latest"]
    found = subprocess.run(command, capture_output=True, check=True, text=True)
    assert found.stdout.strip() == one.digest


def test_prune_keeps_what_is_needed(store: LocalStore) -> None:
    kept, gone = image(store, "a", "b"), image(store, "a", "c")
    store.write(kept, ["kept"])
    store.write(gone, ["gone"])
    cached, loose = layer(store, "cached"), layer(store, "loose")
    store.remove("gone")
    would = store.prune(keep=lambda: [cached.diff_id], dry_run=True)
    assert loose.diff_id.hex in blobs(store)
    freed = store.prune(keep=lambda: [cached.diff_id])
    assert freed == would > 0
    assert blobs(store) == blobs_of(kept) | {cached.diff_id.hex}
    assert set(os.listdir(os.path.join(store.root, "tables"))) == {x.diff_id.hex for x in (*kept.layers, cached)}
    assert store.check() == ()
    assert store.prune(keep=lambda: [cached.diff_id]) == 0


@pytest.mark.fault("STO-22")
def test_leftovers_of_killed_builds_go(store: LocalStore, tmp_path: Path) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    code = """
import os, sys
from packrunner.images.store import LocalStore
store = LocalStore(sys.argv[1])
for n in range(200):
    blob = store.new_blob().__enter__()
    blob.write(os.urandom(1000))
    if n % 2:
        blob.commit()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code, store.root], check=False)
    assert len(os.listdir(os.path.join(store.root, "tmp"))) == 100
    store.prune()
    assert os.listdir(os.path.join(store.root, "tmp")) == []
    assert blobs(store) == blobs_of(one)


@pytest.mark.fault("STO-08")
@pytest.mark.fault("STO-09")
def test_prune_waits_for_leases(store: LocalStore) -> None:
    with store.lease():
        one = image(store, "a")
        with pytest.raises(StoreError) as caught:
            store.prune(timeout=0.05)
        assert caught.value.slug == "locked"
        store.write(one, ["app"])
    store.prune()
    assert store.check() == ()
    assert blobs(store) == blobs_of(one)


@pytest.mark.fault("STO-08")
def test_prune_waits_for_blobs_in_the_making(store: LocalStore) -> None:
    with store.new_blob() as blob:
        blob.write(b"x")
        with pytest.raises(StoreError):
            store.prune(timeout=0.05)
        digest = blob.commit().digest
    assert store.has(digest)


def spawn(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)


@pytest.mark.fault("STO-10")
def test_a_killed_holder_frees_its_lease_at_once(store: LocalStore) -> None:
    store.write(image(store, "a"), ["app"])
    code = """
import sys, time
from packrunner.images.store import LocalStore
with LocalStore(sys.argv[1]).lease():
    print("held", flush=True)
    time.sleep(60)
"""
    with spawn(code, store.root) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError):
            store.prune(timeout=0.05)
        holder.kill()
        holder.wait()
        store.prune(timeout=0.05)


@pytest.mark.fault("STO-05")
@pytest.mark.parametrize("count", [2, 20])
def test_many_processes_name_images_at_once(store: LocalStore, count: int) -> None:
    one = image(store, "a")
    store.write(one, ["start"])
    code = """
import sys
from packrunner.images.store import LocalStore
store = LocalStore(sys.argv[1])
image = store.read("start").image
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.read()
for n in range(5):
    store.write(image.with_labels({"n": sys.argv[2]}), [f"app-{sys.argv[2]}:{n}"])
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.root, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for n in range(count)
    ]
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin
        worker.stdin.close()
    for worker in workers:
        assert worker.wait() == 0
        assert worker.stdout
        worker.stdout.close()
    names = {found.name for found in store.list()}
    assert names == {"start:latest"} | {f"app-{n}:{k}" for n in range(count) for k in range(5)}
    assert store.check() == ()


@pytest.mark.fault("STO-06")
def test_two_writers_of_one_blob(store: LocalStore) -> None:
    with store.new_blob() as one, store.new_blob() as two:
        one.write(b"same")
        two.write(b"same")
        first = one.commit()
        assert two.commit() == first
    assert blobs(store) == {first.digest.hex}


@pytest.mark.fault("STO-13")
def test_a_flipped_bit_in_any_blob_is_found_and_set_aside(store: LocalStore) -> None:
    for pick in (0, 1, 2):
        one = image(store, f"text {pick}")
        store.write(one, ["app"])
        digest = (one.layers[0].blob.digest, one.config.digest, one.digest)[pick]
        path = store.blob_path(digest)
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 4
            file.seek(0)
            file.write(data)
        with pytest.raises(CorruptError) as caught, store.open(digest) as stream:
            stream.read()
        assert caught.value.slug == "store-corrupt"
        assert caught.value.tries
        assert not store.has(digest)
        assert os.path.exists(os.path.join(store.root, "quarantine", digest.hex))
        # Made again, all is well.
        store.write(image(store, f"text {pick}"), ["app"])
        assert store.check() == ()


@pytest.mark.fault("STO-13")
def test_check_names_the_image_with_the_damage(store: LocalStore) -> None:
    good, bad = image(store, "good"), image(store, "bad")
    store.write(good, ["good"])
    store.write(bad, ["bad"])
    with open(store.blob_path(bad.layers[0].diff_id), "r+b") as file:
        file.write(b"!")
    assert [line.split(":")[0] for line in store.check()] == ["bad"]


@pytest.mark.fault("STO-14")
@pytest.mark.parametrize("size", [0, 10])
def test_a_short_blob_counts_as_absent(store: LocalStore, size: int) -> None:
    one = layer(store, "a")
    os.truncate(store.blob_path(one.diff_id), size)
    assert not store.has(one.diff_id, one.blob.size)
    assert store.has(one.diff_id) is (size > 0)
    assert layer(store, "a") == one
    assert store.has(one.diff_id, one.blob.size)


@pytest.mark.fault("ARC-42")
def test_a_blob_that_is_a_link_counts_as_absent(store: LocalStore, tmp_path: Path) -> None:
    one = layer(store, "a")
    path = store.blob_path(one.diff_id)
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    assert not store.has(one.diff_id)
    with pytest.raises(StoreError):
        store.open(one.diff_id)


TORN: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "null list": lambda data: b'{"schemaVersion":2,"manifests":null}',
    "not JSON": lambda data: b"\x00" * len(data),
    "a list": lambda data: b"[]",
    "deep": lambda data: b"[" * 200_000,
}


@pytest.mark.fault("STO-04")
@pytest.mark.parametrize("kind", TORN)
def test_a_torn_index_is_replaced_by_its_copy(store: LocalStore, kind: str) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    with open(store.index_path, "rb") as file:
        data = file.read()
    with open(store.index_path, "wb") as file:
        file.write(TORN[kind](data))
    assert [found.name for found in store.list()] == ["app:latest"]
    assert store.repair()
    with open(store.index_path, "rb") as file:
        assert file.read() == data
    assert store.repair() == ()


@pytest.mark.fault("STO-04")
@pytest.mark.parametrize("kind", TORN)
def test_without_a_copy_the_error_names_file_and_repair(store: LocalStore, kind: str) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    before = blobs(store)
    for name in ("index.json", "index.backup"):
        path = os.path.join(store.root, name)
        with open(path, "rb") as file:
            data = TORN[kind](file.read())
        with open(path, "wb") as file:
            file.write(data)
    with pytest.raises(CorruptError) as caught:
        store.read("app")
    assert caught.value.slug == "store-index"
    assert store.index_path in str(caught.value)
    assert any("rm " in text for text in caught.value.tries)
    with pytest.raises(CorruptError):
        store.prune()  # nothing is removed while nobody knows what is needed
    assert blobs(store) == before
    assert store.repair()
    assert store.list() == []
    store.write(one, ["app"])
    assert store.check() == ()


@pytest.mark.fault("STO-04")
@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"mediaType": "x", "digest": "sha256:../../x", "size": 1, "annotations": {}},
        {"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": -1},
        {"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": 1},
        {
            "mediaType": "x",
            "digest": "sha256:" + "a" * 64,
            "size": 1,
            "annotations": {"org.opencontainers.image.ref.name": "../../x"},
        },
    ],
)
def test_one_bad_entry_costs_itself_only(store: LocalStore, entry: object) -> None:
    store.write(image(store, "a"), ["app"])
    with open(store.index_path, "rb") as file:
        index = json.load(file)
    index["manifests"].insert(0, entry)
    with open(store.index_path, "w") as file:
        json.dump(index, file)
    assert [found.name for found in store.list()] == ["app:latest"]
    assert store.repair()
    assert store.repair() == ()


@pytest.mark.fault("STO-19")
@pytest.mark.parametrize("operation", ["read", "write", "list", "add", "remove", "prune"])
def test_a_newer_store_is_refused_untouched(store: LocalStore, operation: str) -> None:
    one = image(store, "a")
    store.write(one, ["app"])
    with open(os.path.join(store.root, "version"), "w") as file:
        file.write("2\n")
    before = sorted((d, sorted(f)) for d, _, f in os.walk(store.root))
    again = LocalStore(store.root)
    operations: dict[str, Callable[[], object]] = {
        "read": lambda: again.read("app"),
        "write": lambda: again.write(one, ["app2"]),
        "list": again.list,
        "add": lambda: again.add(b"x"),
        "remove": lambda: again.remove("app"),
        "prune": again.prune,
    }
    with pytest.raises(StoreError, match="newer") as caught:
        operations[operation]()
    assert caught.value.slug == "store-version"
    assert before == sorted((d, sorted(f)) for d, _, f in os.walk(store.root))


def test_a_version_that_is_none(store: LocalStore) -> None:
    store.write(image(store, "a"), ["app"])
    with open(os.path.join(store.root, "version"), "w") as file:
        file.write("garbage")
    with pytest.raises(CorruptError) as caught:
        LocalStore(store.root).list()
    assert caught.value.slug == "store-version"


@pytest.mark.fault("STO-23")
def test_nobody_else_can_look_inside(store: LocalStore) -> None:
    old = os.umask(0)
    try:
        store.write(image(store, "a"), ["app"])
    finally:
        os.umask(old)
    for directory, _, files in os.walk(store.root):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600


@pytest.mark.fault("STO-15")
def test_a_store_of_somebody_else_can_be_read(store: LocalStore) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    store.write(image(store, "a"), ["app"])
    for directory, _, _ in os.walk(store.root):
        os.chmod(directory, 0o500)
    try:
        again = LocalStore(store.root)
        assert again.read("app")
        with pytest.raises(StoreError) as caught:
            again.add(b"new")
        assert caught.value.slug == "disk"
        assert store.root in str(caught.value.brief)
    finally:
        for directory, _, _ in os.walk(store.root):
            os.chmod(directory, 0o700)


@pytest.mark.fault("STO-12")
def test_clocks_do_not_matter(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one = image(store, "a")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    store.write(one, ["app"])
    monkeypatch.setattr(time, "time", lambda: 1.0)
    with store.lease(), pytest.raises(StoreError):
        store.prune(timeout=0.01)
    store.prune()
    assert store.check() == ()


def test_reading_a_blob_that_is_not_there(store: LocalStore) -> None:
    store.write(image(store, "a"), ["app"])
    with pytest.raises(CorruptError) as caught:
        store.open(Digest("sha256:" + "0" * 64))
    assert caught.value.slug == "store-missing"


def test_a_blob_left_without_commit_is_gone(store: LocalStore) -> None:
    with store.new_blob() as blob:
        blob.write(b"x" * 1000)
    assert os.listdir(os.path.join(store.root, "tmp")) == []
    assert blobs(store) == set()
