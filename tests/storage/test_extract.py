"""Hostile archives, made header by header, unpacked beside a tree that must stay as it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packrunner.confined import Root
from packrunner.errors import CorruptError, PackrunnerError, StoreError, UnsafeArchiveError
from packrunner.images.extract import Limits, extract
from packrunner.images.layer import Tree, write_layer
from packrunner.images.store import LocalStore
from packrunner.names import Digest
from tests.rawtar import (
    MTIME,
    OUT,
    base256,
    contents,
    directory,
    entry,
    gnu_long,
    hard_link,
    header,
    link,
    pax,
    table,
    tar,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every directory")


@contextmanager
def guarded(place: str) -> Iterator[tuple[str, str]]:
    """A tree to unpack into, and one beside it that must not change: bytes, modes, owners, times, link counts."""
    out, tree = os.path.join(place, "out"), os.path.join(place, "tree")
    os.mkdir(tree)
    os.makedirs(os.path.join(out, "d"))
    for name in ("f", "d/g"):
        with open(os.path.join(out, name), "wb") as file:
            file.write(b"sentinel")
        os.chmod(os.path.join(out, name), 0o640)
    for name in ("f", "d/g", "d", ""):
        os.utime(os.path.join(out, name), (1, 1))
    before = table(out)
    try:
        yield tree, out
    finally:
        assert table(out) == before
        assert sorted(os.listdir(place)) == ["out", "tree"]


class Box:
    """Unpacks into a guarded tree; `@OUT@` in an archive is the sentinel's path."""

    def __init__(self, tree: str, out: str) -> None:
        self.tree = tree
        self.out = out

    def put(self, *entries: bytes, **how: Any) -> Any:
        return self.put_raw(tar(*entries), **how)

    def put_raw(self, data: bytes, **how: Any) -> Any:
        return extract(io.BytesIO(data), self.tree, **how)

    def at(self, path: str) -> str:
        return os.path.join(self.tree, path)

    def mode(self, path: str) -> int:
        return stat.S_IMODE(os.lstat(self.at(path)).st_mode)

    @property
    def holds(self) -> dict[str, str]:
        return contents(self.tree)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    # Short, so that a link's target fits into a header.
    with tempfile.TemporaryDirectory(prefix="px-") as place, guarded(place) as (tree, out):
        yield Box(tree, out)
        with Root.open(place) as root:
            root.remove("tree")
        os.mkdir(tree)


