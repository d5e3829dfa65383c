"""Headers against those that Python's and GNU's tar make."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner.images import tar

TIME = 315532801


def theirs(name: str, kind: bytes, size: int, link: str, mode: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode, info.mtime = kind, size, link, mode, TIME
    info.uid, info.gid = 1000, 1001
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("kind", "name", "size", "link", "mode"),
    [
        (tar.FILE, "workspace/app.py", 1234, "", 0o644),
        (tar.FILE, "workspace/su", 8**11 - 1, "", 0o4755),
        (tar.LINK, "l", 0, "x" * 100, 0o777),
        (tar.DIRECTORY, "workspace/", 0, "", 0o1777),
        (tar.FILE, "n" * 100, 0, "", 0),
        (tar.FILE, "d" * 155 + "/" + "n" * 100, 0, "", 0o600),
    ],
)
def test_plain_headers_are_those_of_tarfile(kind: bytes, name: str, size: int, link: str, mode: int) -> None:
    ours = tar.header(kind, name.encode(), mode=mode, uid=1000, gid=1001, size=size, link=link.encode())
    expected = theirs(name, kind, size, link, mode)
    # Numbers of devices, which files have none of, are empty there and 0 here and in Go; the checksum counts them.
    assert (ours[:148], ours[156:329], ours[345:]) == (expected[:148], expected[156:329], expected[345:])
    assert int(ours[148:154], 8) == int(expected[148:154], 8) + 14 * ord("0")


def test_the_longest_prefix_is_split_off() -> None:
    assert tar.split(b"a/" * 60 + b"n") == (b"a/" * 59 + b"a", b"n")
    assert tar.split(b"a/" * 100 + b"n") == (b"a/" * 77 + b"a", b"a/" * 22 + b"n")
    assert tar.split(b"a" * 101) is None
    assert tar.split(b"a/" + b"n" * 101) is None


@settings(database=None)
@given(
    path=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=400),
    size=st.integers(0, 2**62),
)
def test_tarfile_reads_every_name_and_size(path: str, size: int) -> None:
    path = "/".join(part for part in path.split("/") if part not in {"", ".", ".."}) or "x"
    data = tar.header(tar.FILE, path.encode(), mode=0o644, uid=2**22, gid=5, size=size)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        info = archive.next()
    assert info
    assert (info.name, info.size, info.uid, info.gid) == (path, size, 2**22, 5)


@settings(database=None)
@given(path=st.binary(min_size=1, max_size=300).filter(lambda p: 0 not in p))
def test_extended_headers_are_there_only_where_needed(path: bytes) -> None:
    data = tar.header(tar.FILE, path, mode=0o644, uid=0, gid=0)
    needed = not path.isascii() or tar.split(path) is None
    assert (data[156:157] == b"x") is needed
    assert len(data) % 512 == 0


def test_gnu_tar_lists_long_and_wide_names() -> None:
    names = ["n" * 256, "d" * 200 + "/f", "ünï", "x" * 99 + "ü"]
    data = b"".join(tar.header(tar.FILE, n.encode(), mode=0o644, uid=0, gid=0) for n in names) + tar.END
    listed = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", "-"],
        input=data,
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert listed.stdout.decode().split("\n")[:-1] == names
    assert not listed.stderr


@pytest.mark.parametrize("length", [*range(80, 110), *range(980, 1010)])
def test_the_length_of_a_record_counts_itself(length: int) -> None:
    path = b"\xc3\xbc" * (length // 2) + b"x" * (length % 2)
    data = tar.header(tar.FILE, path, mode=0o644, uid=0, gid=0)
    size = int(data[124:135], 8)
    record = data[512 : 512 + size]
    assert int(record.split(b" ")[0]) == len(record) == size
    assert record.endswith(b" path=" + path + b"\n")
