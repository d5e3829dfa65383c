"""Where the kernel cannot tell: what is said, and how often a tree is walked."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.polling import Polling, limit_reached, remote

if TYPE_CHECKING:
    from pathlib import Path


def table(tmp_path: Path, *mounts: tuple[str, str]) -> str:
    made = tmp_path / "mountinfo"
    lines = [f"36 35 98:0 / {point} rw,noatime shared:1 - {kind} source rw\n" for point, kind in mounts]
    made.write_text("35 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "".join(lines))
    return str(made)


@pytest.mark.fault("LIV-08")
def test_a_part_on_a_network_file_system_is_named(tmp_path: Path) -> None:
    root = str(tmp_path / "the app")
    mounted = root.replace(" ", "\\040") + "/data"
    said = remote(root, table(tmp_path, (mounted, "nfs4")))
    assert said
    assert f"{root}/data" in said.text
    assert "nfs4" in said.text


@pytest.mark.fault("LIV-08")
def test_other_mounts_are_of_no_interest(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert remote(root, table(tmp_path, (root + "-too", "nfs4"), (root + "/tmp", "tmpfs"))) is None


def test_the_mount_that_hides_another_counts(tmp_path: Path) -> None:
    inside = str(tmp_path / "share")
    assert remote(str(tmp_path), table(tmp_path, (inside, "9p"), (inside, "tmpfs"))) is None
    assert remote(str(tmp_path), table(tmp_path, (inside, "tmpfs"), (inside, "9p")))


@pytest.mark.fault("LIV-08")
@pytest.mark.parametrize(
    ("number", "setting"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EMFILE, "fs.inotify.max_user_instances")],
)
def test_a_limit_is_named_with_what_raises_it(number: int, setting: str) -> None:
    said = limit_reached(OSError(number, "limit"))
    assert setting in said.text
    assert said.hint.startswith(f"sudo sysctl {setting}=")


def test_any_other_refusal_is_said_as_it_is() -> None:
    said = limit_reached(OSError(errno.ENOSYS, "no"))
    assert "Function not implemented" in said.text
    assert not said.hint


def test_a_long_walk_is_made_less_often() -> None:
    polling = Polling(1.0)
    polling.walked(10.0, 10.01)
    assert polling.due == pytest.approx(11.01)
    polling.walked(20.0, 20.5)
    assert polling.due == pytest.approx(25.5)
