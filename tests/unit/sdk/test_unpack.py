"""Archives of others: what is unpacked, and what is refused with nothing written outside of the directory."""

from __future__ import annotations

import ctypes
import functools
import io
import os
import stat
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from packrunner.sdk import zstd
from packrunner.sdk.report import Failure
from packrunner.sdk.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import StrPath

Member = tuple[str, str, str]
"""Name, kind (file, program, dir, link, same, device), content or target."""

_TYPES = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "same": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}


def tar(path: StrPath, members: Iterable[Member], mode: str = "w:gz") -> str:
    with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]  # a mode that is not literal
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o4751 if kind == "program" else 0o600
            info.uid = 4711
            info.type = _TYPES.get(kind, tarfile.REGTYPE)
            if kind in {"link", "same"}:
                info.linkname = text
            data = text.encode() if kind in {"file", "program"} else b""
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return str(path)


def packed_zip(path: StrPath, members: Iterable[Member]) -> str:
    modes = {"program": 0o100755, "file": 0o100600, "link": 0o120777, "dir": 0o40755, "device": 0o020600}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, kind, text in members:
            info = zipfile.ZipInfo(name + ("/" if kind == "dir" else ""))
            info.external_attr = modes[kind] << 16
            packed.writestr(info, text)
    return str(path)


TOOL: list[Member] = [
    ("./tool-1.0", "dir", ""),
    ("./tool-1.0/bin/tool", "program", "run"),
    ("tool-1.0/share/doc/read.me", "file", "read"),
    ("tool-1.0/bin/alias", "link", "tool"),
    ("tool-1.0/lib", "link", "share/doc"),
    ("tool-1.0/share/up", "link", "../bin/tool"),
    ("tool-1.0/empty", "dir", ""),
]


def content(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_text()}"
        elif not any(path.iterdir()):
            found[name] = "dir"
    return found


