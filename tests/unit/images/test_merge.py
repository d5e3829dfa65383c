"""An overlay's two trees written as one, as a mount of them would show it."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import ExportError
from packrunner.images.layer import Tree, WrittenLayer, write_layer
from packrunner.images.store import LocalStore
from tests.tars import tree as contents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    root = tmp_path / "lower"
    for folder in ("kept/inner", "gone/inner", "opaque/inner", "file-to-dir", "mixed"):
        (root / folder).mkdir(parents=True)
        (root / folder / "low").write_text("low")
    (root / "dir-to-file").mkdir()
    (root / "dir-to-file" / "x").touch()
    (root / "changed").write_text("old")
    (root / "removed").write_text("old")
    (root / "mixed" / "same").write_text("low")
    return root


@pytest.fixture
def upper(tmp_path: Path, lower: Path) -> Path:
    root = tmp_path / "upper"
    (root / "mixed").mkdir(parents=True, mode=0o700)
    (root / "mixed").chmod(0o711)
    (root / "mixed" / "same").write_text("up")
    (root / "mixed" / "new").write_text("up")
    (root / "opaque").mkdir()
    (root / "opaque" / "only").write_text("up")
    try:
        os.setxattr(root / "opaque", "user.overlay.opaque", b"y")
        for name in ("removed", "gone", "mixed/low"):
            os.mknod(root / name, stat.S_IFCHR, 0)
    except OSError as e:
        pytest.skip(f"this file system has no overlay marks: {e}")
    (root / "changed").write_text("new")
    (root / "dir-to-file").write_text("now a file")
    (root / "added" / "below").mkdir(parents=True)
    (root / "added" / "below" / "f").write_text("up")
    (root / "fresh-link").symlink_to("kept")
    return root


def merged(lower: Path, upper: Path, **more: object) -> Tree:
    return Tree(source=str(lower), target="/w", uid=1, gid=1, upper=str(upper), **more)  # type: ignore[arg-type]


def names(store: LocalStore, written: WrittenLayer) -> dict[str, bytes | None]:
    with tarfile.open(store.blob_path(written.layer.diff_id)) as archive:
        found = {}
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            found[member.name.removeprefix("w").lstrip("/")] = stream.read() if stream else None
    return found


def test_what_a_mount_would_show(store: LocalStore, lower: Path, upper: Path) -> None:
    found = names(store, write_layer(store, [merged(lower, upper)], created_by="x"))
    assert found == {
        "": None,
        "added": None,
        "added/below": None,
        "added/below/f": b"up",
        "changed": b"new",
        "dir-to-file": b"now a file",
        "file-to-dir": None,
        "file-to-dir/low": b"low",
        "fresh-link": None,
        "kept": None,
        "kept/inner": None,
        "kept/inner/low": b"low",
        "mixed": None,
        "mixed/new": b"up",
        "mixed/same": b"up",
        "opaque": None,
        "opaque/only": b"up",
    }
    assert list(found) == sorted(found, key=lambda name: name.split("/"))


def test_a_real_mount_shows_the_same(store: LocalStore, lower: Path, upper: Path, tmp_path: Path) -> None:
    """The kernel as the judge; needs the right to mount."""
    (tmp_path / "work").mkdir()
    (tmp_path / "mount").mkdir()
    (tmp_path / "copy").mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={tmp_path}/work,userxattr"
    script = f"mount -t overlay overlay -o {options} {tmp_path}/mount && cp -a {tmp_path}/mount/. {tmp_path}/copy"
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no overlay can be mounted: {tried.stderr.decode()}")
    alone = Tree(source=str(tmp_path / "copy"), target="/w", uid=1, gid=1)
    ours = write_layer(store, [merged(lower, upper)], created_by="x").layer
    assert ours == write_layer(store, [alone], created_by="x").layer


def test_the_upper_directory_decides_about_modes(store: LocalStore, lower: Path, upper: Path) -> None:
    written = write_layer(store, [merged(lower, upper)], created_by="x")
    with tarfile.open(store.blob_path(written.layer.diff_id)) as archive:
        assert archive.getmember("w/mixed").mode == 0o711


def test_no_fingerprint_is_given_of_what_was_merged(store: LocalStore, lower: Path, upper: Path) -> None:
    assert write_layer(store, [merged(lower, upper)], created_by="x").tables == {}


def test_an_empty_upper_tree_is_as_none(store: LocalStore, lower: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    plain = Tree(source=str(lower), target="/w", uid=1, gid=1)
    first = write_layer(store, [plain], created_by="x")
    second = write_layer(store, [merged(lower, tmp_path / "empty")], created_by="x", previous=first.layer.diff_id)
    assert second.layer == first.layer


def test_the_second_version_is_spliced_too(store: LocalStore, lower: Path, upper: Path, tmp_path: Path) -> None:
    first = write_layer(store, [merged(lower, upper)], created_by="x")
    (upper / "mixed" / "new").write_text("newer")
    (upper / "removed").unlink()
    second = write_layer(store, [merged(lower, upper)], created_by="x", previous=first.layer.diff_id)
    assert second.spliced
    other = LocalStore(str(tmp_path / "other"))
    assert second.layer == write_layer(other, [merged(lower, upper)], created_by="x").layer
    assert names(store, second)["removed"] == b"old"


def test_slices_of_merged_trees(store: LocalStore, lower: Path, upper: Path) -> None:
    part = merged(
        lower, upper, only=frozenset({"mixed", "removed", "kept/inner/low"}), exclude=frozenset({"mixed/new"})
    )
    assert list(names(store, write_layer(store, [part], created_by="x"))) == [
        "",
        "kept",
        "kept/inner",
        "kept/inner/low",
        "mixed",
        "mixed/same",
    ]


@pytest.mark.fault("SBX-08")
def test_a_whiteout_where_no_overlay_is_is_refused(store: LocalStore, upper: Path) -> None:
    with pytest.raises(ExportError) as caught:
        write_layer(store, [Tree(source=str(upper), target="/w", uid=1, gid=1)], created_by="x")
    assert caught.value.slug == "special-file"


def test_neither_tree_is_changed(store: LocalStore, lower: Path, upper: Path) -> None:
    before = contents(lower), contents(upper)
    write_layer(store, [merged(lower, upper)], created_by="x")
    assert (contents(lower), contents(upper)) == before
