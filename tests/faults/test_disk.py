"""Files and locks in packrunner's own trees."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from packrunner.cli.wiring import places
from packrunner.disk import FileLock, disk_error, write_atomic
from packrunner.errors import StoreError
from packrunner.images.files import Files, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.engines.sandbox import SandboxEngine

AS_ROOT = os.geteuid() == 0

HOLDER = """
import sys, time
from packrunner.disk import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that has the lock."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"held\n"
    return child


class TestWriteAtomic:
    def test_content_and_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        write_atomic(str(path), b"one", mode=0o640, sync=True)
        write_atomic(str(path), b"two", mode=0o640)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
        assert os.listdir(tmp_path) == ["f"]

    def test_a_link_is_replaced_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        (tmp_path / "f").symlink_to("target")
        write_atomic(str(tmp_path / "f"), b"new")
        assert (tmp_path / "target").read_text() == "old"

    @pytest.mark.fault("STO-07")
    @pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        path = tmp_path / "f"
        path.write_text("old")

        def full(*_: object, **__: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, call, full)
        with pytest.raises(StoreError) as caught:
            write_atomic(str(path), b"new", sync=True)
        monkeypatch.undo()
        assert caught.value.slug == "disk-full"
        assert str(path) in caught.value.brief
        assert os.listdir(tmp_path) == ["f"]
        assert path.read_text() == "old"

    @pytest.mark.fault("STO-16")
    def test_short_writes_are_continued(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
        write_atomic(str(tmp_path / "f"), b"0123456789")
        assert (tmp_path / "f").read_bytes() == b"0123456789"

    @pytest.mark.fault("STO-15")
    @pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
    def test_a_refusal_names_path_and_owner(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir(mode=0o555)
        with pytest.raises(StoreError) as caught:
            write_atomic(str(tmp_path / "d" / "f"), b"")
        assert caught.value.slug == "disk"
        assert f"user {os.geteuid()}" in str(caught.value.cause)


class TestFileLock:
    @pytest.mark.fault("STO-10")
    def test_it_is_free_as_soon_as_its_holder_is_killed(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with holder(path) as child:
            with pytest.raises(StoreError), FileLock(str(path), timeout=0):
                pass
            child.kill()
            child.wait()
            with FileLock(str(path), timeout=5):
                pass

    @pytest.mark.fault("STO-11")
    def test_a_notice_then_a_time_limit(self, tmp_path: Path) -> None:
        noticed: list[float] = []
        began = time.monotonic()
        with holder(tmp_path / "lock") as child:
            lock = FileLock(
                str(tmp_path / "lock"), timeout=2.3, notice=lambda: noticed.append(time.monotonic() - began)
            )
            with pytest.raises(StoreError) as caught, lock:
                pass
            child.kill()
        assert caught.value.slug == "locked"
        assert len(noticed) == 1
        assert 1.9 < noticed[0] < 2.3

    @pytest.mark.fault("STO-11")
    def test_ctrl_c_ends_the_wait(self, tmp_path: Path) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        with holder(tmp_path / "lock") as child:
            # The notice stands for any exception that a signal handler raises.
            with pytest.raises(KeyboardInterrupt), FileLock(str(tmp_path / "lock"), notice=interrupt):
                pass
            child.kill()

    def test_shared_locks_are_held_together_and_keep_an_exclusive_one_out(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        shared = FileLock(path, shared=True)
        with shared, FileLock(path, shared=True), pytest.raises(StoreError), FileLock(path, timeout=0):
            pass
        with FileLock(path, timeout=0):
            pass

    def test_threads_exclude_each_other(self, tmp_path: Path) -> None:
        inside, most = 0, 0

        def work() -> None:
            nonlocal inside, most
            with FileLock(str(tmp_path / "lock")):
                inside += 1
                most = max(most, inside)
                time.sleep(0.005)
                inside -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1

    def test_a_link_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "lock").symlink_to("elsewhere")
        with pytest.raises(StoreError), FileLock(str(tmp_path / "lock")):
            pass
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.fault("STO-15")
    @pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
    def test_a_read_only_lock_file_is_enough(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_text("")
        (tmp_path / "lock").chmod(0o444)
        with FileLock(str(tmp_path / "lock"), shared=True):
            pass


class TestFileSystemsThatCannotDoMuch:
    """STO-18. Temporary names are always beside the final ones, so no rename crosses file systems; no link is made."""

    @pytest.mark.fault("STO-18")
    @pytest.mark.parametrize("refusal", [errno.EINVAL, errno.ENOTSUP])
    def test_directories_that_cannot_be_synced_are_no_hindrance(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
    ) -> None:
        real = os.fsync

        def fsync(fd: int) -> None:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(refusal, os.strerror(refusal))
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        write_atomic(str(tmp_path / "f"), b"one", sync=True)
        replace_file(Files(), str(tmp_path / "g"), b"two")
        assert ((tmp_path / "f").read_bytes(), (tmp_path / "g").read_bytes()) == (b"one", b"two")

    @pytest.mark.fault("STO-18")
    def test_a_disk_that_fails_to_sync_a_directory_is_told_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fsync(fd: int) -> None:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError):
            write_atomic(str(tmp_path / "f"), b"one", sync=True)
        with pytest.raises(StoreError):
            replace_file(Files(), str(tmp_path / "g"), b"two")

    @pytest.mark.fault("STO-18")
    @pytest.mark.parametrize("refusal", [errno.ENOTSUP, errno.ENOLCK])
    def test_without_locks_nothing_is_begun(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
    ) -> None:
        def flock(*_: object) -> None:
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(StoreError) as caught, FileLock(str(tmp_path / "lock")):
            pytest.fail("entered")
        assert "has no locks" in caught.value.brief
        assert caught.value.tries


@pytest.mark.fault("STO-15", "PRO-14")
def test_state_that_may_not_be_written_says_how_to_put_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_HOME", "/somebody/else")
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert disk_error(denied, "/somebody/else/data/store").tries[0].startswith("PACKRUNNER_HOME=DIR")
    assert disk_error(denied, "/somebody/elsewhere").tries == ()


@pytest.mark.fault("PRO-14")
def test_a_cache_that_cannot_be_made_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError) as caught:
        places.overlays(cast("SandboxEngine", None))
    assert (caught.value.slug, caught.value.cause) == ("disk", "Not a directory")