def tar_zst(path: Path, members: Iterable[Member], *, frames: int = 1) -> str:
    data = Path(tar(path, members, "w")).read_bytes()
    step = -(-len(data) // frames)
    parts = [zstandard.ZstdCompressor().compress(data[at : at + step]) for at in range(0, len(data), step)]
    path.write_bytes(b"".join(parts))
    return str(path)


FORMS: dict[str, Callable[[Path, Iterable[Member]], str]] = {
    "zip": packed_zip,
    "zst": tar_zst,
    "zst of several frames": functools.partial(tar_zst, frames=7),
}


@pytest.mark.parametrize("form", ["w", "w:gz", "w:bz2", "w:xz", *FORMS])
def test_an_archive_is_unpacked_whatever_its_form(tmp_path: Path, form: str) -> None:
    archive = FORMS[form](tmp_path / "a", TOOL) if form in FORMS else tar(tmp_path / "a", TOOL, form)
    assert unpack(archive, str(tmp_path / "out"), strip=1) == 5
    assert content(tmp_path / "out") == {
        "bin/alias": "-> tool",
        "bin/tool": "755 run",
        "empty": "dir",
        "lib": "-> share/doc",
        "share/doc/read.me": "644 read",
        "share/up": "-> ../bin/tool",
    }


def test_parts_of_an_archive(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", TOOL)
    assert unpack(archive, str(tmp_path / "out"), strip=1, only=["tool-1.0/bin"]) == 2
    assert list(content(tmp_path / "out")) == ["bin/alias", "bin/tool"]
    with pytest.raises(Failure, match=r"found no tool-1.0/bi in a"):
        unpack(archive, str(tmp_path / "none"), only=["tool-1.0/bi"])


def test_another_name_of_a_file(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", [("t/a", "file", "x"), ("t/b", "same", "t/a")])
    unpack(archive, str(tmp_path / "out"), strip=1)
    assert (tmp_path / "out/b").stat().st_ino == (tmp_path / "out/a").stat().st_ino


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(outside)
    unpack(tar(tmp_path / "t", [("a", "file", "1"), ("a", "file", "2")]), str(tmp_path / "out"))
    assert content(tmp_path / "out") == {"a": "644 2"}
    assert outside.read_text() == "untouched"


ESCAPES: dict[str, list[Member]] = {
    "dots": [("a/../../evil", "file", "x")],
    "absolute": [("/evil", "file", "x")],
    "directory": [("../evil", "dir", "")],
    "link to a parent": [("evil", "link", "..")],
    "link to a deep parent": [("a/b/evil", "link", "../../../x")],
    "absolute link": [("evil", "link", "/etc")],
    "link by way of a link": [("d/e/up", "link", "../.."), ("evil", "link", "d/e/up/../x")],
    "file through a link": [("d", "dir", ""), ("l", "link", "d"), ("l/evil", "file", "x")],
    "directory through a link": [("d", "dir", ""), ("l", "link", "d"), ("l/evil", "dir", "")],
    "through a file": [("f", "file", ""), ("f/evil", "file", "x")],
    "directory and then a file": [("d/x", "dir", ""), ("d", "file", "x")],
    "device": [("evil", "device", "")],
}
ONLY_TAR: dict[str, list[Member]] = {
    "same as what is outside": [("evil", "same", "../outside")],
    "same as what a link names": [("x", "file", ""), ("l", "link", "x"), ("evil", "same", "l")],
    "same as nothing": [("evil", "same", "nothing")],
    "same through a link": [("d/f", "file", ""), ("l", "link", "d"), ("evil", "same", "l/f")],
}


@pytest.mark.parametrize("members", [*ESCAPES.values(), *ONLY_TAR.values()], ids=[*ESCAPES, *ONLY_TAR])
def test_a_tar_stays_inside(tmp_path: Path, members: list[Member]) -> None:
    refused(tmp_path, tar(tmp_path / "a.tar", members))


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES)
def test_a_zip_stays_inside(tmp_path: Path, members: list[Member]) -> None:
    refused(tmp_path, packed_zip(tmp_path / "a.tar", members))


def refused(tmp_path: Path, archive: str) -> None:
    (tmp_path / "outside").write_text("untouched")
    with pytest.raises(Failure, match=r"will not unpack a\.tar: "):
        unpack(archive, str(tmp_path / "out"))
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out", "outside"]
    assert (tmp_path / "outside").read_text() == "untouched"
    assert not [path for path in (tmp_path / "out").rglob("evil") if path.exists() or path.is_symlink()]


def test_a_link_that_leaves_once_names_are_stripped(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"a/l is a link to \.\./x"):
        unpack(tar(tmp_path / "a", [("a/l", "link", "../x")]), str(tmp_path / "out"), strip=1)


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", [("x", "file", "0" * 100_000)])
    with pytest.raises(Failure, match="more in it than expected"):
        unpack(archive, str(tmp_path / "out"), limit=50_000)


@pytest.mark.parametrize("data", [b"no archive at all", b"", b"\x1f\x8b\x08\x00truncated", b"PK\3\4broken"])
def test_what_is_no_archive_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(data)
    with pytest.raises(Failure, match=r"could not unpack a\.tgz: "):
        unpack(str(tmp_path / "a.tgz"), str(tmp_path / "out"))


def test_a_cut_archive_is_said(tmp_path: Path) -> None:
    whole = tar(tmp_path / "a", [("x", "file", os.urandom(50_000).hex())])
    with open(whole, "r+b") as file:
        file.truncate(os.path.getsize(whole) // 2)
    with pytest.raises(Failure, match="could not unpack a: "):
        unpack(whole, str(tmp_path / "out"))


@pytest.mark.parametrize("keep", [5, 20, 0.5, 0.99])
def test_a_cut_archive_of_zstd_is_said(tmp_path: Path, keep: float) -> None:
    whole = Path(tar_zst(tmp_path / "a", [("x", "file", os.urandom(400_000).hex())]))
    data = whole.read_bytes()
    whole.write_bytes(data[: int(keep * len(data) if keep < 1 else keep)])
    with pytest.raises(Failure, match="could not unpack a: "):
        unpack(str(whole), str(tmp_path / "out"))


def test_zstd_is_read_in_pieces_of_any_size() -> None:
    data = os.urandom(1000) * 90 + os.urandom(200_000)
    packed = zstandard.ZstdCompressor().compress(data) + zstandard.ZstdCompressor().compress(b"end")
    for size in (7, 1000, 300_000, 2_000_000):
        found = b""
        with zstd.reader(io.BytesIO(packed), name="a") as stream:
            while piece := stream.read(size):
                found += piece
        assert found == data + b"end"


def test_a_broken_archive_of_zstd_is_said(tmp_path: Path) -> None:
    whole = Path(tar_zst(tmp_path / "a", [("x", "file", "01" * 400_000)]))
    data = bytearray(whole.read_bytes())
    data[8:16] = b"\xff" * 8
    whole.write_bytes(data)
    with pytest.raises(Failure, match="could not unpack a: "):
        unpack(str(whole), str(tmp_path / "out"))


def test_a_bomb_of_zstd_is_stopped(tmp_path: Path) -> None:
    archive = tar_zst(tmp_path / "a", [("x", "file", "0" * 10_000_000)])
    with pytest.raises(Failure, match="more in it than expected"):
        unpack(archive, str(tmp_path / "out"), limit=50_000)


def _no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_an_image_that_cannot_read_zstd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("this Python reads zstd by itself")
    monkeypatch.setattr(ctypes, "CDLL", _no_library)
    with pytest.raises(Failure, match="which this build image cannot read") as error:
        unpack(tar_zst(tmp_path / "a.tar.zst", TOOL), str(tmp_path / "out"))
    assert "libzstd1" in error.value.tries[-1]


def test_what_the_disk_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="could not unpack a: File name too long"):
        unpack(tar(tmp_path / "a", [("x" * 300, "file", "")]), str(tmp_path / "out"))
    with pytest.raises(Failure, match="could not unpack none: No such file"):
        unpack(str(tmp_path / "none"), str(tmp_path / "out"))