def digest(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def to_out(template: bytes, out: str) -> bytes:
    return template.replace(OUT, os.fsencode(out))


REFUSED = UnsafeArchiveError

# id, entries, what becomes of them: an error, or what the tree holds. `@OUT@` stands for the sentinel's path.
CASES: list[tuple[str, str, list[Any], type[PackrunnerError] | dict[str, str]]] = [
    ("ARC-01", "absolute", [("f", "/etc/x"), ("f", "//etc/y")], {"etc": "dir", "etc/x": "1", "etc/y": "2"}),
    ("ARC-02", "climbs", [("f", "../x")], REFUSED),
    ("ARC-02", "climbs-inside", [("d", "a"), ("f", "a/../../x")], REFUSED),
    ("ARC-02", "climbs-and-comes-back", [("d", "a"), ("f", "a/../x")], REFUSED),
    ("ARC-02", "dots", [("d", "..")], REFUSED),
    ("ARC-03", "through-absolute-link", [("l", "d", "@OUT@"), ("f", "d/f")], {"f": "2"}),
    ("ARC-03", "through-relative-link", [("l", "d", "../out"), ("f", "d/f")], {"d": "-> ../out", "out/f": "2"}),
    ("ARC-03", "two-hops", [("l", "a", "b"), ("l", "b", "@OUT@"), ("f", "a/f")], {"f": "3"}),
    ("ARC-03", "many-dots", [("l", "d", "../../../../.."), ("f", "d/f")], {"d": "-> ../../../../..", "f": "2"}),
    ("ARC-03", "link-in-a-link", [("l", "a", "b/c"), ("l", "b", ".."), ("f", "a/f")], {"c/f": "3"}),
    ("ARC-03", "loop", [("l", "a", "b"), ("l", "b", "a"), ("f", "a/f")], REFUSED),
    ("ARC-03", "self", [("l", "a", "a"), ("f", "a/f")], REFUSED),
    ("ARC-03", "directory-below-link", [("l", "d", "@OUT@"), ("d", "d/d")], {}),
    ("ARC-06", "root-empty", [("l", "", "@OUT@")], REFUSED),
    ("ARC-06", "root-dot", [("l", ".", "@OUT@")], REFUSED),
    ("ARC-06", "root-slash-dot", [("l", "/.", "@OUT@")], REFUSED),
    ("ARC-06", "root-dot-slash", [("l", "./", "@OUT@")], REFUSED),
    ("ARC-06", "root-as-file", [("f", ".")], REFUSED),
    ("ARC-06", "root-as-hard-link", [("f", "f"), ("h", "/", "f")], REFUSED),
    ("ARC-07", "hard-link-absolute", [("h", "h", "@OUT@/f")], REFUSED),
    ("ARC-07", "hard-link-climbs", [("h", "h", "../out/f")], REFUSED),
    ("ARC-07", "hard-link-climbs-high", [("h", "h", "../../../../../../../etc/passwd")], REFUSED),
    ("ARC-07", "hard-link-through-link", [("l", "link", "@OUT@"), ("h", "h", "link/f")], REFUSED),
    ("ARC-07", "hard-link-through-inner-link", [("d", "d"), ("f", "d/f"), ("l", "l", "d"), ("h", "h", "l/f")], REFUSED),
    ("ARC-07", "hard-link-to-directory", [("d", "d"), ("h", "h", "d")], REFUSED),
    ("ARC-07", "hard-link-to-root", [("h", "h", "/")], REFUSED),
    ("ARC-08", "hard-link-to-link", [("l", "l", "@OUT@/f"), ("h", "h", "l"), ("f", "h")], {"h": "3"}),
    ("ARC-08", "hard-link-to-link-chmod", [("l", "l", "@OUT@/f"), ("h", "h", "l")], {}),
    ("ARC-09", "hard-link-to-later", [("h", "h", "f"), ("f", "f")], REFUSED),
    ("ARC-09", "hard-link-to-missing", [("h", "h", "none/at/all")], REFUSED),
    ("ARC-09", "hard-link-below-a-file", [("f", "f"), ("h", "h", "f/g")], REFUSED),
    ("ARC-09", "hard-link-to-skipped", [("p", "p"), ("h", "h", "p")], REFUSED),
    ("ARC-09", "hard-link-without-target", [("f", "f"), ("h", "h", "")], REFUSED),
    ("ARC-10", "file-over-link", [("l", "f", "@OUT@/f"), ("f", "f")], {"f": "2"}),
    ("ARC-10", "link-over-link", [("l", "f", "@OUT@"), ("l", "f", "x")], {"f": "-> x"}),
    ("ARC-11", "directory-becomes-link", [("d", "d"), ("l", "d", "@OUT@")], {}),
    ("ARC-11", "directory-in-one-too", [("d", "d"), ("d", "d/d"), ("l", "d", "@OUT@")], {}),
    ("ARC-12", "file-over-directory", [("d", "d"), ("f", "d/f"), ("f", "d")], {"d": "3"}),
    ("ARC-12", "directory-over-file", [("f", "d"), ("d", "d"), ("f", "d/f")], {"d": "dir", "d/f": "3"}),
    ("ARC-12", "directory-over-link", [("l", "d", "@OUT@"), ("d", "d"), ("f", "d/f")], {"d": "dir", "d/f": "3"}),
    ("ARC-12", "file-as-parent", [("f", "d"), ("f", "d/f")], {"d": "dir", "d/f": "2"}),
    ("ARC-12", "link-over-directory", [("d", "d"), ("f", "d/f"), ("l", "d", "x")], {"d": "-> x"}),
    ("ARC-12", "hard-link-over-directory", [("f", "f"), ("d", "d"), ("h", "d", "f")], {"d": "1", "f": "1"}),
    ("ARC-12", "hard-link-over-its-directory", [("d", "d"), ("f", "d/f"), ("h", "d", "d/f")], REFUSED),
    ("ARC-12", "hard-link-below-its-file", [("f", "f"), ("h", "f/h", "f")], REFUSED),
    ("ARC-12", "hard-link-to-itself", [("f", "f"), ("h", "f", "f")], {"f": "1"}),
    ("ARC-14", "whiteout-of-nothing", [("f", ".wh.")], REFUSED),
    ("ARC-14", "whiteout-of-here", [("f", "a/.wh..")], REFUSED),
    ("ARC-14", "whiteout-of-parent", [("f", "a/.wh...")], REFUSED),
    ("ARC-14", "below-whiteout-of-parent", [("f", "a/.wh.../x")], REFUSED),
    ("ARC-14", "below-whiteout", [("f", ".wh.d/x")], REFUSED),
    ("ARC-14", "directory", [("d", ".wh.d")], REFUSED),
    ("ARC-14", "link", [("l", ".wh.d", "x")], REFUSED),
    ("ARC-14", "of-a-whiteout", [("f", ".wh..wh.x")], REFUSED),
    ("ARC-15", "whiteout-through-link", [("l", "l", "@OUT@"), ("f", "l/.wh.f")], {}),
    ("ARC-15", "opaque-through-link", [("l", "l", "@OUT@"), ("f", "l/.wh..wh..opq")], {}),
    ("ARC-16", "whiteout-of-absent", [("f", ".wh.x"), ("f", "no/.wh.x"), ("f", "no/.wh..wh..opq")], {}),
    ("ARC-35", "twice", [("f", "f"), ("f", "f")], {"f": "2"}),
    ("ARC-32", "double-slashes", [("f", "a//b"), ("f", "./c")], {"a": "dir", "a/b": "1", "c": "2"}),
    ("ARC-34", "case", [("f", "A"), ("l", "a", "@OUT@/f")], {"A": "1"}),
]


def build(lines: list[Any], out: str) -> bytes:
    """A case's archive; a file holds its number."""
    entries = []
    for number, (kind, name, *rest) in enumerate(lines, 1):
        target = to_out(rest[0].encode(), out) if rest else b""
        if kind == "f":
            entries.append(entry(name, b"%d" % number, mode=0o600))
        elif kind == "p":
            entries.append(entry(name, kind=b"6"))
        else:
            number_of = {"d": b"5", "l": b"2", "h": b"1"}[kind]
            entries.append(entry(name, kind=number_of, mode=0o777, target=target))
    return tar(*entries)


@pytest.mark.parametrize("whiteouts", ["apply", "overlay"])
@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        pytest.param(lines, outcome, id=f"{fault}-{name}", marks=pytest.mark.fault(fault))
        for fault, name, lines, outcome in CASES
    ],
)
def test_hostile_archive(box: Box, lines: list[Any], outcome: Any, whiteouts: str) -> None:
    data = build(lines, box.out)
    if isinstance(outcome, type):
        with pytest.raises(PackrunnerError) as error:
            box.put_raw(data, whiteouts=whiteouts)
        assert isinstance(error.value, outcome)
        assert error.value.slug == "unsafe-archive"
        return
    box.put_raw(data, whiteouts=whiteouts)
    inside = box.out.strip("/")
    found = {path.removeprefix(inside).lstrip("/"): what for path, what in box.holds.items()}
    assert outcome.items() <= found.items()


