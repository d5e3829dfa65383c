"""The image store in bad times: every change of the file system fails, or is the last one before a sudden end."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Literal

import pytest

from packrunner.disk import FileLock
from packrunner.errors import CorruptError, StoreError
from packrunner.images.files import Files
from packrunner.images.image import Image
from packrunner.images.layer import File, Tree, write_layer
from packrunner.images.store import LocalStore
from packrunner.names import Digest

if TYPE_CHECKING:
    from pathlib import Path

MOST = 200


class Reached(BaseException):
    """The process would be dead now."""


class Faulty(Files):
    """Fails, or ends everything at, the n-th call; `kind` tells how."""

    def __init__(self, n: int, kind: Literal["once", "always", "kill", "half"], error: int = errno.ENOSPC) -> None:
        self.n = n
        self.kind = kind
        self.error = error
        self.calls: list[str] = []

    def strike(self, name: str) -> bool:
        self.calls.append(name)
        hit = len(self.calls) >= self.n if self.kind in {"always", "kill"} else len(self.calls) == self.n
        if hit and self.kind == "kill":
            raise Reached
        return hit

    def fail(self, name: str) -> None:
        if self.strike(name):
            raise OSError(self.error, os.strerror(self.error))

    def create(self, path: str) -> int:
        self.fail("create")
        return super().create(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.kind == "half" and len(data) > 1:
            if self.strike("write"):
                raise OSError(self.error, os.strerror(self.error))
            return super().write(fd, memoryview(data)[: len(data) // 2])
        self.fail("write")
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self.fail("sync")
        super().sync(fd)

    def rename(self, old: str, new: str) -> None:
        self.fail("rename")
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        if self.kind == "kill":
            self.fail("unlink")
        super().unlink(path)

    def mkdir(self, path: str) -> None:
        self.fail("mkdir")
        super().mkdir(path)


def build(store: LocalStore, text: str) -> Image:
    """What a build does to the store."""
    with store.lease():
        layers = [
            write_layer(store, [File(target="/f", data=data)], created_by="t").layer
            for data in (text.encode(), text.encode() * 300_000)
        ]
        image = Image(labels={"text": text}).with_layers(*layers)
        store.write(image, ["app", f"app:{text}"])
    return image


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A store with one finished build."""
    build(LocalStore(str(tmp_path / "template")), "old")
    return tmp_path / "template"


def sweep(
    template: Path | None, root: Path, kind: Literal["once", "always", "kill", "half"], error: int = errno.ENOSPC
) -> list[tuple[LocalStore, BaseException | None, list[str]]]:
    """Build with the fault at call 1, 2, ... until a build no longer reaches it."""
    results = []
    for n in range(1, MOST):
        path = root / f"{kind}-{n}"
        if template:
            shutil.copytree(template, path)
        files = Faulty(n, kind, error)
        caught: BaseException | None = None
        try:
            build(LocalStore(str(path), files=files), "new")
        except (StoreError, Reached) as e:
            caught = e
        results.append((LocalStore(str(path)), caught, files.calls))
        if len(files.calls) < n:
            assert caught is None
            return results
    pytest.fail("the build never ended")


def names(store: LocalStore) -> list[str]:
    return [found.name for found in store.list()]


@pytest.mark.fault("STO-01")
@pytest.mark.parametrize("existing", [True, False])
def test_a_sudden_end_at_every_call(template: Path, tmp_path: Path, existing: bool) -> None:
    results = sweep(template if existing else None, tmp_path, "kill")
    assert len(results) > 12
    for store, caught, calls in results:
        assert isinstance(caught, Reached) or len(results) == len(calls) + 1
        # Whole or absent: every blob that has a name has the bytes of its name.
        blobs = os.path.join(store.root, "blobs", "sha256")
        for name in os.listdir(blobs) if os.path.isdir(blobs) else ():
            with store.open(digest(name)) as stream:
                stream.read()
        assert store.check() == ()
        assert names(store) in (
            [],
            ["app:latest", "app:old"],
            ["app:latest", "app:new"],
            ["app:latest", "app:new", "app:old"],
        )
        # The next run works unaided, and gc leaves nothing behind.
        image = build(store, "new")
        store.prune()
        assert store.check() == ()
        found = store.read("app")
        assert found
        assert found.digest == image.digest
        assert os.listdir(os.path.join(store.root, "tmp")) == []
        assert not [name for name in os.listdir(store.root) if name.startswith(".packrunner")]


def digest(name: str) -> Digest:
    return Digest.parse("sha256:" + name)


