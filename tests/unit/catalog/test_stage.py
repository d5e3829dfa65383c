"""Staging: one normalised tree per content, whole or absent, whatever happens."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog import tree
from packrunner.catalog.stage import Stage
from packrunner.errors import StoreError, UnsafeArchiveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

DESCRIPTOR = 'api = "0.12"\n[buildpack]\nid = "acme/a"\nversion = "1.0.0"\n'
SDK = "[metadata.packrunner]\nsdk = true\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "source"
    (place / "bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text(DESCRIPTOR)
    for name in ("detect", "build"):
        (place / "bin" / name).write_text("#!/bin/sh\n")
    (place / "lib").mkdir()
    (place / "lib" / "data.txt").write_text("data")
    (place / "lib" / "tool").write_text("#!/bin/sh\n")
    (place / "lib" / "tool").chmod(0o710)
    return place


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    (sdk / "__init__.py").write_text("")
    (sdk / "detect.py").write_text("x = 1\n")
    (sdk / "py.typed").write_text("")
    return Stage(str(tmp_path / "stage"), sdk_dir=str(sdk))


def listing(root: str) -> dict[str, int]:
    return {
        os.path.relpath(os.path.join(d, n), root): stat.S_IMODE(os.lstat(os.path.join(d, n)).st_mode)
        for d, dirs, files in os.walk(root)
        for n in (*dirs, *files)
    }


def settle() -> None:
    """Let the clock's tick pass, so that what was written is old."""
    time.sleep(0.05)


def test_modes_and_times_are_normalised(stage: Stage, source: Path) -> None:
    (source / "lib").chmod(0o700)
    (source / "lib" / "data.txt").chmod(0o600)
    old = os.umask(0o077)
    try:
        found = stage.add(str(source))
    finally:
        os.umask(old)
    assert listing(found.path) == {
        "bin": 0o755,
        "bin/build": 0o755,
        "bin/detect": 0o755,
        "buildpack.toml": 0o644,
        "lib": 0o755,
        "lib/data.txt": 0o644,
        "lib/tool": 0o755,
    }
    assert stat.S_IMODE(os.lstat(found.path).st_mode) == 0o755
    assert os.lstat(os.path.join(found.path, "lib/tool")).st_mtime_ns == tree.MTIME_NS
    assert found.digest == f"sha256:{os.path.basename(found.path)}"


def test_the_digest_is_of_content_and_normalised_modes_only(stage: Stage, source: Path, tmp_path: Path) -> None:
    first = stage.add(str(source))
    os.utime(source / "lib" / "data.txt", (1, 1))
    (source / "lib" / "tool").chmod(0o777)
    (source / "lib" / "__pycache__").mkdir()
    (source / "lib" / "__pycache__" / "x.pyc").write_text("x")
    (source / ".git").mkdir()
    assert stage.add(str(source)).digest == first.digest
    (source / "lib" / "data.txt").chmod(0o755)
    second = stage.add(str(source))
    (source / "lib" / "data.txt").chmod(0o644)
    (source / "lib" / "data.txt").write_text("Data")
    third = stage.add(str(source))
    os.rename(source / "lib" / "data.txt", source / "lib" / "data")
    fourth = stage.add(str(source))
    assert len({first.digest, second.digest, third.digest, fourth.digest}) == 4


