"""Bases from a small archive of our own: first use, second use, damage, interruption, two at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from packrunner.bases import Base, BaseSettings, debian, lock_path, open_base, parse_reference
from packrunner.bases.base import Tools
from packrunner.bases.blueprint import own
from packrunner.bases.lock import read_lock
from packrunner.bases.making import Maker
from packrunner.bases.pruning import prune_bases
from packrunner.bases.recipes import RECIPES
from packrunner.errors import CorruptError, NetworkError, StoreError, UsageError
from packrunner.events import Noted, StepDone, StepProgress, StepStarted, Warned
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from tests.unit.bases.archive import (
    NOW,
    DebianArchive,
    Slept,
    control,
    deb,
    directory,
    entry,
    serving,
    tree_table,
    wait_for,
    write_keyring,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from packrunner.bases.debian import Update
    from packrunner.engines.base import Sandbox, SandboxSpec
    from packrunner.events import Event

WEEK = 7 * 24 * 3600.0


class NoEngine:
    """The packages of these tests hold no Python: nothing is to be run."""

    name = "none"

    def open(self, spec: SandboxSpec) -> AbstractContextManager[Sandbox]:
        raise AssertionError(spec)


@dataclass
class Remembering:
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


@dataclass
class Place:
    """A machine's state: an archive on its disk, a data directory."""

    root: Path
    settings: BaseSettings

    def open(
        self, reference: str = "debian:13", *, images: Any = ("build",), **changes: Any
    ) -> tuple[Base, Remembering]:
        reporter = Remembering()
        store = LocalStore(str(self.root / "data/store"))
        base = open_base(
            reference,
            settings=replace(self.settings, **changes),
            store=store,
            snapshots=Snapshots(str(self.root / "data/snapshots"), store),
            engine=NoEngine(),
            reporter=reporter,
            images=images,
        )
        return base, reporter

    @property
    def lock(self) -> str:
        return lock_path(self.settings.data_dir, "debian:13", "amd64")

    @property
    def store(self) -> LocalStore:
        return LocalStore(str(self.root / "data/store"))

    @property
    def downloads(self) -> Path:
        return self.root / "data/bases/downloads"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    settings = BaseSettings(
        data_dir=str(tmp_path / "data"),
        mirror=DebianArchive().write(str(tmp_path / "mirror")),
        environ={},
        root=str(tmp_path / "no-host"),
        keyring=write_keyring(str(tmp_path / "keyring")),
        now=lambda: NOW,
        sleep=Slept(),
    )
    return Place(tmp_path, settings)


def test_first_use_makes_the_build_image(place: Place) -> None:
    base, reporter = place.open()
    (tree,) = base.build_rootfs()
    assert Path(tree, "usr/bin/the-gcc").read_text() == "program of gcc\n"
    assert not os.path.exists(f"{tree}/usr/share/doc/gcc/changelog.gz")
    assert os.path.exists(f"{tree}/etc/passwd")
    assert os.stat(os.path.dirname(tree)).st_mode & 0o777 == 0o700
    assert base.full_reference == f"debian:13@{base.digest.short}"
    assert (base.target.distro_name, base.target.distro_version, base.target.arch) == ("debian", "13", "amd64")
    assert base.build_env["PATH"].startswith("/usr/local/sbin:")
    assert base.packages("static") == dict.fromkeys(RECIPES["static"].packages, "1")
    count = len(RECIPES["build"].packages)
    started, *progress, done = reporter.of(StepStarted, StepProgress, StepDone)
    assert (started.phase, started.subject) == ("base", "debian:13")
    assert any(event.detail == f"{count} of {count} packages" and event.done == event.total > 0 for event in progress)
    assert done.detail.startswith(f"{count} packages, ")
    assert done.detail.endswith(" MB, signatures checked")


def test_second_use_says_and_does_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = place.open("debian:trixie")
    first.build_rootfs()
    shutil.rmtree(place.root / "mirror")
    second, reporter = place.open("debian")
    assert second.build_rootfs() == first.build_rootfs()
    assert second.digest == first.digest
    assert reporter.events == []