@pytest.mark.fault("STO-07")
@pytest.mark.parametrize("kind", ["once", "always"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_every_call(template: Path, tmp_path: Path, kind: Literal["once", "always"], error: int) -> None:
    for store, caught, calls in sweep(template, tmp_path, kind, error):
        if caught is not None:
            assert isinstance(caught, StoreError)
            assert caught.slug == "disk-full"
            assert store.root in caught.brief
            assert any("df " in text for text in caught.tries)
        else:
            # Only what can be lost may fail without a word: the index's copy.
            assert len(calls) >= 12
        found = store.read("app:old")
        assert found
        assert store.check() == ()
        # Even a full store can be pruned.
        store.prune()
        build(store, "new")
        assert store.check() == ()


@pytest.mark.fault("STO-03")
def test_a_failed_sync_fails_the_commit(template: Path, tmp_path: Path) -> None:
    struck = 0
    for store, caught, calls in sweep(template, tmp_path, "once", errno.EIO):
        if len(calls) and calls[-1] == "sync" and caught is not None:
            struck += 1
            assert isinstance(caught, StoreError)
            assert caught.slug == "disk"
        found = store.read("app")
        assert found
        assert store.check() == ()
    assert struck >= 4


@pytest.mark.fault("STO-16")
def test_short_writes_are_completed(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"), files=Faulty(10**9, "half"))
    image = build(store, "new")
    assert store.check() == ()
    found = store.read("app")
    assert found
    assert found.digest == image.digest


@pytest.mark.fault("STO-16")
def test_without_descriptors_nothing_breaks(template: Path, tmp_path: Path) -> None:
    for store, caught, _ in sweep(template, tmp_path, "once", errno.EMFILE):
        assert caught is None or isinstance(caught, StoreError)
        assert store.check() == ()


class Recorder(Files):
    """Notes what is on the disk for sure: the order of syncs and renames."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def sync(self, fd: int) -> None:
        self.events.append(("sync", os.readlink(f"/proc/self/fd/{fd}")))
        super().sync(fd)

    def rename(self, old: str, new: str) -> None:
        self.events.append(("rename", old))
        self.events.append(("renamed", new))
        super().rename(old, new)


@pytest.mark.fault("STO-02")
def test_nothing_is_referred_to_before_it_is_on_the_disk(tmp_path: Path) -> None:
    """Power loss drops unsynced bytes and names in any order: so each is synced before what relies on it."""
    files = Recorder()
    store = LocalStore(str(tmp_path / "store"), files=files)
    build(store, "new")
    events = files.events
    blobs = os.path.join(store.root, "blobs", "sha256")
    index = events.index(("renamed", store.index_path))
    for at, (kind, path) in enumerate(events):
        if kind == "rename" and "tables" not in path and "backup" not in path:
            assert ("sync", path) in events[:at], path
    named = [at for at, (kind, path) in enumerate(events) if kind == "renamed" and path.startswith(blobs)]
    assert len(named) == 4
    # Names of blobs are synced after the last of them and before the index that relies on them.
    assert any(kind == "sync" and path == blobs for kind, path in events[max(named) : index])
    # And the index's own name before anybody is told that the image is there.
    assert ("sync", store.root) in events[index:]


@pytest.mark.fault("STO-20")
def test_a_sudden_end_within_prune(template: Path, tmp_path: Path) -> None:
    build(LocalStore(str(template)), "new")
    LocalStore(str(template)).remove("app:old")
    for n in range(1, MOST):
        path = tmp_path / f"prune-{n}"
        shutil.copytree(template, path)
        files = Faulty(n, "kill")
        with contextlib.suppress(Reached):
            LocalStore(str(path), files=files).prune()
        store = LocalStore(str(path))
        assert store.check() == ()
        assert names(store) == ["app:latest", "app:new"]
        store.prune()
        assert store.check() == ()
        if len(files.calls) < n:
            assert n > 4
            return


@pytest.mark.fault("STO-01")
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1])
def test_kill_9_for_real(tmp_path: Path, delay: float) -> None:
    import subprocess
    import time

    code = """
import sys
sys.path.insert(0, sys.argv[2])
from packrunner.images.store import LocalStore
from packrunner.images.image import Image
store = LocalStore(sys.argv[1])
print("ready", flush=True)
n = 0
while True:
    with store.new_blob() as blob:
        blob.write(b"x" * 100_000 + b"%d" % n)
        blob.commit()
    store.write(Image(labels={"n": str(n)}), [f"app:{n % 3}"])
    n += 1
"""
    root = str(tmp_path / "store")
    top = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["packrunner"].__file__ or "")))
    with subprocess.Popen([sys.executable, "-c", code, root, top], stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        worker.stdout.readline()
        time.sleep(delay)
        worker.send_signal(signal.SIGKILL)
    store = LocalStore(root)
    assert store.check() == ()
    store.write(Image(), ["next"])
    store.prune(timeout=1)
    assert store.check() == ()
    assert names(store)


@pytest.mark.fault("STO-11")
def test_a_wait_for_the_index_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(str(tmp_path / "store"))
    store.write(Image(), ["app"])
    monkeypatch.setattr("packrunner.images.store._WAIT", 0.05)
    with FileLock(os.path.join(store.root, "index.lock")), pytest.raises(StoreError) as caught:
        store.write(Image(), ["other"])
    assert caught.value.slug == "locked"


@pytest.mark.fault("STO-07")
def test_a_real_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files is as good as a full disk, and needs no right to mount."""
    import resource
    import subprocess

    code = """
import resource, signal, sys
sys.path.insert(0, sys.argv[3])
from packrunner.errors import StoreError
from packrunner.images.layer import Tree, write_layer
from packrunner.images.store import LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    write_layer(LocalStore(sys.argv[1]), [Tree(source=sys.argv[2], target="/t", uid=0, gid=0)], created_by="t")
except StoreError as e:
    print(e.slug)
"""
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(b"x" * 3_000_000)
    root = str(tmp_path / "store")
    top = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["packrunner"].__file__ or "")))
    found = subprocess.run(
        [sys.executable, "-c", code, root, str(source), top], capture_output=True, check=True, text=True
    )
    assert found.stdout == "disk\n"
    assert os.listdir(os.path.join(root, "tmp")) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1_000_000
    tree = Tree(source=str(source), target="/t", uid=0, gid=0)
    assert write_layer(LocalStore(root), [tree], created_by="t").changed == 2


def test_corruption_is_no_disk_error(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "store"))
    image = build(store, "new")
    with open(store.blob_path(image.layers[0].diff_id), "r+b") as file:
        file.write(b"?")
    with pytest.raises(CorruptError), store.open(image.layers[0].diff_id) as stream:
        stream.read()
