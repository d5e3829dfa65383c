"""The strict tar reader: what it reads from headers made byte by byte, and what it refuses."""

from __future__ import annotations

import io
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.errors import CorruptError
from packrunner.images.tarread import LONGEST_HEADER, Tape, TarReader
from tests.rawtar import (
    END,
    base256,
    directory,
    entry,
    gnu_long,
    hard_link,
    header,
    link,
    padded,
    pax,
    record,
    tar,
)

if TYPE_CHECKING:
    from packrunner.images.tarread import Member

LONG = b"d/" * 60 + b"file"


def read(data: bytes, step: int = 1 << 20) -> list[tuple[Member, bytes]]:
    """All entries with their contents, the archive coming in pieces of `step` bytes."""
    reader = TarReader(Tape(data[at : at + step] for at in range(0, len(data), step)), "the archive")
    found = []
    for member in reader:
        content = b""
        while view := reader.content():
            content += view
        found.append((member, content))
    return found


def names(data: bytes) -> list[bytes]:
    return [member.name for member, _ in read(data)]


def fields(data: bytes) -> dict[str, Any]:
    ((member, _),) = read(data)
    return member._asdict()


@pytest.mark.parametrize("step", [1, 7, 512, 700, 1 << 20])
def test_every_kind_is_read_however_the_bytes_arrive(step: int) -> None:
    data = tar(
        directory("d/", mode=0o2755, uid=7, gid=8),
        entry("d/f", b"x" * 700, mode=0o100644),
        link("l", "d/f"),
        hard_link("h", "d/f"),
        entry("null", kind=b"3"),
        entry("pipe", kind=b"6"),
    )
    found = read(data, step)
    assert [(m.name, m.kind, m.mode, m.uid, m.gid, m.target, c) for m, c in found] == [
        (b"d/", "dir", 0o2755, 7, 8, b"", b""),
        (b"d/f", "file", 0o644, 0, 0, b"", b"x" * 700),
        (b"l", "link", 0o777, 0, 0, b"d/f", b""),
        (b"h", "hardlink", 0o644, 0, 0, b"d/f", b""),
        (b"null", "device", 0o644, 0, 0, b"", b""),
        (b"pipe", "fifo", 0o644, 0, 0, b"", b""),
    ]
    assert {m.mtime for m, _ in found} == {1_700_000_000 * 10**9}


def test_contents_that_are_not_read_are_passed_over() -> None:
    reader = TarReader(Tape([tar(entry("a", b"1" * 2000), entry("b", b"2"))]), "the archive")
    assert [member.name for member in reader] == [b"a", b"b"]
    assert reader.ended


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (entry(b"x" * 100), b"x" * 100),
        (header(b"f", prefix=b"a/b"), b"a/b/f"),
        (header(b"f", prefix=b"a/b".ljust(131, b"\0") + b"00000000000 00000000000 ", end=b"tar\0"), b"a/b/f"),
        # GNU's own format has times where others have a prefix.
        (header(b"f", magic=b"ustar  \0", prefix=b"14523453210"), b"f"),
        (header(b"f", magic=bytes(8)), b"f"),
        (gnu_long(LONG) + entry(LONG), LONG),
        (pax(path=LONG) + entry("short"), LONG),
        (pax(path="") + entry("short"), b"short"),
        (pax(path=b"\xff\n\x1b[2J") + entry("short"), b"\xff\n\x1b[2J"),
        (gnu_long(b"there", b"K") + gnu_long(LONG) + link("x", "y"), LONG),
    ],
)
def test_a_name_is_found_wherever_it_stands(data: bytes, expected: bytes) -> None:
    assert names(tar(data)) == [expected]


def test_long_targets() -> None:
    assert fields(tar(gnu_long(LONG, b"K") + link("x", "y")))["target"] == LONG
    assert fields(tar(pax(linkpath=LONG) + link("x", "y")))["target"] == LONG


@pytest.mark.parametrize(
    ("data", "name", "value"),
    [
        (header(b"f", uid=b"0001750 "), "uid", 1000),
        (header(b"f", uid=b""), "uid", 0),
        (header(b"f", uid=base256(1 << 31, 8)), "uid", 1 << 31),
        (pax(uid=str(2**32 - 2)) + header(b"f"), "uid", 2**32 - 2),
        (pax(gid="2097152") + header(b"f"), "gid", 2097152),
        (header(b"f", mtime=base256(1 << 33, 12)), "mtime", (1 << 33) * 10**9),
        (header(b"f", mtime=base256(-5, 12)), "mtime", -5 * 10**9),
        (pax(mtime="12.5") + header(b"f"), "mtime", 12_500_000_000),
        (pax(mtime="-1.25") + header(b"f"), "mtime", -1_250_000_000),
        (pax(mtime="nan") + header(b"f"), "mtime", None),
        (pax(mtime="inf") + header(b"f"), "mtime", None),
        (pax(mtime="9" * 30) + header(b"f"), "mtime", None),
        (header(b"f", mtime=b"99999999999"), "mtime", None),
        (pax(SCHILY__xattr__user__x="1") + header(b"f"), "attributes", True),
        (header(b"f"), "attributes", False),
        (header(b"f", kind=b"\0", magic=bytes(8)), "kind", "file"),
        (header(b"d/", kind=b"\0", magic=bytes(8)), "kind", "dir"),
        (header(b"f", kind=b"7"), "kind", "file"),
    ],
)
def test_fields(data: bytes, name: str, value: object) -> None:
    assert fields(tar(data))[name] == value