def test_second_use_imports_nothing_that_makes(place: Place, repository: Path) -> None:
    """A build that is not the first one must not pay for what only the first one needs."""
    place.open()
    code = f"""
import sys
from packrunner.bases.base import BaseSettings, open_base
class Reporter:
    def emit(self, event): raise AssertionError(event)
settings = BaseSettings(data_dir={place.settings.data_dir!r}, environ={{}}, now=lambda: {NOW})
base = open_base(settings=settings, store=None, snapshots=None, engine=None, reporter=Reporter(), images=("build",))
print(base.build_rootfs()[0])
heavy = "pysequoia debian lzma http ssl pathlib tempfile subprocess threading packrunner.images".split()
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": f"{repository}:{os.path.dirname(os.path.dirname(msgspec.__file__))}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines()[1:] == ["[]"], ran.stderr


@pytest.mark.cnb("IMG-02")
@pytest.mark.cnb("IMG-03")
@pytest.mark.parametrize("variant", ["static", "base", "python"])
def test_run_images(place: Place, variant: Any) -> None:
    base, _ = place.open(images=())
    image = base.run_image(variant)
    assert image.user == "1000:1000"
    assert dict(image.env)["PATH"].endswith("/bin")
    assert image.labels["io.buildpacks.base.distro.name"] == "debian"
    assert image.labels["io.buildpacks.base.distro.version"] == "13"
    assert (image.os, image.architecture, len(image.layers)) == ("linux", "amd64", 1)
    again, reporter = place.open(images=(variant,))
    assert again.run_image(variant).digest == image.digest
    assert reporter.events == []
    store = LocalStore(str(place.root / "data/store"))
    stored = store.read(base.run_image_name(variant))
    assert stored
    assert stored.digest == image.digest


def test_a_removed_run_image_is_made_again_and_equal(place: Place) -> None:
    base, _ = place.open(images=("static",))
    before = base.run_image("static").digest
    shutil.rmtree(place.root / "data/store")
    shutil.rmtree(place.root / "mirror")
    again, reporter = place.open(images=("static",))
    assert again.run_image("static").digest == before
    assert len(reporter.of(StepDone)) == 1


def test_two_makes_from_one_lock_are_equal(place: Place) -> None:
    base, _ = place.open(images=("build", "base"))
    tree, image = tree_table(base.build_rootfs()[0]), base.run_image("base").digest
    lock = Path(place.lock).read_bytes()
    other = Place(place.root / "other", replace(place.settings, data_dir=str(place.root / "other/data")))
    os.makedirs(os.path.dirname(other.lock))
    with open(other.lock, "wb") as file:
        file.write(lock)
    second, _ = other.open(images=("build", "base"))
    assert tree_table(second.build_rootfs()[0]) == tree
    assert second.run_image("base").digest == image


def test_a_build_never_changes_its_base_unasked(place: Place) -> None:
    first, _ = place.open()
    packages = DebianArchive().packages
    packages["gcc"] = deb(control("gcc", "2"), entry("./usr/bin/newer"))
    DebianArchive(packages=packages, date=NOW + 100).write(str(place.root / "mirror"))
    old, reporter = place.open(now=lambda: NOW + WEEK + 1)
    assert old.digest == first.digest
    (note,) = reporter.of(Noted)
    assert note.always
    assert "7 days ago" in note.text
    assert "packrunner builder update debian:13" in note.text
    assert place.open(now=lambda: NOW + WEEK - 1)[1].events == []
    os.unlink(place.lock)
    new, _ = place.open(now=lambda: NOW + 200)
    assert new.digest != first.digest
    assert os.path.exists(f"{new.build_rootfs()[0]}/usr/bin/newer")


def test_an_older_list_than_one_seen_is_refused(place: Place) -> None:
    place.open(images=())
    os.unlink(place.lock)
    DebianArchive(date=NOW - 1).write(str(place.root / "mirror"))
    with pytest.raises(NetworkError) as caught:
        place.open()
    assert caught.value.slug == "debian-stale"


def test_a_missing_security_archive_is_warned_of(place: Place) -> None:
    _, reporter = place.open(images=())
    assert [warning.text.split(" ")[1] for warning in reporter.of(Warned)] == ["trixie-security"]


def test_a_mirror_without_the_suite(place: Place) -> None:
    with pytest.raises(NetworkError, match="no debian:12") as caught:
        place.open("debian:bookworm")
    assert caught.value.slug == "debian-mirror"


def test_an_architecture_that_the_archive_lacks(place: Place) -> None:
    with pytest.raises(CorruptError, match="no packages for riscv64"):
        place.open(architecture="riscv64")


@pytest.mark.fault("NET-02")
def test_without_a_mirror_or_a_host_to_follow(place: Place) -> None:
    with pytest.raises(UsageError) as caught:
        place.open(mirror=None)
    assert caught.value.slug == "debian-mirror"


@pytest.mark.fault("NET-01")
def test_everything_kept_needs_no_network(place: Place) -> None:
    base, _ = place.open()
    shutil.rmtree(base.build_rootfs()[0])
    again, reporter = place.open(mirror=None)
    assert os.path.exists(f"{again.build_rootfs()[0]}/usr/bin/the-git")
    assert len(reporter.of(StepDone)) == 1


@pytest.mark.fault("STO-13")
@pytest.mark.parametrize("damage", ["file in etc", "removed directory", "added name", "link", "mode"])
def test_a_damaged_tree_is_noticed_and_made_again(place: Place, damage: str) -> None:
    tree = place.open()[0].build_rootfs()[0]
    table = tree_table(tree)
    if damage == "file in etc":
        with open(f"{tree}/etc/hosts", "a", encoding="ascii") as file:
            file.write("0.0.0.0 evil\n")
    elif damage == "removed directory":
        shutil.rmtree(f"{tree}/usr/share/doc")
    elif damage == "added name":
        os.mkdir(f"{tree}/usr/bin/extra")
    elif damage == "link":
        shutil.rmtree(f"{tree}/var")
        os.symlink("/", f"{tree}/var")
    else:
        os.chmod(f"{tree}/usr", 0o777)
    again, reporter = place.open()
    assert "damaged" in reporter.of(Warned)[0].text
    assert tree_table(again.build_rootfs()[0]) == table


@pytest.mark.fault("STO-13")
def test_a_damaged_download_is_fetched_again(place: Place) -> None:
    base, _ = place.open()
    for path in place.downloads.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    shutil.rmtree(base.build_rootfs()[0])
    place.open()
    lock = read_lock(place.lock)
    assert lock
    assert {path.name for path in place.downloads.iterdir()} == {package.sha256 for package in lock.of("build")}


def test_a_package_that_mirrors_dropped(place: Place) -> None:
    base, _ = place.open()
    shutil.rmtree(place.downloads)
    shutil.rmtree(place.root / "mirror/pool")
    shutil.rmtree(base.build_rootfs()[0])
    with pytest.raises(NetworkError) as caught:
        place.open()
    assert caught.value.slug == "download-gone"
    assert caught.value.tries == ("packrunner builder update debian:13",)


def test_a_marker_of_another_base_counts_for_nothing(place: Place) -> None:
    base, _ = place.open()
    home = os.path.dirname(base.build_rootfs()[0])
    for text in ("", "null", '{"digest": "x"}'):
        with open(f"{home}/{base.digest.short}-build.json", "w", encoding="ascii") as file:
            file.write(text)
        assert len(place.open()[1].of(StepDone)) == 1


@pytest.mark.fault("STO-07")
def test_a_directory_that_cannot_be_written(place: Place) -> None:
    (place.root / "data").write_text("a file in the way")
    with pytest.raises(StoreError) as caught:
        place.open()
    assert caught.value.slug == "disk"


@pytest.mark.fault("STO-07")
def test_a_disk_that_fills_up_while_unpacking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC at the n-th write of the unpacker, for some n; the next run works."""
    from packrunner.bases import unpack

    for number in (0, 5):
        calls: list[int] = []
        monkeypatch.setattr(unpack, "write_all", lambda fd, data, n=number, c=calls: _full_after(n, c, fd, data))
        with pytest.raises(StoreError) as caught:
            place.open()
        assert caught.value.slug == "disk-full"
        monkeypatch.undo()
    base, _ = place.open()
    assert not [name for name in os.listdir(os.path.dirname(base.build_rootfs()[0])) if name.startswith("making-")]