@pytest.mark.parametrize("lines", [lines for fault, _, lines, _ in CASES if fault in {"ARC-03", "ARC-15", "ARC-16"}])
@pytest.mark.fault("ARC-03")
def test_archives_that_are_no_layers_go_through_no_link(box: Box, lines: list[Any]) -> None:
    with pytest.raises(UnsafeArchiveError):
        box.put_raw(build(lines, box.out), whiteouts="reject")


@pytest.mark.fault("ARC-01")
@pytest.mark.parametrize("name", ["/etc/x", "//etc/x", "/"])
def test_archives_that_are_no_layers_have_no_absolute_names(box: Box, name: str) -> None:
    with pytest.raises(UnsafeArchiveError):
        box.put(entry(name, kind=b"5"), whiteouts="reject")


@pytest.mark.fault("ARC-04")
def test_paths_longer_than_the_kernel_resolves(box: Box) -> None:
    component = b"d" * 247
    entries, path = [], b""
    for step in range(16):
        deeper = path + component + b"/"
        entries += [
            pax(path=deeper) + directory(b"x"),
            pax(path=path + b"%c" % (97 + step), linkpath=component) + link("x", "y"),
        ]
        path = deeper
    # A link of links to a place beyond PATH_MAX, from which dots climb out.
    short = b"/".join(b"%c" % (97 + step) for step in range(16)) + b"/l" * 200
    entries.append(pax(path=b"l", linkpath=short) + link("x", "y"))
    entries.append(
        pax(path=b"escape", linkpath=b"l/" + b"../" * 30 + to_out(OUT, box.out).lstrip(b"/")) + link("x", "y")
    )
    entries.append(entry("escape/f", b"evil"))
    with suppress(UnsafeArchiveError):
        box.put(*entries)
    with suppress(UnsafeArchiveError):
        box.put(hard_link("h", "escape/f"))


@pytest.mark.fault("ARC-05")
@pytest.mark.parametrize("whiteouts", ["apply", "overlay", "reject"])
@pytest.mark.parametrize("target", ["../../../../..", "/etc/alternatives/x", "dangling", "l", "/", "usr/lib"])
def test_legal_links_are_stored_as_they_are(box: Box, target: str, whiteouts: str) -> None:
    box.put(link("l", target), entry("f", b"x"), whiteouts=whiteouts)
    assert os.readlink(box.at("l")) == target
    st_ = os.lstat(box.at("l"))
    assert st_.st_mtime == MTIME


@pytest.mark.fault("ARC-06")
def test_a_second_layer_does_not_follow_what_the_first_one_left(box: Box) -> None:
    for name in ("", ".", "/.", "./"):
        with pytest.raises(UnsafeArchiveError):
            box.put(link(name, box.out))
    box.put(link("d", box.out))
    box.put(entry("d/f", b"2"))
    box.put(entry("d", b"3"))
    assert box.holds["d"] == "3"


@pytest.mark.fault("ARC-08")
def test_a_second_name_changes_nothing_behind_a_link(box: Box) -> None:
    box.put(
        link("l", box.out + "/f"), hard_link("h", "l", mode=0o777, mtime=5), entry("h2", b"x"), hard_link("h3", "h2")
    )
    assert os.readlink(box.at("h")) == box.out + "/f"
    assert os.lstat(box.at("h2")).st_nlink == 2


@pytest.mark.fault("ARC-11")
def test_late_attributes_hit_the_directory_they_are_of_or_nothing(box: Box) -> None:
    box.put(
        directory("d", mode=0o711, mtime=5),
        directory("d/d", mode=0o700, mtime=5),
        link("d", box.out),
        directory("e", mode=0o711, mtime=5),
        entry("e", b"x", mode=0o640),
    )
    assert os.readlink(box.at("d")) == box.out
    assert box.mode("e") == 0o640


@pytest.mark.fault("ARC-13")
def test_a_directory_of_an_upper_layer_takes_a_links_place(box: Box) -> None:
    box.put(directory("usr"), directory("usr/lib"), link("lib", "usr/lib"))
    box.put(directory("lib"), entry("lib/x", b"1"))
    assert box.holds == {"usr": "dir", "usr/lib": "dir", "lib": "dir", "lib/x": "1"}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.fault("ARC-16")