def test_a_checksum_of_signed_bytes_is_taken_too() -> None:
    plain = header(b"\xff\xfe")
    unsigned = sum(plain[:148]) + sum(plain[156:]) + 256
    signed = unsigned - 2 * 256
    assert names(tar(header(b"\xff\xfe", checksum=signed))) == [b"\xff\xfe"]
    with pytest.raises(CorruptError):
        read(tar(header(b"\xff\xfe", checksum=signed + 1)))


@pytest.mark.fault("ARC-20")
@pytest.mark.parametrize("plain", [0, 512])
def test_the_size_of_an_extended_header_wins(plain: int) -> None:
    inner = entry("smuggled", kind=b"2", target=b"/etc")
    data = tar(pax(size=str(len(inner))) + header(b"carrier", size=plain) + padded(inner), entry("after"))
    found = read(data)
    assert [member.name for member, _ in found] == [b"carrier", b"after"]
    assert found[0][1] == inner
    with tarfile.open(fileobj=io.BytesIO(data)) as other:
        assert other.getnames() == ["carrier", "after"]


@pytest.mark.fault("ARC-21")
def test_headers_for_all_entries_change_none() -> None:
    everywhere = pax(b"g", path="evil", size="4096", linkpath="/etc", uid="7", mtime="1")
    expected = fields(tar(entry("f", b"abc")))
    assert fields(tar(everywhere, entry("f", b"abc"))) == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(pax(path="a") + gnu_long(b"b") + entry("c"), "two extended", id="x-then-L"),
        pytest.param(gnu_long(b"b") + pax(path="a") + entry("c"), "two extended", id="L-then-x"),
        pytest.param(gnu_long(b"a") + gnu_long(b"b") + entry("c"), "two extended", id="L-twice"),
        pytest.param(gnu_long(b"a", b"K") * 2 + link("c", "d"), "two extended", id="K-twice"),
        pytest.param(pax(path="a") + pax(path="b") + entry("c"), "two extended", id="x-twice"),
        pytest.param(pax(path="a") + pax(b"g", comment="b") + entry("c"), "for all entries", id="x-then-g"),
        pytest.param(entry("p", b"99 path=x\n", b"x") + entry("c"), "damaged", id="record-too-long"),
        pytest.param(entry("p", b"7 path=x\n", b"x") + entry("c"), "damaged", id="record-too-short"),
        pytest.param(entry("p", b"010 path=x\n", b"x") + entry("c"), "damaged", id="record-octal"),
        pytest.param(entry("p", b"-9 path=x\n", b"x") + entry("c"), "damaged", id="record-negative"),
        pytest.param(entry("p", b"9 pathxx\n", b"x") + entry("c"), "damaged", id="record-without-equals"),
        pytest.param(entry("p", record(b"a", b"b")[:-1] + b"x", b"x") + entry("c"), "damaged", id="record-end"),
        pytest.param(entry("p", b"99 path=x\n", b"g") + entry("c"), "damaged", id="g-damaged"),
        pytest.param(gnu_long(b"a\0b") + entry("c"), "NUL", id="L-with-NUL"),
        pytest.param(gnu_long(b"") + entry("c"), "empty", id="L-empty"),
        pytest.param(pax(path=b"a\0b") + entry("c"), "NUL", id="path-with-NUL"),
        pytest.param(pax(linkpath=b"a\0b") + link("c", "d"), "NUL", id="target-with-NUL"),
        pytest.param(pax(path="a"), "missing", id="nothing-follows"),
    ],
)
@pytest.mark.fault("ARC-21")
def test_extended_headers_that_readers_differ_about_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(CorruptError) as error:
        read(tar(data))
    assert error.value.slug == "archive-corrupt"
    assert why in str(error.value.cause)