def _full_after(limit: int, calls: list[int], fd: int, data: bytes) -> None:
    calls.append(1)
    if len(calls) > limit:
        raise OSError(28, "No space left on device")
    os.write(fd, data)


def _open_in_child(settings: BaseSettings, root: Path, queue: Any) -> None:
    base, reporter = Place(root, settings).open()
    queue.put((base.digest, base.build_rootfs(), len(reporter.of(StepDone))))


def _settings_for_a_child(place: Place) -> BaseSettings:
    return replace(place.settings, now=_now, sleep=_no_sleep)


def _now() -> float:
    return NOW


def _no_sleep(seconds: float) -> None:
    return


@pytest.mark.fault("STO-06")
def test_two_first_uses_at_once(place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    settings = _settings_for_a_child(place)
    children = [context.Process(target=_open_in_child, args=(settings, place.root, queue)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    results = [queue.get(timeout=5) for _ in children]
    assert results[0][:2] == results[1][:2]
    assert sorted(made for *_, made in results) == [0, 1], "one does it, the other waits"


@pytest.mark.fault("PRO-08")
@pytest.mark.fault("STO-22")
@pytest.mark.parametrize("moment", ["a request", "half of the packages", "unpacking", "renamed, not marked"])
def test_killed_at_any_moment(place: Place, moment: str, tmp_path: Path) -> None:
    """Kill -9 at some moments; the next run finishes the work and leaves nothing behind."""
    files = DebianArchive().files()
    with serving(files) as server:
        settings = replace(_settings_for_a_child(place), mirror=server.url)
        context = multiprocessing.get_context("spawn")
        child = context.Process(target=_stopping_child, args=(settings, place.root, moment))
        child.start()
        ready = place.root / "ready"
        wait_for(lambda: ready.exists() or not child.is_alive(), 60)
        assert ready.exists(), "the child got to the moment"
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        fetched = len(server.requests)
        base, _ = place.open(mirror=server.url)
        if moment in {"unpacking", "renamed, not marked"}:
            assert len(server.requests) == fetched, "nothing is fetched twice"
    home = os.path.dirname(base.build_rootfs()[0])
    assert sorted(os.listdir(home)) == sorted(
        [f"{base.digest.short}-build", f"{base.digest.short}-build.json", "lock.json"]
    )
    assert not [name for name in os.listdir(place.downloads) if name.endswith(".part")]


def _stopping_child(settings: BaseSettings, root: Path, moment: str) -> None:
    """Runs into the moment, says so, and waits to be killed."""
    import time

    from packrunner.bases import marker, unpack
    from packrunner.bases.transport import Transport
    from packrunner.disk import write_all

    calls: list[int] = []

    def stop(*_: Any, **__: Any) -> Any:
        (root / "ready").write_text("")
        time.sleep(600)

    def stop_late(real: Any) -> Any:
        def call(*args: Any, **fields: Any) -> Any:
            calls.append(1)
            return stop() if len(calls) > 10 else real(*args, **fields)

        return call

    if moment == "a request":
        Transport.open = stop  # type: ignore[method-assign] # this process ends here
    elif moment == "half of the packages":
        Transport.open = stop_late(Transport.open)  # type: ignore[method-assign] # as above
    elif moment == "unpacking":
        setattr(unpack, "write_all", stop_late(write_all))  # noqa: B010 - it is imported there, not exported
    else:
        marker.write = stop
    Place(root, settings).open()


@pytest.mark.fault("STO-04")
def test_a_torn_lock_names_its_repair(place: Place) -> None:
    place.open(images=())
    with open(place.lock, "r+b") as file:
        file.truncate(100)
    with pytest.raises(CorruptError) as caught:
        place.open()
    assert caught.value.slug == "base-lock"


def test_pruning_takes_what_no_lock_names(place: Place) -> None:
    first, _ = place.open()
    old = first.build_rootfs()[0]
    packages = DebianArchive().packages
    packages["gcc"] = deb(control("gcc", "2"), directory("./usr"), entry("./usr/newer", b"x" * 1000))
    DebianArchive(packages=packages, date=NOW + 1).write(str(place.root / "mirror"))
    os.unlink(place.lock)
    second, _ = place.open()
    new = second.build_rootfs()[0]
    prune_bases(place.settings.data_dir, place.store)
    assert os.path.isdir(old), "this process still holds it"
    first.close()
    os.makedirs(f"{os.path.dirname(new)}/making-dead/tree")
    assert prune_bases(place.settings.data_dir, place.store) > 0
    assert not os.path.exists(old)
    assert sorted(os.listdir(os.path.dirname(new))) == sorted(
        [os.path.basename(new), f"{os.path.basename(new)}.json", "lock.json"]
    )
    lock = read_lock(place.lock)
    assert lock
    assert {path.name for path in place.downloads.iterdir()} == {package.sha256 for package in lock.of("build")}
    assert place.open()[1].events == []
    assert prune_bases(place.settings.data_dir, place.store) == 0
    assert prune_bases(str(place.root / "elsewhere"), place.store) == 0


def test_seen_dates_are_kept(place: Place) -> None:
    place.open(images=())
    with open(place.root / "data/bases/seen.json", encoding="ascii") as file:
        assert json.load(file) == {"trixie": NOW, "trixie-updates": NOW}


def renewed(place: Place, version: str = "2", **changes: Any) -> tuple[Update, Remembering]:
    """Update the base after the archive got another gcc and bash."""
    packages = DebianArchive().packages
    for name in ("gcc", "bash"):
        packages[name] = deb(control(name, version), entry(f"./usr/bin/{name}-{version}"))
    versions = dict.fromkeys(("gcc", "bash"), version)
    DebianArchive(packages=packages, date=NOW + 100, versions=versions).write(str(place.root / "mirror"))
    return update(place, now=lambda: NOW + 200, **changes)


def update(place: Place, *, dry_run: bool = False, engine: Any = None, **changes: Any) -> tuple[Update, Remembering]:
    reporter = Remembering()
    store = LocalStore(str(place.root / "data/store"))
    tools = Tools(
        store=store,
        snapshots=Snapshots(str(place.root / "data/snapshots"), store),
        engine=engine or NoEngine(),
        reporter=reporter,
    )
    suite = parse_reference("debian:13")
    return debian.update(own(suite), replace(place.settings, **changes), tools, dry_run=dry_run), reporter


def versions(done: Update, image: Any) -> list[str]:
    return [str(change) for change in done.changes(image)]


def test_an_update_makes_what_the_old_base_had(place: Place) -> None:
    first, _ = place.open(images=("build", "base"))
    old_image = first.run_image("base").digest
    done, _ = renewed(place)
    assert (done.old and done.old.digest, done.images) == (first.digest, ("build", "base"))
    assert versions(done, "build") == ["bash 1 -> 2", "gcc 1 -> 2"]
    assert versions(done, "base") == ["bash 1 -> 2"]
    second, reporter = place.open(images=("build", "base"))
    assert reporter.events == []
    assert second.digest == done.new.digest != first.digest
    assert os.path.exists(f"{second.build_rootfs()[0]}/usr/bin/gcc-2")
    assert second.run_image("base").digest != old_image
    stored = LocalStore(str(place.root / "data/store")).read(second.run_image_name("base"))
    assert stored
    assert stored.digest == second.run_image("base").digest
    # The old tree serves builds that run; then prune takes it.
    assert os.path.exists(first.build_rootfs()[0])


def test_looking_for_newer_packages_changes_nothing(place: Place) -> None:
    place.open(images=("build", "base"))
    before = Path(place.lock).read_bytes()
    done, _ = renewed(place, dry_run=True)
    assert versions(done, "base") == ["bash 1 -> 2"]
    assert Path(place.lock).read_bytes() == before
    assert place.open(images=("build", "base"))[1].events == []


def test_nothing_newer_makes_the_lock_young_again(place: Place) -> None:
    first, _ = place.open()
    done, reporter = update(place, now=lambda: NOW + WEEK + 1)
    assert done.new.digest == first.digest
    assert "nothing newer" in reporter.of(StepDone)[0].detail
    assert place.open(now=lambda: NOW + WEEK + 2)[1].events == []


def test_the_first_update_is_a_first_use(place: Place) -> None:
    done, _ = update(place)
    assert (done.old, done.images) == (None, ("build", "python"))
    assert place.open(images=("build", "python"))[1].events == []


def test_an_update_replaces_a_lock_that_cannot_be_read(place: Place) -> None:
    place.open(images=())
    Path(place.lock).write_text("{")
    with pytest.raises(CorruptError) as caught:
        place.open(images=())
    assert caught.value.tries == ("packrunner builder update",)
    update(place)
    place.open()


@pytest.mark.parametrize("lost", ["pool", "dists"])
def test_an_update_that_fails_leaves_the_old_base(place: Place, lost: str) -> None:
    """Packages that are not there, lists that are not there: the next build takes the old base, without a network."""
    first, _ = place.open(images=("build", "base"))
    before = Path(place.lock).read_bytes()
    packages = DebianArchive().packages
    packages["bash"] = deb(control("bash", "2"), entry("./usr/bin/bash-2"))
    DebianArchive(packages=packages, date=NOW + 100).write(str(place.root / "mirror"))
    shutil.rmtree(place.root / "mirror" / lost)
    with pytest.raises(NetworkError):
        update(place, now=lambda: NOW + 200)
    shutil.rmtree(place.root / "mirror")
    assert Path(place.lock).read_bytes() == before
    again, reporter = place.open(images=("build", "base"))
    assert (again.digest, reporter.events) == (first.digest, [])


def update_and_die(place: Place, victim: str) -> None:
    """In a process of its own: killed as it begins to make `victim` of the new base."""
    made = Maker.make

    def make(self: Maker, image: Any) -> None:
        if image == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        made(self, image)

    Maker.make = make  # type: ignore[method-assign] # in a process that ends here
    renewed(place)


@pytest.mark.parametrize("victim", ["build", "base"])
def test_an_update_killed_half_way_leaves_the_old_base(place: Place, victim: str) -> None:
    first, _ = place.open(images=("build", "base"))
    old = first.run_image("base").digest
    process = multiprocessing.get_context("fork").Process(target=update_and_die, args=(place, victim))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    again, reporter = place.open(images=("build", "base"))
    assert (again.digest, again.run_image("base").digest, reporter.events) == (first.digest, old, [])
    prune_bases(place.settings.data_dir, place.store)
    assert place.open(images=("build", "base"))[1].events == []
    done, _ = update(place, now=lambda: NOW + 200)
    assert place.open(images=("build", "base"))[0].digest == done.new.digest != first.digest


def test_a_package_that_is_gone_is_answered_with_the_update(place: Place) -> None:
    place.open(images=())
    shutil.rmtree(place.downloads)
    shutil.rmtree(place.root / "mirror/pool")
    with pytest.raises(NetworkError) as caught:
        place.open()
    assert caught.value.tries == ("packrunner builder update debian:13",)