def test_every_change_is_noticed(stage: Stage, source: Path) -> None:
    settle()
    first = stage.add(str(source))
    before = os.lstat(source / "lib" / "data.txt")
    (source / "lib" / "data.txt").write_text("atad")
    os.utime(source / "lib" / "data.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stage.add(str(source)).digest != first.digest


def test_an_unchanged_source_is_not_read_again(stage: Stage, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    first = stage.add(str(source))

    def fail(*_: object, **__: object) -> str:
        raise AssertionError("copied again")

    monkeypatch.setattr(tree, "normalise", fail)
    again = stage.add(str(source))
    assert (again.digest, again.path) == (first.digest, first.path)


def test_a_source_just_written_is_read_again(stage: Stage, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes twice within a tick of the clock looks the same to stat."""
    (source / "lib" / "data.txt").write_text("fresh")
    stage.add(str(source))
    copies: list[str] = []
    real = tree.normalise

    def count(origin: str, into: str, *, extra: Iterable[tree.Extra] = (), shown: str = "") -> str:
        copies.append(origin)
        return real(origin, into, extra=extra, shown=shown)

    monkeypatch.setattr(tree, "normalise", count)
    (source / "lib" / "data.txt").write_text("later")
    stage.add(str(source))
    assert copies == [str(source)]


def test_the_reloader_is_put_in_for_each_architecture(source: Path, tmp_path: Path) -> None:
    (source / "buildpack.toml").write_text(f"{DESCRIPTOR}[metadata.packrunner]\nreloader = true\n")
    programs = tmp_path / "programs"
    for architecture in ("amd64", "arm64"):
        (programs / f"linux-{architecture}").mkdir(parents=True)
        (programs / f"linux-{architecture}" / "reloader").write_text(architecture)
        (programs / f"linux-{architecture}" / "agent").write_text("not wanted")
    settle()
    stage = Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path), programs_dir=str(programs))
    first = stage.add(str(source))
    placed = {path: mode for path, mode in listing(first.path).items() if path.startswith("lib/packrunner/bin/linux-")}
    assert placed == {
        f"lib/packrunner/bin/linux-{architecture}{name}": 0o755
        for architecture in ("amd64", "arm64")
        for name in ("", "/reloader")
    }
    assert stage.add(str(source)).digest == first.digest
    (programs / "linux-amd64" / "reloader").write_text("new")
    assert stage.add(str(source)).digest != first.digest


def test_the_sdk_is_put_in(stage: Stage, source: Path, tmp_path: Path) -> None:
    (source / "buildpack.toml").write_text(DESCRIPTOR + SDK)
    settle()
    first = stage.add(str(source))
    assert first.sdk
    files = [path for path in listing(first.path) if path.startswith("lib/packrunner/")]
    assert sorted(files) == [
        "lib/packrunner/__init__.py",
        "lib/packrunner/sdk",
        "lib/packrunner/sdk/__init__.py",
        "lib/packrunner/sdk/detect.py",
    ]
    assert (tmp_path / "sdk" / "detect.py").read_text() == "x = 1\n"
    (tmp_path / "sdk" / "detect.py").write_text("x = 2\n")
    changed = Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path / "sdk")).add(str(source))
    assert changed.digest != first.digest
    with open(os.path.join(changed.path, "lib/packrunner/sdk/detect.py")) as file:
        assert file.read() == "x = 2\n"


@pytest.mark.parametrize("place", ["lib/packrunner/sdk/detect.py", "lib/packrunner/__init__.py", "lib/packrunner"])
def test_a_buildpack_cannot_have_the_sdks_place(stage: Stage, source: Path, place: str) -> None:
    (source / "buildpack.toml").write_text(DESCRIPTOR + SDK)
    (source / place).parent.mkdir(parents=True, exist_ok=True)
    (source / place).write_text("mine")
    with pytest.raises(UnsafeArchiveError) as caught:
        stage.add(str(source))
    assert caught.value.slug == "buildpack-tree"
    assert "SDK" in (caught.value.cause or "")


def test_what_was_packaged_keeps_the_sdk_that_it_was_packaged_with(stage: Stage, source: Path, tmp_path: Path) -> None:
    (source / "buildpack.toml").write_text(DESCRIPTOR + SDK)
    first = stage.add(str(source))
    packaged = tmp_path / "packaged"
    shutil.copytree(first.path, packaged)
    assert stage.add(str(packaged)).digest == first.digest
    (tmp_path / "sdk" / "detect.py").write_text("x = 3\n")
    later = Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path / "sdk"))
    assert later.add(str(packaged)).digest == first.digest
    assert later.add(str(source)).digest != first.digest


@pytest.mark.parametrize("target", ["data.txt", "./data.txt", "../lib/data.txt", "../bin", "nowhere", "tool/../x/.."])
@pytest.mark.fault("SBX-03")
def test_links_inside_stay_links(stage: Stage, source: Path, target: str) -> None:
    os.symlink(target, source / "lib" / "link")
    if target == "tool/../x/..":
        with pytest.raises(UnsafeArchiveError):
            stage.add(str(source))
        return
    found = stage.add(str(source))
    assert os.readlink(os.path.join(found.path, "lib/link")) == target


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "..//../x", "up/../../x", "../bin/../.."])
@pytest.mark.fault("SBX-03")
def test_links_that_may_lead_out_are_refused(stage: Stage, source: Path, target: str) -> None:
    os.symlink(target, source / "lib" / "link")
    with pytest.raises(UnsafeArchiveError) as caught:
        stage.add(str(source))
    assert caught.value.slug == "buildpack-tree"
    assert (caught.value.at or "").endswith("source/lib/link")


def fifo(path: str) -> None:
    os.mkfifo(path)


def unix_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))
        try:
            s.bind(os.path.basename(path))
        finally:
            os.chdir(here)


def deep(path: str) -> None:
    os.makedirs(path + "/d" * 80)


@pytest.mark.parametrize("plant", [fifo, unix_socket, deep])
@pytest.mark.fault("SBX-07")
def test_hostile_trees_are_refused_and_nothing_is_left(
    stage: Stage, source: Path, tmp_path: Path, plant: Callable[[str], None]
) -> None:
    plant(str(source / "lib" / "bad"))
    with pytest.raises(UnsafeArchiveError) as caught:
        stage.add(str(source))
    assert caught.value.slug == "buildpack-tree"
    assert os.listdir(tmp_path / "stage" / "trees") == []
    assert os.listdir(tmp_path / "stage" / "new") == []


def test_limits(stage: Stage, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 100)
    (source / "big").write_bytes(b"x" * 101)
    with pytest.raises(UnsafeArchiveError, match="cannot be used"):
        stage.add(str(source))
    (source / "big").unlink()
    monkeypatch.setattr(tree, "MAX_BYTES", 1 << 30)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    with pytest.raises(UnsafeArchiveError) as caught:
        stage.add(str(source))
    assert "at most 3 files" in (caught.value.cause or "")


def test_an_unreadable_file_is_named(stage: Stage, source: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (source / "lib" / "data.txt").chmod(0)
    with pytest.raises(StoreError) as caught:
        stage.add(str(source))
    assert "data.txt" in caught.value.brief


def test_a_selection_shows_each_under_its_id_and_version(stage: Stage, source: Path) -> None:
    found = stage.add(str(source))
    root = stage.combine([found])
    assert os.listdir(root) == ["acme_a"]
    assert listing(os.path.join(root, "acme_a", "1.0.0")) == listing(found.path)
    assert os.stat(f"{root}/acme_a/1.0.0/lib/tool").st_ino == os.stat(f"{found.path}/lib/tool").st_ino
    assert stage.combine([found, found]) == root


def test_links_are_shown_as_links(stage: Stage, source: Path) -> None:
    os.symlink("data.txt", source / "lib" / "link")
    root = stage.combine([stage.add(str(source))])
    assert os.readlink(f"{root}/acme_a/1.0.0/lib/link") == "data.txt"


@pytest.mark.fault("STO-13")
@pytest.mark.parametrize("harm", ["content", "missing", "extra", "mode"])
def test_a_damaged_selection_is_made_again(stage: Stage, source: Path, harm: str) -> None:
    settle()
    found = stage.add(str(source))
    root = stage.combine([found])
    place = f"{root}/acme_a/1.0.0/lib/data.txt"
    match harm:
        case "content":
            with open(place, "w") as file:
                file.write("atad")
        case "missing":
            os.unlink(place)
        case "extra":
            with open(place + "2", "w") as file:
                file.write("more")
        case _:
            os.chmod(place, 0o600)
    assert stage.combine([stage.add(str(source))]) == root
    with open(place) as file:
        assert file.read() == "data"
    assert listing(f"{root}/acme_a/1.0.0") == listing(found.path)
    assert tree.digest(found.path) == os.path.basename(found.path)


@pytest.mark.fault("STO-01", "STO-02")
def test_a_lost_or_torn_record_or_tree_costs_only_time(stage: Stage, source: Path, tmp_path: Path) -> None:
    settle()
    found = stage.add(str(source))
    (record,) = (tmp_path / "stage" / "sources").iterdir()
    for damage in (b"", b"\xff\xfe", record.read_bytes()[:70], b"a b c\n"):
        record.write_bytes(damage)
        assert stage.add(str(source)).digest == found.digest
    os.rename(found.path, tmp_path / "gone")
    assert stage.add(str(source)).path == found.path
    assert os.path.isdir(found.path)


def test_a_source_that_changes_while_a_tree_is_made_again_is_said(stage: Stage, source: Path) -> None:
    found = stage.add(str(source))
    with open(f"{found.path}/lib/data.txt", "w") as file:
        file.write("harm")
    (source / "lib" / "data.txt").write_text("new")
    with pytest.raises(StoreError) as caught:
        stage.combine([found])
    assert caught.value.slug == "buildpack-changed"


def test_many_at_once_agree(source: Path, tmp_path: Path) -> None:
    roots: list[str] = []

    def work() -> None:
        own = Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path))
        roots.append(own.combine([own.add(str(source))]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 8
    assert len(set(roots)) == 1
    assert os.path.exists(f"{roots[0]}/acme_a/1.0.0/bin/detect")
    assert os.listdir(tmp_path / "stage" / "new") == []


@pytest.mark.fault("PRO-08")
def test_rubbish_of_killed_builds_goes(stage: Stage, source: Path, tmp_path: Path) -> None:
    old = tmp_path / "stage" / "new" / "old"
    old.mkdir()
    os.utime(old, (1, 1))
    young = tmp_path / "stage" / "new" / "young"
    young.mkdir()
    stage.add(str(source))
    assert (old.exists(), young.exists()) == (False, True)


def test_prune_removes_what_is_unused(stage: Stage, source: Path, tmp_path: Path) -> None:
    (source / "lib" / "data.txt").write_text("x" * 10_000)
    first = stage.add(str(source))
    first_root = stage.combine([first])
    for path in (first.path, first_root):
        os.utime(path, (1, 1))
    (source / "lib" / "data.txt").write_text("y")
    second = stage.add(str(source))
    second_root = stage.combine([second])
    assert stage.prune(unused_for=3600) >= 10_000
    assert os.listdir(tmp_path / "stage" / "trees") == [os.path.basename(second.path)]
    assert sorted(os.listdir(tmp_path / "stage" / "selections")) == sorted(
        [os.path.basename(second_root), os.path.basename(second_root) + ".table"]
    )
    assert stage.prune(unused_for=3600) == 0


def test_use_keeps_things_from_being_pruned(stage: Stage, source: Path) -> None:
    settle()
    found = stage.add(str(source))
    root = stage.combine([found])
    for path in (found.path, root):
        os.utime(path, (1, 1))
    stage.combine([stage.add(str(source))])
    stage.prune(unused_for=3600)
    assert os.path.isdir(found.path)
    assert os.path.isdir(root)


def test_a_directory_that_is_no_buildpack_is_not_copied(
    stage: Stage, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "buildpack.toml").write_text("nonsense")
    monkeypatch.setattr(tree, "normalise", lambda *_args, **_kw: pytest.fail("copied"))
    with pytest.raises(UsageError):
        stage.add(str(source))


@pytest.mark.fault("STO-07")
def test_a_full_disk_is_a_store_error(stage: Stage, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tree, "write_all", full)
    with pytest.raises(StoreError) as caught:
        stage.add(str(source))
    assert caught.value.slug == "disk-full"
