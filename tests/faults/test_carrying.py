"""Bases carried in a directory to a machine without a network, and what may have happened to the directory."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from packrunner.bases import Base, BaseSettings, carrying, lock_path, open_base, parse_reference
from packrunner.bases.base import Tools
from packrunner.bases.lock import read_lock
from packrunner.errors import CorruptError, RefusedError
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from tests.fakes import FakeReporter
from tests.faults.test_bases import NoEngine
from tests.unit.bases.archive import NOW, DebianArchive, Slept, serving, tree_table, write_keyring

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = parse_reference("debian:13")


class Machine:
    """The state of one machine; `mirror` is what it can reach."""

    def __init__(self, root: Path, mirror: str | None, keyring: str, *, offline: bool = False) -> None:
        self.settings = BaseSettings(
            data_dir=str(root / "data"),
            mirror=mirror,
            environ={},
            root=str(root / "no-host"),
            keyring=keyring,
            offline=offline,
            now=lambda: NOW,
            sleep=Slept(),
        )
        store = LocalStore(str(root / "data/store"))
        self.tools = Tools(
            store=store,
            snapshots=Snapshots(str(root / "data/snapshots"), store),
            engine=NoEngine(),
            reporter=FakeReporter(),
        )

    @property
    def lock(self) -> str:
        return lock_path(self.settings.data_dir, "debian:13", "amd64")

    def put(self, directory: Path) -> carrying.Carried:
        return carrying.put(DEBIAN, str(directory), self.settings, self.tools)

    def take(self, directory: Path) -> list[str]:
        return [base.reference for base in carrying.take(str(directory), self.settings)]

    def open(self, *images: Any) -> Base:
        tools = self.tools
        return open_base(
            settings=self.settings,
            store=tools.store,
            snapshots=tools.snapshots,
            engine=tools.engine,
            reporter=tools.reporter,
            images=images or ("build", "python"),
        )


@pytest.fixture
def keyring(tmp_path: Path) -> str:
    return write_keyring(str(tmp_path / "keyring"))


@pytest.fixture
def here(tmp_path: Path, keyring: str) -> Machine:
    return Machine(tmp_path / "here", DebianArchive().write(str(tmp_path / "mirror")), keyring)


@pytest.fixture
def there(tmp_path: Path, keyring: str) -> Machine:
    return Machine(tmp_path / "there", "http://mirror.invalid/debian", keyring, offline=True)


@pytest.fixture
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(args)

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_connections")
@pytest.mark.fault("NET-01")
def test_the_same_base_on_a_machine_without_a_network(tmp_path: Path, here: Machine, there: Machine) -> None:
    carried = here.put(tmp_path / "usb")
    assert (carried.reference, carried.packages > 5) == ("debian:13", True)
    assert there.take(tmp_path / "usb") == ["debian:13"]
    with open(here.lock, "rb") as one, open(there.lock, "rb") as other:
        assert one.read() == other.read()
    images = ("build", "python", "base", "static")
    mine, theirs = here.open(*images), there.open(*images)
    assert tree_table(mine.build_rootfs()[0]) == tree_table(theirs.build_rootfs()[0])
    assert mine.run_image().digest == theirs.run_image().digest
    assert there.take(tmp_path / "usb") == ["debian:13"], "twice does no harm"


@pytest.mark.fault("NET-02")
def test_without_it_what_is_missing_is_listed(tmp_path: Path, there: Machine, here: Machine) -> None:
    with pytest.raises(RefusedError, match="1 file is missing") as caught:
        there.open()
    assert caught.value.slug == "offline"
    here.put(tmp_path / "usb")
    there.take(tmp_path / "usb")
    lock = read_lock(there.lock)
    assert lock is not None
    gone = next(package for package in lock.of("build") if package.name == "git")
    os.unlink(f"{there.settings.directory}/downloads/{gone.sha256}")
    with pytest.raises(RefusedError) as caught:
        there.open()
    assert caught.value.cause == "not here: git 1"


def test_a_base_that_is_here_already_is_the_one_that_is_carried(tmp_path: Path, keyring: str) -> None:
    with serving(DebianArchive().files()) as server:
        machine = Machine(tmp_path / "here", server.url, keyring)
        machine.open("static")
        count = len(server.requests)
        machine.put(tmp_path / "usb")
        lists = [path for path, _ in server.requests[count:] if "/dists/" in path]
        assert not lists, "the packages are not resolved anew"
        count = len(server.requests)
        machine.put(tmp_path / "usb")
        assert len(server.requests) == count, "nothing is fetched twice"


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_a_package_that_is_not_what_the_lock_says_is_refused(
    tmp_path: Path, here: Machine, there: Machine, damage: str
) -> None:
    here.put(tmp_path / "usb")
    lock = read_lock(here.lock)
    assert lock is not None
    package = lock.of("python")[0]
    path = tmp_path / "usb/packages" / package.sha256
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"?" if damage == "changed" else b""))
    with pytest.raises(CorruptError, match=f"the package {package.name} in ") as caught:
        there.take(tmp_path / "usb")
    assert caught.value.slug == "fetched"
    assert not os.path.exists(there.lock), "a lock says that everything is there"
    downloads = os.listdir(f"{there.settings.directory}/downloads")
    assert package.sha256 not in downloads
    assert not [name for name in downloads if name.startswith(".")]


def test_another_processors_base_and_a_foreign_directory_are_left(
    tmp_path: Path, here: Machine, there: Machine
) -> None:
    here.put(tmp_path / "usb")
    bases = tmp_path / "usb/bases"
    (bases / "..data").mkdir()
    shutil.copytree(bases / "debian-13-amd64", bases / "debian-13-arm64")
    there.settings = replace(there.settings, architecture="arm64")
    assert there.take(tmp_path / "usb") == []
    assert there.take(tmp_path / "nothing") == []
