"""Upper trees as layers: marks, owners, what stays out, and what cannot be in a layer."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.images.changes import Packed, Withheld, main, pack

if TYPE_CHECKING:
    from pathlib import Path


def packed(upper: Path, **how: Any) -> tuple[Packed, dict[str, tarfile.TarInfo]]:
    out = io.BytesIO()
    report = pack(str(upper), out.write, **{"owners": lambda _u, _g: (0, 0)} | how)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        return report, {member.name: member for member in archive}


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    place = tmp_path / "upper"
    (place / "etc" / "deep").mkdir(parents=True)
    (place / "etc" / "deep" / "file").write_text("x")
    (place / "etc" / "a").symlink_to("/somewhere")
    return place


@pytest.mark.cnb("EXT-15", "EXP-09")
def test_names_come_in_the_order_of_every_layer(upper: Path) -> None:
    (upper / "etc" / "deep.d").mkdir()
    report, entries = packed(upper)
    assert list(entries) == ["etc", "etc/a", "etc/deep", "etc/deep/file", "etc/deep.d"]
    assert report.entries == 5


@pytest.mark.fault("SBX-03")
def test_links_are_stored_and_never_followed(upper: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    (upper / "out").symlink_to(tmp_path)
    _, entries = packed(upper)
    assert entries["out"].linkname == str(tmp_path)
    assert not any("secret" in name for name in entries)


@pytest.mark.fault("SBX-08")
def test_what_is_no_file_is_left_out_and_said(upper: Path) -> None:
    os.mkfifo(upper / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(upper / "socket"))
    (upper / ".wh.planted").write_text("")
    report, entries = packed(upper)
    assert {"pipe", "socket", ".wh.planted"}.isdisjoint(entries)
    assert report.warnings == (
        "/.wh.planted is left out: such a name deletes files in images",
        "/pipe is left out: it is no file, directory or link",
    )


def test_withheld_paths_and_beginnings(upper: Path) -> None:
    (upper / "etc" / "ca").write_text("host and mine")
    (upper / "etc" / "cb").write_text("mine")
    withheld = Withheld(paths=frozenset({"etc/deep"}), beginnings={"etc/ca": b"host", "etc/cb": b"host"})
    report, entries = packed(upper, withheld=withheld)
    assert list(entries) == ["etc", "etc/a", "etc/cb"]
    assert len(report.warnings) == 1
    assert Withheld.from_plain(json.loads(json.dumps(withheld.to_plain()))) == withheld


def test_owners_are_translated_one_by_one(upper: Path) -> None:
    me = os.geteuid(), os.getegid()
    _, entries = packed(upper, owners=lambda uid, gid: (uid - me[0] + 7, gid - me[1] + 8))
    assert {(m.uid, m.gid) for m in entries.values()} == {(7, 8)}


def test_owners_of_the_image_below_are_for_copied_files_only(upper: Path) -> None:
    os.setxattr(upper / "etc" / "deep", "user.overlay.origin", b"")
    below = {"etc/deep": (33, 34), "etc/deep/file": (33, 34)}
    _, entries = packed(upper, below=below)
    assert (entries["etc/deep"].uid, entries["etc/deep"].gid) == (33, 34)
    assert entries["etc/deep/file"].uid == 0


def test_the_program_packs_and_removes(upper: Path) -> None:
    out = io.BytesIO()
    assert main(json.dumps({"pack": str(upper), "below": {}, **Withheld().to_plain()}).encode(), out) == 0
    data = out.getvalue()
    length = int.from_bytes(data[-4:], "big")
    assert json.loads(data[-4 - length : -4]) == {"entries": 4, "warnings": []}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["etc", "etc/a", "etc/deep", "etc/deep/file"]
    assert main(json.dumps({"remove": str(upper)}).encode(), io.BytesIO()) == 0
    assert not upper.exists()
