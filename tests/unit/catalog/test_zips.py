"""Zip archives of buildpacks: the same as the directory, or refused with nothing written outside."""

from __future__ import annotations

import os
import random
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog import archives, zips
from packrunner.catalog.select import CatalogSettings, select
from packrunner.errors import CorruptError, PackrunnerError, UnsafeArchiveError
from packrunner.images.extract import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Member = tuple[str, int, bytes]
"""Name, mode, content or target of a link."""

FILE, PROGRAM, LINK, PIPE = 0o100644, 0o100755, 0o120777, 0o010644
TOML = b'api = "0.12"\n[buildpack]\nid = "acme/tool"\nversion = "1.0.0"\n'
BUILDPACK: list[Member] = [
    ("tool-0123abc/", 0o40755, b""),
    ("tool-0123abc/buildpack.toml", FILE, TOML),
    ("tool-0123abc/bin/detect", PROGRAM, b"#!/bin/sh\n"),
    ("tool-0123abc/bin/build", LINK, b"detect"),
    ("tool-0123abc/data/\N{LATIN SMALL LETTER E WITH ACUTE}", FILE, b"x" * 5000),
]


def packed(path: Path, members: Iterable[Member], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, mode, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = how
            info.external_attr = mode << 16
            archive.writestr(info, data)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> CatalogSettings:
    for name in ("builtin", "sdk"):
        (tmp_path / name).mkdir()
    return CatalogSettings(
        stage_dir=str(tmp_path / "stage"), builtin_dir=str(tmp_path / "builtin"), sdk_dir=str(tmp_path / "sdk")
    )


def unzip(path: Path, into: Path, limits: Limits = Limits()) -> None:
    into.mkdir()
    zips.unzip(str(path), str(into), owner=(0, 0) if os.geteuid() == 0 else None, limits=limits)


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_it_is_the_buildpack_in_its_only_directory(settings: CatalogSettings, tmp_path: Path, how: int) -> None:
    path = packed(tmp_path / "tool.zip", BUILDPACK, how)
    found = select((str(path),), settings=settings)
    (staged,) = found.buildpacks.values()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "plain")
    place = tmp_path / "plain/tool-0123abc"
    (place / "bin/detect").chmod(0o755)
    (place / "bin/build").unlink()
    (place / "bin/build").symlink_to("detect")
    (plain,) = select((str(place),), settings=settings).buildpacks.values()
    assert (staged.id, staged.digest) == ("acme/tool", plain.digest)
    (origin,) = found.provenance.values()
    assert origin.kind == "archive"


ESCAPES: dict[str, list[Member]] = {
    "dots": [("a/../../evil", FILE, b"")],
    "absolute": [("/evil", FILE, b"")],
    "directory": [("../evil/", 0o40755, b"")],
    "through a link": [("up", LINK, b".."), ("up/evil", FILE, b"")],
    "through a link to a directory": [("d/x", FILE, b""), ("l", LINK, b"d"), ("l/evil", FILE, b"")],
    "pipe": [("evil", PIPE, b"")],
    "link to nowhere": [("evil", LINK, b"")],
    "endless link": [("evil", LINK, b"x" * 5000)],
    "root": [("./", 0o40755, b""), (".", FILE, b"")],
    "long name": [("x" * 300, FILE, b"")],
    "very long name": [("x/" * 3000 + "evil", FILE, b"")],
    "deep": [("x/" * 1500 + "evil", FILE, b"")],
}


@pytest.mark.fault("ARC-02")
@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES)
def test_nothing_is_written_outside(tmp_path: Path, members: list[Member]) -> None:
    path = packed(tmp_path / "bad.zip", members)
    with pytest.raises(UnsafeArchiveError):
        unzip(path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["bad.zip", "out"]
    assert not [found for found in (tmp_path / "out").rglob("evil") if found.is_file() or found.is_symlink()]


def test_a_link_that_leaves_is_refused_when_it_is_staged(settings: CatalogSettings, tmp_path: Path) -> None:
    path = packed(tmp_path / "bad.zip", [*BUILDPACK, ("tool-0123abc/etc", LINK, b"/etc")])
    with pytest.raises(UnsafeArchiveError) as error:
        select((str(path),), settings=settings)
    assert error.value.slug == "buildpack-tree"


def test_modes_of_systems_without_them(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", [("f", 0, b"x"), ("p", 0o100711, b"x"), ("s", 0o104755, b"x")])
    unzip(path, tmp_path / "out")
    modes = {name: (tmp_path / "out" / name).stat().st_mode & 0o7777 for name in ("f", "p", "s")}
    assert modes == {"f": 0o644, "p": 0o755, "s": 0o755}


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = packed(tmp_path / "a.zip", [("a", LINK, b"../outside"), ("a", FILE, b"2")])
    (tmp_path / "outside").write_text("untouched")
    unzip(path, tmp_path / "out")
    assert (tmp_path / "out/a").read_text() == "2"
    assert (tmp_path / "outside").read_text() == "untouched"


@pytest.mark.fault("ARC-25")
@pytest.mark.parametrize("limits", [Limits(bytes=50_000), Limits(entries=1)], ids=["bytes", "entries"])
def test_too_much_is_stopped(tmp_path: Path, limits: Limits) -> None:
    path = packed(tmp_path / "a.zip", [("x", FILE, b"0" * 100_000), ("y", FILE, b"")])
    with pytest.raises(UnsafeArchiveError) as error:
        unzip(path, tmp_path / "out", limits)
    assert error.value.slug == "archive-limit"


@pytest.mark.fault("ARC-25")
def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", [("x", FILE, bytes(40 << 20))])
    assert path.stat().st_size < 100_000
    with pytest.raises(UnsafeArchiveError, match="too large"):
        unzip(path, tmp_path / "out")
    assert (tmp_path / "out/x").stat().st_size <= 33 << 20


def test_a_directory_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 9 << 20, 0, 0)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + b"x" * 100 + end)
    with pytest.raises(UnsafeArchiveError, match="too large"):
        unzip(tmp_path / "a.zip", tmp_path / "out")
    (tmp_path / "b.zip").write_bytes(b"PK\3\4" + b"PK\6\7" + b"x" * 16 + end)
    with pytest.raises(UnsafeArchiveError, match="too large"):
        unzip(tmp_path / "b.zip", tmp_path / "out2")


def test_a_password_is_said(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", [("x", FILE, b"secret")])
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError) as error:
        unzip(path, tmp_path / "out")
    assert "password" in (error.value.cause or "")


def test_whatever_it_holds_ends_in_words(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", BUILDPACK).read_bytes()
    chance = random.Random(7)
    failed = 0
    for number in range(400):
        data = bytearray(whole[: chance.randrange(4, len(whole))] if number % 4 == 0 else whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        (tmp_path / "b.zip").write_bytes(data)
        try:
            unzip(tmp_path / "b.zip", tmp_path / f"out{number}")
        except PackrunnerError as error:
            failed += 1
            assert error.slug in {"archive-corrupt", "unsafe-archive", "archive-limit"}  # noqa: PT017  any of many
    assert failed > 200
    assert all(name.startswith("out") for name in set(os.listdir(tmp_path)) - {"a.zip", "b.zip"})


def test_nothing_is_left_of_one_that_was_cut(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", BUILDPACK)
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "stage").mkdir()
    with pytest.raises(CorruptError) as error:
        archives.unpack(str(path), str(tmp_path / "stage"), shown="a.zip")
    assert error.value.at == "a.zip"
    assert [name for _, _, names in os.walk(tmp_path / "stage") for name in names] == []