@pytest.mark.fault("ARC-22")
@pytest.mark.parametrize("size", [8 << 30, LONGEST_HEADER + 1, base256(8 << 30, 12)])
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_huge_extended_headers_are_refused_before_room_is_made_for_them(kind: bytes, size: int | bytes) -> None:
    data = header(b"p", kind, size=size) + b"11 path=abc\n"
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="cannot be unpacked"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.fault("ARC-23")
@pytest.mark.parametrize(
    "data",
    [
        header(b"f", size=base256(-1, 12)),
        header(b"f", size=base256(-512, 12)),
        header(b"f", size=b"-1"),
        header(b"f", size=base256(1 << 63, 12)),
        header(b"f", size=b"\xff" * 12),
        header(b"f", size=b"\x9f" * 12),
        header(b"f", size=b"0x10"),
        header(b"f", size=b"0o10"),
        header(b"f", size=b"1_0"),
        header(b"f", size=b"+10"),
        header(b"f", size=b"12 34"),
        header(b"f", size=b"89"),
        pax(size="-1") + header(b"f"),
        pax(size=str(1 << 63)) + header(b"f"),
        pax(size="1e3") + header(b"f"),
        pax(size="9" * 5000) + header(b"f"),
        header(b"f", checksum=1),
        header(b"f", checksum=b"garbage!"),
        header(b"d/", b"5", size=512) + bytes(512),
        header(b"l", b"2", size=512, target=b"x") + bytes(512),
        header(b"l", b"1", size=512, target=b"x") + bytes(512),
        header(b"f/", size=0),
        header(b"f/", b"7", size=0),
        header(b"f/", b"\0", size=512) + bytes(512),
        header(b"f", b"Z"),
        header(b"f", b"M"),
        b"#!/bin/sh\n".ljust(1024, b"x"),
    ],
)
def test_headers_that_make_no_sense_are_refused_at_once(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(CorruptError):
        read(tar(data, entry("after")))
    assert time.monotonic() - began < 30


@pytest.mark.fault("ARC-37")
@pytest.mark.parametrize(
    "data",
    [
        header(b"f", uid=base256(2**32 - 1, 8)),
        header(b"f", gid=base256(2**32, 8)),
        header(b"f", uid=base256(-1, 8)),
        pax(uid=str(2**32 - 1)) + header(b"f"),
        pax(gid="-1") + header(b"f"),
    ],
)
def test_owners_that_would_become_another_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError, match="cannot be unpacked"):
        read(tar(data))


@pytest.mark.fault("ARC-24")
@pytest.mark.parametrize(
    "data",
    [
        header(b"f", b"S", magic=b"ustar  \0"),
        pax(GNU__sparse__size=str(8 << 60), GNU__sparse__numblocks="1000000") + entry("f"),
        pax(GNU__sparse__map="0,1,0,1") + entry("f"),
        pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize="9") + entry("f", b"1\n0\n9\n"),
    ],
)
def test_sparse_files_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError) as error:
        read(tar(data))
    assert "sparse" in str(error.value.cause)


@pytest.mark.fault("ARC-27")
def test_an_archive_cut_anywhere_is_refused() -> None:
    data = tar(pax(path=LONG) + entry("f", b"x" * 600), directory("d/"), gnu_long(b"n" * 200) + entry("n", b"y"))
    whole = len(data) - len(END)
    boundaries = set()
    for cut in range(whole):
        reader = TarReader(Tape([data[:cut]] if cut else []), "the archive")
        try:
            for _ in reader:
                pass
        except CorruptError:
            continue
        boundaries.add(cut)
        assert not reader.ended
    # Between entries only the missing mark tells; the last one's padding holds nothing.
    assert boundaries == {0, 512 * 2 + 512 + 1024, 512 * 2 + 512 + 1024 + 512}


@pytest.mark.fault("ARC-28")
def test_what_follows_the_end_is_no_entry() -> None:
    assert names(tar(entry("a")) + bytes(5000) + tar(entry("b"))) == [b"a"]


def test_half_an_end_mark_is_an_end_only_at_the_end() -> None:
    assert names(entry("a") + bytes(512)) == [b"a"]
    with pytest.raises(CorruptError):
        read(entry("a") + bytes(512) + entry("b") + END)


def test_messages_cannot_move_the_cursor() -> None:
    with pytest.raises(CorruptError) as error:
        read(tar(header(b"\x1b[2Jx\n\xff", b"Z")))
    assert str(error.value.cause).isprintable()


@given(st.binary(max_size=3000), st.integers(0, 600))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    data = bytearray(tar(pax(path="long", size="5") + entry("f", b"12345"), link("l", "t")))
    data[at : at + len(noise)] = noise
    try:
        read(bytes(data), 333)
    except CorruptError:
        return


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1, max_size=300),
            st.binary(max_size=1500),
            st.integers(0, 2**31),
            st.integers(0, 2**34),
        ),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_reads_what_other_writers_write(entries: list[tuple[str, bytes, int, int]], form: int) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form, encoding="utf-8") as archive:
        for name, content, uid, mtime in entries:
            info = tarfile.TarInfo(name.rstrip("/") or "x")
            info.size, info.uid, info.mtime = len(content), uid, mtime
            archive.addfile(info, io.BytesIO(content))
    found = [(m.name.decode(), c, m.uid, m.mtime) for m, c in read(made.getvalue(), 100)]
    assert found == [(n.rstrip("/") or "x", c, u, t * 10**9) for n, c, u, t in entries]