class TestWhiteouts:
    LOWER = (
        directory("d", mode=0o750),
        entry("d/low", b"low"),
        directory("d/sub"),
        entry("d/sub/low", b"low"),
        entry("f", b"low"),
    )

    def both(self, box: Box, order: int, *entries: bytes, whiteouts: str = "apply") -> dict[str, str]:
        box.put(*self.LOWER)
        box.put(*entries[::order], whiteouts=whiteouts)
        return box.holds

    def test_opaque_hides_lower_layers_only(self, box: Box, order: int) -> None:
        found = self.both(box, order, entry("d/.wh..wh..opq"), entry("d/new", b"new"), entry("d/sub/new", b"new"))
        assert found == {"d": "dir", "d/new": "new", "d/sub": "dir", "d/sub/new": "new", "f": "low"}

    def test_a_whiteout_hides_lower_layers_only(self, box: Box, order: int) -> None:
        found = self.both(box, order, entry(".wh.d"), entry("d/new", b"new"))
        assert found == {"d": "dir", "d/new": "new", "f": "low"}

    def test_a_whiteout_of_a_file(self, box: Box, order: int) -> None:
        found = self.both(box, order, entry(".wh.f"), entry("d/.wh.low"), entry("d/new", b"new"))
        assert found == {"d": "dir", "d/new": "new", "d/sub": "dir", "d/sub/low": "low"}

    def test_a_file_beside_its_whiteout_stays(self, box: Box, order: int) -> None:
        found = self.both(box, order, entry(".wh.f"), entry("f", b"new"), entry(".wh.d"))
        assert found == {"f": "new"}

    def test_overlays_get_marks(self, box: Box, order: int) -> None:
        entries = [
            entry(".wh.f"),
            entry(".wh.gone"),
            entry("d/.wh..wh..opq"),
            entry("d/new", b"new"),
            directory("d", 0o711),
        ]
        box.put(*entries[::order], whiteouts="overlay")
        assert box.holds == {"f": "whiteout", "gone": "whiteout", "d": "dir", "d/new": "new"}
        assert os.getxattr(box.at("d"), "user.overlay.opaque") == b"y"
        assert box.mode("d") == 0o711

    def test_a_directory_beside_its_whiteout_is_opaque(self, box: Box, order: int) -> None:
        box.put(*[entry(".wh.d"), directory("d")][::order], entry("d/new", b"new"), whiteouts="overlay")
        assert box.holds == {"d": "dir", "d/new": "new"}
        assert os.getxattr(box.at("d"), "user.overlay.opaque") == b"y"

    def test_layers_merged_into_one_keep_their_marks(self, box: Box, order: int) -> None:
        found = self.both(box, order, entry(".wh.f"), entry(".wh.d"), entry("d/new", b"new"), whiteouts="overlay")
        assert found == {"d": "dir", "d/new": "new", "f": "whiteout"}
        assert os.getxattr(box.at("d"), "user.overlay.opaque") == b"y"


@pytest.mark.fault("ARC-16")
def test_a_directory_instead_of_a_file_hides_what_is_below(box: Box) -> None:
    box.put(entry("x", b"1"), entry("y", b"1"), whiteouts="overlay")
    box.put(directory("x"), entry("y/z", b"2"), directory("plain"), whiteouts="overlay")
    for name in ("x", "y"):
        assert os.getxattr(box.at(name), "user.overlay.opaque") == b"y"
    with pytest.raises(OSError, match="No data"):
        os.getxattr(box.at("plain"), "user.overlay.opaque")


@pytest.mark.fault("ARC-14")
@pytest.mark.parametrize("name", [".wh.x", "d/.wh.x", "d/.wh..wh..opq", ".wh.d/x"])
def test_archives_that_are_no_layers_have_no_whiteouts(box: Box, name: str) -> None:
    with pytest.raises(UnsafeArchiveError):
        box.put(entry(name), whiteouts="reject")


@pytest.mark.fault("ARC-18")
@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_devices_are_left_out_of_layers(box: Box, kind: bytes) -> None:
    result = box.put(entry("a", kind=kind), entry("b", kind=kind), entry("c", b"x"))
    assert box.holds == {"c": "x"}
    assert len(result.warnings) == 1
    with pytest.raises(UnsafeArchiveError):
        box.put(entry("a", kind=kind), whiteouts="reject")


@pytest.mark.fault("ARC-19")
def test_set_id_bits_live_only_where_nobody_else_gets(box: Box) -> None:
    entries = [entry("f", b"x", mode=0o6755), directory("d", mode=0o2775), directory("t", mode=0o1777)]
    place = os.path.dirname(box.tree)
    box.put(*entries)
    assert (box.mode("f"), box.mode("d"), box.mode("t")) == (0o6755, 0o2775, 0o1777)
    above = os.path.dirname(place)
    if os.stat(above).st_mode & 0o001:
        os.chmod(place, 0o755)
        box.put(*entries)
        assert (box.mode("f"), box.mode("d"), box.mode("t")) == (0o755, 0o775, 0o1777)


@pytest.mark.fault("ARC-19")
def test_extended_attributes_are_left_out(box: Box) -> None:
    records = {"SCHILY__xattr__" + key: value for key, value in (
        ("security__capability", b"\1\0\0\2\0\4\0\0" + bytes(12)),
        ("trusted__overlay__opaque", b"y"),
        ("user__overlay__redirect", b"/etc"),
        ("user__large", b"x" * 500_000),
    )}  # fmt: skip
    result = box.put(pax(**records) + directory("d"), pax(**records) + entry("f", b"x"), whiteouts="overlay")
    assert os.listxattr(box.at("d")) == []
    assert os.listxattr(box.at("f")) == []
    assert len(result.warnings) == 1


@pytest.mark.fault("ARC-20")
def test_a_smuggled_entry_is_content(box: Box) -> None:
    inner = link("smuggled", box.out)
    box.put(pax(size=str(len(inner))) + header(b"carrier") + inner, entry("after", b"x"))
    assert sorted(box.holds) == ["after", "carrier"]


@pytest.mark.fault("ARC-25")
class TestLimits:
    def test_entries(self, box: Box) -> None:
        data = tar(*[header(b"%d" % n) for n in range(20)])
        assert box.put_raw(data, limits=Limits(entries=20)).entries == 20
        with pytest.raises(UnsafeArchiveError) as error:
            box.put_raw(data, limits=Limits(entries=19))
        assert error.value.slug == "archive-limit"

    def test_bytes_that_a_header_promises(self, box: Box) -> None:
        with pytest.raises(UnsafeArchiveError, match="too large"):
            box.put(header(b"f", size=base256(100 << 30, 12)))
        assert box.holds == {}

    def test_bytes_that_come(self, box: Box) -> None:
        data = gzip.compress(tar(*[entry(f"{n}", bytes(1 << 20)) for n in range(8)]))
        with pytest.raises(UnsafeArchiveError, match="too large"):
            box.put_raw(data, limits=Limits(bytes=4 << 20, ratio=10**6))

    def test_bytes_after_the_end(self, box: Box) -> None:
        data = gzip.compress(tar(entry("f", b"x")) + bytes(8 << 20))
        with pytest.raises(UnsafeArchiveError, match="too large"):
            box.put_raw(data, limits=Limits(bytes=4 << 20, ratio=10**6))

    def test_ratio(self, box: Box) -> None:
        data = gzip.compress(entry("f", bytes(200 << 20)), 1)
        with pytest.raises(UnsafeArchiveError, match="too large for what is stored"):
            box.put_raw(data, limits=Limits(ratio=20))
        assert os.lstat(box.at("f")).st_size < 100 << 20

    def test_a_small_archive_may_have_any_ratio(self, box: Box) -> None:
        box.put_raw(gzip.compress(tar(entry("f", bytes(4 << 20)))), limits=Limits(ratio=2))
        assert os.lstat(box.at("f")).st_size == 4 << 20

    @pytest.mark.fault("ARC-32")
    def test_names(self, box: Box) -> None:
        name = b"/".join([b"n" * 100] * 10)
        box.put(gnu_long(name) + entry("x", b"1"), limits=Limits(name=len(name)))
        with pytest.raises(UnsafeArchiveError, match="not unpacked"):
            box.put(gnu_long(name) + entry("x", b"1"), limits=Limits(name=len(name) - 1))


@pytest.mark.fault("ARC-26")
def test_many_gzip_members_stream(box: Box) -> None:
    data = tar(entry("f", os.urandom(100_000)))
    small = b"".join(gzip.compress(data[at : at + 1000], 1) for at in range(0, len(data), 1000))
    many = small + gzip.compress(b"", 1) * 50_000
    tracemalloc.start()
    try:
        began = time.monotonic()
        box.put_raw(many, diff_id=digest(data), digest=digest(many))
        assert time.monotonic() - began < 30
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert os.lstat(box.at("f")).st_size == 100_000


@pytest.mark.fault("ARC-27")
def test_a_compressed_layer_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(tar(entry("f", b"text " * 30), directory("d")))
    for cut in range(len(data)):
        tree = tmp_path / str(cut)
        tree.mkdir()
        with pytest.raises(CorruptError):
            extract(io.BytesIO(data[:cut]), str(tree))


@pytest.mark.fault("ARC-27")
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = tar(entry("f", b"text " * 300), directory("d"))
    for cut in range(0, len(data) - 1023, 16):
        tree = tmp_path / str(cut)
        tree.mkdir()
        with pytest.raises(CorruptError):
            extract(io.BytesIO(data[:cut]), str(tree))
        with pytest.raises(CorruptError):
            extract(io.BytesIO(data[:cut]), str(tree), diff_id=digest(data))


@pytest.mark.fault("ARC-27")
def test_damaged_compressed_data_is_refused(box: Box) -> None:
    data = bytearray(gzip.compress(tar(entry("f", os.urandom(2000)))))
    data[-6] ^= 1
    with pytest.raises(CorruptError):
        box.put_raw(bytes(data))


def test_an_archive_without_an_end_mark_needs_a_digest(box: Box) -> None:
    data = entry("f", b"x")
    with pytest.raises(CorruptError):
        box.put_raw(data)
    box.put_raw(data, diff_id=digest(data))
    assert box.holds == {"f": "x"}


@pytest.mark.fault("ARC-28")
@pytest.mark.parametrize("junk", [bytes(3000), b"junk", b"\x1e" * 70_000, tar(entry("evil"))])
def test_what_follows_is_hashed_and_not_unpacked(box: Box, junk: bytes) -> None:
    plain = tar(entry("f", b"x"))
    stored = gzip.compress(plain) + junk
    result = box.put_raw(stored, digest=digest(stored), diff_id=digest(plain))
    assert len(result.warnings) == 1
    with pytest.raises(CorruptError) as error:
        box.put_raw(stored, digest=digest(gzip.compress(plain)))
    assert error.value.slug == "archive-digest"
    box.put_raw(plain + junk, digest=digest(plain + junk), diff_id=digest(plain + junk))
    with pytest.raises(CorruptError):
        box.put_raw(plain + junk, diff_id=digest(plain))
    assert box.holds == {"f": "x"}


@pytest.mark.fault("ARC-29")
def test_the_right_blob_with_a_wrong_diff_id_is_refused(box: Box) -> None:
    plain = tar(entry("f", b"x"))
    stored = gzip.compress(plain)
    box.put_raw(stored, digest=digest(stored), diff_id=digest(plain))
    with pytest.raises(CorruptError) as error:
        box.put_raw(stored, digest=digest(stored), diff_id=digest(stored))
    assert error.value.slug == "archive-digest"


@pytest.mark.fault("ARC-30")
@pytest.mark.parametrize(
    "text", ["sha256:../../x", "sha256:" + "A" * 64, "sha256:abc", "md5:" + "0" * 32, "", "sha256:" + "0" * 64 + "\n"]
)
def test_there_is_no_digest_to_compare_with_that_is_none(text: str) -> None:
    with pytest.raises(PackrunnerError):
        Digest.parse(text)


@pytest.mark.fault("ARC-31")
@pytest.mark.parametrize("pieces", [1, 1 << 20])
def test_compression_is_seen_in_the_bytes(box: Box, pieces: int) -> None:
    plain = tar(entry("f", b"x"))

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(pieces, size if size and size > 0 else pieces))

    for stored in (plain, gzip.compress(plain), zstandard.compress(plain)):
        extract(Slow(stored), box.tree, digest=digest(stored), diff_id=digest(plain))
        assert box.holds == {"f": "x"}


@pytest.mark.fault("ARC-31")
@pytest.mark.parametrize("magic", [b"\xfd7zXZ\0", b"BZh9"])
def test_other_compressions_are_named(box: Box, magic: bytes) -> None:
    with pytest.raises(CorruptError) as error:
        box.put_raw(magic + bytes(1000))
    assert error.value.slug == "archive-compression"


@pytest.mark.fault("ARC-32")
@pytest.mark.parametrize(
    "name",
    [b"n" * 256, b"d/" + b"n" * 256 + b"/f", b"d/" * 450 + b"f", b"d/" * 2000 + b"f", b"/".join([b"n" * 250] * 20)],
)
def test_names_too_long_or_too_deep_are_refused_by_name(box: Box, name: bytes) -> None:
    with pytest.raises(UnsafeArchiveError) as error:
        box.put(gnu_long(name) + entry("x", b"1"))
    assert name[:100].decode() in error.value.brief
    with pytest.raises(UnsafeArchiveError):
        box.put(gnu_long(name.removesuffix(b"/f") + b"/") + directory("x"))


@pytest.mark.fault("ARC-32")
def test_deep_trees_are_unpacked_and_removable(box: Box) -> None:
    box.put(gnu_long(b"d/" * 399 + b"f") + entry("x", b"1"), gnu_long(b"d/" * 400) + directory("x", mode=0o500))
    assert len(box.holds) == 401


@pytest.mark.fault("ARC-33")
@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"\x1b[2J", "\u202egpj.exe".encode(), b" ", b"-rf", b"\\"])
def test_names_of_any_bytes(box: Box, name: bytes) -> None:
    box.put(pax(path=name) + entry("x", b"1"), pax(path=b"l", linkpath=name) + link("l", "x"))
    assert set(os.listdir(os.fsencode(box.tree))) == {name, b"l"}
    assert os.readlink(os.fsencode(box.at("l"))) == name
    with pytest.raises(UnsafeArchiveError) as error:
        box.put(pax(path=b"../" + name) + entry("x", b"1"))
    assert error.value.brief.isprintable()


@pytest.mark.fault("ARC-36")
@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (header(b"f", mtime=base256(-1, 12)), 0),
        (header(b"f", mtime=base256(1 << 40, 12)), (1 << 33) - 1),
        (header(b"f", mtime=base256(1 << 80, 12)), (1 << 33) - 1),
        (pax(mtime="nan") + header(b"f"), 0),
        (pax(mtime="inf") + header(b"f"), 0),
        (pax(mtime="-62135596800") + header(b"f"), 0),
        (pax(mtime="1e9") + header(b"f"), 0),
        (pax(mtime="9" * 24) + header(b"f"), (1 << 33) - 1),
        (pax(mtime="-1") + directory("f"), 0),
        (pax(mtime="-1") + link("f", "x"), 0),
    ],
)
def test_impossible_times_are_changed_with_one_warning(box: Box, data: bytes, seconds: int) -> None:
    result = box.put(data, data)
    assert len(result.warnings) == 1
    assert os.lstat(box.at("f")).st_mtime_ns // 10**9 == seconds


@pytest.mark.fault("ARC-37")
@as_root
def test_owners_are_kept_or_given(box: Box) -> None:
    entries = [
        directory("d", uid=5, gid=6),
        entry("d/f", b"x", uid=base256(1 << 31, 8), gid=7, mode=0o4711),
        link("d/l", "f", uid=8, gid=9),
        pax(uid=str(2**32 - 2)) + entry("g", b"x"),
        entry("no/f", b"x"),
    ]
    box.put(*entries)

    def owners() -> list[tuple[int, int]]:
        stats = [os.lstat(box.at(name)) for name in ("d", "d/f", "d/l", "g", "no", "no/f")]
        return [(found.st_uid, found.st_gid) for found in stats]

    assert owners() == [(5, 6), (1 << 31, 7), (8, 9), (2**32 - 2, 0), (0, 0), (0, 0)]
    assert box.mode("d/f") == 0o4711
    box.put(*entries[:2], *entries[2:], uid_gid=(12, 13))
    assert owners() == [(12, 13)] * 4 + [(0, 0), (12, 13)]
    box.put(entry("new/f", b"x"), uid_gid=(12, 13))
    assert os.lstat(box.at("new")).st_uid == 12


@as_user
def test_an_ordinary_user_keeps_everything(box: Box) -> None:
    box.put(entry("f", b"x", uid=0, gid=0), link("l", "f", uid=5), uid_gid=(12, 13))
    assert {os.lstat(box.at(name)).st_uid for name in ("f", "l")} == {os.geteuid()}


@pytest.mark.fault("ARC-37")
def test_an_owner_that_means_do_not_change_is_refused(box: Box) -> None:
    with pytest.raises(CorruptError):
        box.put(entry("f", b"x", uid=base256(2**32 - 1, 8)))
    assert box.holds == {}


@pytest.mark.fault("ARC-38")
def test_whiteouts_cost_the_same_each(box: Box) -> None:
    count = 4000
    box.put(*[entry(f"d/{n}") for n in range(count)])
    marks = [entry(f"d/.wh.{n}") for n in range(count)] + [entry("d/.wh..wh..opq")] * count
    began = time.monotonic()
    box.put(*marks)
    assert time.monotonic() - began < 30
    assert box.holds == {"d": "dir"}


@pytest.mark.fault("ARC-39")
def test_somebody_swaps_a_directory_for_a_link_meanwhile(box: Box) -> None:
    for name in ("d", "d/e"):
        os.mkdir(box.at(name))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                os.rename(box.at("d"), box.at("was"))
                os.symlink(box.out, box.at("d"))
            with suppress(OSError):
                os.unlink(box.at("d"))
                os.rename(box.at("was"), box.at("d"))

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        entries = [
            e for n in range(40) for e in (entry(f"d/e/{n}", b"x"), directory("d/e", 0o711), entry(f"f{n}", b"x"))
        ]
        for _ in range(20):
            with suppress(PackrunnerError):
                box.put(*entries, entry("d/f", b"evil"), entry("d/d/g", b"evil"), entry("d/.wh.f"))
    finally:
        stop.set()
        thread.join()


@pytest.mark.fault("ARC-41")
@pytest.mark.parametrize("umask", [0o077, 0o000, 0o027])
def test_modes_are_exact_whatever_the_umask(box: Box, umask: int) -> None:
    before = os.umask(umask)
    try:
        box.put(
            directory("ro", mode=0o555, mtime=7),
            directory("ro/none", mode=0o000, mtime=8),
            entry("ro/f", b"x", mode=0o444),
            entry("ro/none/f", b"x", mode=0o666),
            entry("implied/f", b"x", mode=0o777),
        )
    finally:
        os.umask(before)
    assert [box.mode(name) for name in ("ro", "ro/none", "ro/f", "implied", "implied/f")] == [
        0o555,
        0,
        0o444,
        0o755,
        0o777,
    ]
    assert os.lstat(box.at("ro")).st_mtime == 7
    assert os.lstat(box.at("ro/none")).st_mtime == 8
    with Root.open(box.tree) as root:
        root.remove("ro")
    assert sorted(box.holds) == ["implied", "implied/f"]


@pytest.mark.fault("ARC-41")
def test_closed_directories_of_an_earlier_archive_are_written_into(box: Box) -> None:
    box.put(directory("d", mode=0o555), directory("d/e", mode=0o000), directory("x", mode=0o500), entry("x/f", b"1"))
    box.put(entry("d/e/f", b"2"), entry("d/f", b"2"), entry(".wh.x"), directory("d", mode=0o550))
    assert (box.mode("d"), box.mode("d/e")) == (0o550, 0)
    os.chmod(box.at("d/e"), 0o700)
    assert box.holds == {"d": "dir", "d/e": "dir", "d/e/f": "2", "d/f": "2"}


def test_the_root_is_the_callers_but_for_overlays(box: Box) -> None:
    os.chmod(box.tree, 0o710)
    box.put(directory("./", mode=0o000), entry("f", b"x"))
    assert box.mode("") == 0o710
    box.put(directory("./", mode=0o011), entry("f", b"x"), whiteouts="overlay")
    assert box.mode("") == 0o711


class TestPrefix:
    ENTRIES = (
        directory("layers"),
        directory("layers/a", mode=0o700),
        entry("layers/a/f", b"1"),
        hard_link("layers/a/h", "layers/a/f"),
        directory("layers/ab"),
        entry("layers/ab/f", b"2"),
        entry("other/.wh.x"),
    )

    def test_only_what_is_below_is_written(self, box: Box) -> None:
        result = box.put(*self.ENTRIES, prefix="layers/a")
        assert box.holds == {"f": "1", "h": "1"}
        assert result.entries == 7

    def test_a_file_in_its_place_is_refused(self, box: Box) -> None:
        with pytest.raises(UnsafeArchiveError):
            box.put(entry("layers/a", b"x"), prefix="layers/a")

    def test_links_into_it_are_refused(self, box: Box) -> None:
        with pytest.raises(UnsafeArchiveError):
            box.put(entry("layers/b", b"x"), hard_link("layers/a/f", "layers/b"), prefix="layers/a")


def test_counts(box: Box) -> None:
    result = box.put(directory("d"), entry("d/f", b"12345"), link("l", "d"))
    assert (result.entries, result.bytes, result.warnings) == (3, 5, ())


def test_errors_of_the_stream_come_through(box: Box) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 4000:
                raise CorruptError("the store says so", slug="store-corrupt")
            return super().read(1000)

    before = set(threading.enumerate())
    with pytest.raises(CorruptError) as error:
        extract(Broken(tar(*[entry(f"{n}", b"x" * 400) for n in range(10)])), box.tree)
    assert error.value.slug == "store-corrupt"
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()


def test_a_missing_root_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        extract(io.BytesIO(tar(entry("f"))), str(tmp_path / "none"))
    assert error.value.slug == "disk"


def test_the_tail_of_the_stream_is_read(box: Box) -> None:
    """A stored blob is verified when its very end is reached."""
    stream: BinaryIO = io.BytesIO(tar(entry("f", b"x")) + bytes(5 << 20))
    extract(stream, box.tree)
    assert stream.read() == b""


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=12
)
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0, 0o777)),
    st.tuples(st.just("link"), NAMES, st.just(0)),
)


def directories(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    modes = st.integers(0o700, 0o777)
    return st.tuples(st.just("dir"), st.dictionaries(NAMES, inner, max_size=4), modes)


TREES: st.SearchStrategy[Any] = st.recursive(LEAVES, directories, max_leaves=12)


def plant(path: str, node: Any) -> None:
    kind, value, mode = node
    if kind == "file":
        with open(path, "wb") as file:
            file.write(value)
        os.chmod(path, mode | 0o400)
    elif kind == "link":
        os.symlink(value, path)
    else:
        os.mkdir(path)
        for name, inner in value.items():
            if name not in {".", ".."} and not name.startswith(".wh."):
                with suppress(OSError):  # a name of more than 255 bytes
                    plant(os.path.join(path, name), inner)
        os.chmod(path, mode)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES.filter(lambda node: node[0] == "dir"))
def test_what_the_layer_writer_wrote_comes_back(node: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="px-") as place:
        source, made = os.path.join(place, "source"), os.path.join(place, "made")
        plant(source, node)
        os.mkdir(made)
        store = LocalStore(os.path.join(place, "store"))
        written = write_layer(
            store, [Tree(source=source, target="/a", uid=os.geteuid(), gid=os.getegid())], created_by="a test"
        )
        with store.open(written.layer.blob.digest) as stream:
            extract(stream, made, diff_id=written.layer.diff_id)
        expected = {path: (*row[:4], row[5]) for path, row in table(source).items()}
        found = {path: (*row[:4], row[5]) for path, row in table(os.path.join(made, "a")).items()}
        assert found == expected
        assert {row[4] for row in table(os.path.join(made, "a")).values()} == {315532801 * 10**9}


NOISE = st.lists(
    st.tuples(
        st.sampled_from(["f", "d", "l", "h"]),
        st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a", "a/.wh.b", ".wh.a", "b/.wh..wh..opq", "./", "/a"]),
        st.sampled_from(["@OUT@", "a", "b", "..", "../out", "a/b", "/", "@OUT@/f", "b/a"]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(NOISE, st.sampled_from(["apply", "overlay", "reject"]))
@pytest.mark.fault("ARC-12")
def test_no_sequence_of_entries_gets_out(lines: list[tuple[str, str, str]], whiteouts: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="px-") as place, guarded(place) as (tree, out):
        for half in (lines[: len(lines) // 2], lines):
            data = build([(kind, name, *([target] if kind in "lh" else [])) for kind, name, target in half], out)
            with suppress(UnsafeArchiveError, CorruptError):
                extract(io.BytesIO(data), tree, whiteouts=whiteouts)


def stacked(*trees: str) -> dict[str, str]:
    """Trees, lowest first, as the overlay file system shows them."""
    found: dict[str, str] = {}
    for tree in trees:
        for path, what in sorted(contents(tree).items()):
            opaque = False
            with suppress(OSError):
                opaque = os.getxattr(os.path.join(tree, path), "user.overlay.opaque") == b"y"
            if what != "dir" or opaque or found.get(path, "dir") != "dir":
                found = {name: value for name, value in found.items() if not f"{name}/".startswith(f"{path}/")}
            if what != "whiteout":
                found[path] = what
    return found


LAYER = st.lists(
    st.tuples(
        st.sampled_from(["f", "d"]),
        st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a", "a/.wh.b", ".wh.a", "a/.wh..wh..opq", "a/b/.wh.c", ".wh.b"]),
    ).filter(lambda line: line[0] == "f" or ".wh." not in line[1]),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(LAYER, LAYER)
@pytest.mark.fault("ARC-16")
def test_marked_layers_stacked_are_applied_layers(lower: list[Any], upper: list[Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="px-") as place:
        trees = [os.path.join(place, name) for name in ("applied", "lower", "upper")]
        for tree in trees:
            os.mkdir(tree)
        for drawn, tree in ((lower, trees[1]), (upper, trees[2])):
            lines: list[Any] = []
            for kind, name in drawn:
                # A tree of its own cannot tell whether a directory that holds whiteouts only is there at all.
                lines += [("d", name.rpartition("/")[0])] * ("/.wh." in name) + [(kind, name)]
            extract(io.BytesIO(build(lines, "")), trees[0])
            extract(io.BytesIO(build(lines, "")), tree, whiteouts="overlay")
        assert contents(trees[0]) == stacked(trees[1], trees[2])


RECIPE = """
import sys
from packrunner.images.extract import extract
extract(open(sys.argv[1], "rb"), sys.argv[2])
"""


@pytest.mark.fault("ARC-25")
def test_memory_stays_flat(tmp_path: Path) -> None:
    """An archive of 300 MB is unpacked by a process that may not have as much memory."""
    plain = tmp_path / "big.tar"
    with open(plain, "wb") as file:
        file.write(header(b"zero", size=300 << 20))
        file.truncate(512 + (300 << 20) + 1024)
    tree = tmp_path / "tree"
    tree.mkdir()
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, (150 << 20, 150 << 20))\n{RECIPE}"
    subprocess.run([sys.executable, "-c", limited, plain, tree], check=True)
    assert (tree / "zero").stat().st_size == 300 << 20
