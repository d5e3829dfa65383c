"""Packages that are hostile, damaged or only odd, unpacked into a tree beside a sentinel."""

from __future__ import annotations

import gzip
import lzma
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.bases.unpack import Source, finish, unpack
from packrunner.errors import CorruptError, StoreError, UnsafeArchiveError
from tests.unit.bases.archive import ar, control, deb, directory, entry, header, link, tar, tree_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """An empty tree; what lies beside it must stay as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"sentinel")
    (outside / "f").chmod(0o640)
    before = tree_table(str(outside)), os.stat(outside / "f").st_nlink
    root = tmp_path / "tree"
    root.mkdir()
    yield root
    assert (tree_table(str(outside)), os.stat(outside / "f").st_nlink) == before
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".deb")) == ["outside", "tree"]


def put(tree: Path, *packages: bytes) -> list[Any]:
    sources = []
    for number, data in enumerate(packages):
        path = tree.parent / f"{number}.deb"
        path.write_bytes(data)
        sources.append(Source(name=f"p{number}", path=str(path), size=len(data)))
    return unpack(sources, str(tree), done=lambda size: None)


def put_entries(tree: Path, *entries: bytes) -> list[Any]:
    return put(tree, deb(control("p"), *entries))


def test_files_directories_and_links(tree: Path) -> None:
    installed = put_entries(
        tree,
        directory("./usr", mtime=1000),
        directory("./usr/bin", mode=0o711),
        entry("./usr/bin/a", b"content", mode=0o755, mtime=1234),
        link("./usr/bin/b", "a"),
        link("./usr/bin/c", "./usr/bin/a", kind=b"1"),
        entry("./implicit/parents/file", b""),
    )
    finish(str(tree), installed, newest=5000)
    assert (tree / "usr/bin/a").read_bytes() == b"content"
    assert (tree / "usr/bin/a").stat().st_mode & 0o7777 == 0o755
    assert (tree / "usr/bin/a").stat().st_mtime == 1234
    assert os.readlink(tree / "usr/bin/b") == "a"
    assert (tree / "usr/bin/c").stat().st_ino == (tree / "usr/bin/a").stat().st_ino
    assert (tree / "usr").stat().st_mtime == 1000
    assert (tree / "usr/bin").stat().st_mode & 0o7777 == 0o711
    assert (tree / "implicit").stat().st_mtime == 5000
    assert installed[0].listing[:3] == [b"/.", b"/usr", b"/usr/bin"]


@pytest.mark.fault("ARC-19")
def test_set_id_bits_are_never_live(tree: Path) -> None:
    entries = [entry("./su", mode=0o4755, owner=(0, 42)), directory("./d", mode=0o2775), directory("./t", mode=0o1777)]
    installed = put_entries(tree, *entries)
    finish(str(tree), installed, newest=1)
    modes = {name: (tree / name).stat().st_mode & 0o7777 for name in ("su", "d", "t")}
    assert modes == {"su": 0o755, "d": 0o775, "t": 0o1777}
    assert installed[0].owners == {b"su": (0, 42)}


@pytest.mark.fault("ARC-41")
@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_modes_do_not_depend_on_the_umask(tree: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        entries = [directory("./d", mode=0o555), entry("./d/f", mode=0o604), entry("./e/f", mode=0o644)]
        finish(str(tree), put_entries(tree, *entries), newest=1)
    finally:
        os.umask(old)
    assert [(tree / name).stat().st_mode & 0o777 for name in ("d", "d/f", "e")] == [0o555, 0o604, 0o755]
    (tree / "d").chmod(0o755)


def test_documentation_is_left_out_but_copyright_stays(tree: Path) -> None:
    put_entries(
        tree,
        *(directory(f"./usr/share/{name}") for name in ("doc", "doc/p", "doc/p/examples", "man", "man/man1", "locale")),
        *(entry(f"./usr/share/doc/p/{name}") for name in ("copyright", "changelog.gz", "examples/copyright")),
        link("./usr/share/doc/q", "p"),
        *(entry(f"./usr/share/{name}") for name in ("man/man1/p.1.gz", "locale/de.mo", "manual")),
    )
    found = sorted(os.path.relpath(path, tree / "usr/share") for path in (tree / "usr/share").rglob("*"))
    assert found == ["doc", "doc/p", "doc/p/copyright", "doc/q", "locale", "man", "manual"]


def test_directories_merged_into_usr(tree: Path) -> None:
    put_entries(
        tree,
        directory("./lib"),
        entry("./lib/x.so", b"x"),
        entry("./sbin/y"),
        link("./bin", "usr/bin"),
        entry("./library"),
    )
    assert (tree / "usr/lib/x.so").read_bytes() == b"x"
    assert (tree / "usr/sbin/y").exists()
    assert os.readlink(tree / "bin") == "usr/bin"
    assert sorted(os.listdir(tree)) == ["bin", "library", "usr"]


def test_two_packages_share_directories_but_no_file(tree: Path) -> None:
    put(tree, deb(control("a"), directory("./d"), entry("./d/a")), deb(control("b"), directory("./d"), entry("./d/b")))
    assert sorted(os.listdir(tree / "d")) == ["a", "b"]


@pytest.mark.fault("ARC-35")
def test_a_file_in_two_packages_is_refused(tree: Path) -> None:
    with pytest.raises(CorruptError) as caught:
        put(tree, deb(control("a"), entry("./f", b"1")), deb(control("b"), entry("./f", b"2")))
    assert caught.value.slug == "deb-conflict"


OUTSIDE = "../outside"
UNSAFE = {
    "ARC-01 absolute": [entry("/etc/x")],
    "ARC-01 two slashes": [entry("//etc/x")],
    "ARC-02 parent": [entry("../outside/x")],
    "ARC-02 hidden parent": [entry("./a/../../outside/x")],
    "ARC-02 only parent": [directory("..")],
    "ARC-03 through a link": [link("./d", OUTSIDE), entry("./d/x")],
    "ARC-03 through two links": [link("./a", "b"), link("./b", OUTSIDE), entry("./a/x")],
    "ARC-03 dir through a link": [link("./d", OUTSIDE), directory("./d/x")],
    "ARC-04 deep and up again": [
        entry("././@LongLink", b"./" + b"d/" * 1900 + b"../" * 60 + b"x\0", kind=b"L"),
        entry("./x"),
    ],
    "ARC-07 hardlink outside": [link("./h", "../outside/f", kind=b"1")],
    "ARC-07 hardlink absolute": [link("./h", "/etc/passwd", kind=b"1")],
    "ARC-07 hardlink through a link": [link("./d", OUTSIDE), link("./h", "./d/f", kind=b"1")],
    "ARC-08 hardlink to a link": [link("./l", f"{OUTSIDE}/f"), link("./h", "./l", kind=b"1")],
    "ARC-09 hardlink to nothing": [link("./h", "./later", kind=b"1"), entry("./later")],
    "ARC-12 file as a parent": [entry("./f"), entry("./f/x")],
    "ARC-32 empty component": [entry("./a//b")],
    "ARC-32 dot component": [entry("./a/./b")],
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_reaches_outside_is_refused(tree: Path, name: str, request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.fault(name.partition(" ")[0]))
    with pytest.raises(UnsafeArchiveError) as caught:
        put_entries(tree, *UNSAFE[name])
    assert caught.value.slug == "unsafe-archive"


PAX = b"30 path=a\n"
REFUSED = {
    "ARC-06 link named as the root": [link("./", OUTSIDE)],
    "ARC-06 link without a name": [link("", OUTSIDE)],
    "ARC-10 file over a link": [link("./f", f"{OUTSIDE}/f"), entry("./f", b"new")],
    "ARC-11 directory replaced by a link": [directory("./d", mode=0o700), link("./d", OUTSIDE)],
    "ARC-12 file over a file": [entry("./f"), entry("./f")],
    "ARC-18 character device": [entry("./dev", kind=b"3")],
    "ARC-18 block device": [entry("./dev", kind=b"4")],
    "ARC-18 fifo": [entry("./fifo", kind=b"6")],
    "ARC-20 size in pax": [entry("pax", b"10 size=9\n", kind=b"x"), entry("./f", b"")],
    "ARC-21 global header": [entry("pax", b"10 path=x\n", kind=b"g"), entry("./f")],
    "ARC-21 two long names": [entry("././@LongLink", b"a\0", kind=b"L")] * 2 + [entry("./f")],
    "ARC-21 wrong length": [entry("pax", PAX, kind=b"x"), entry("./f")],
    "ARC-22 long name of 8 GiB": [header(b"././@LongLink", kind=b"L", size_field=b"77777777777\0")],
    "ARC-22 size in base 256": [header(b"./f", size_field=b"\x80" + b"\xff" * 11)],
    "ARC-23 bad checksum": [header(b"./f", checksum=1)],
    "ARC-23 negative size": [header(b"./f", size_field=b"-0000000001\0")],
    "ARC-24 sparse": [entry("./f", kind=b"S")],
    "ARC-33 NUL in a long name": [entry("././@LongLink", b"a\0b\0", kind=b"L"), entry("./f")],
    "unknown kind of header": [header(b"./f", magic=b"\0" * 8)],
    "content in a directory": [entry("./d", b"content", kind=b"5")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(tree: Path, name: str, request: pytest.FixtureRequest) -> None:
    if name.startswith("ARC"):
        request.node.add_marker(pytest.mark.fault(name.partition(" ")[0]))
    with pytest.raises(StoreError) as caught:
        put_entries(tree, *REFUSED[name])
    assert caught.value.slug in {"deb", "deb-conflict", "unsafe-archive"}


@pytest.mark.fault("ARC-05")
def test_odd_links_are_kept_as_they_are(tree: Path) -> None:
    targets = ["/etc/passwd", "../" * 20 + "x", "missing", "loop", "./", "a\nb"]
    put_entries(tree, *(link(f"./l{number}", target) for number, target in enumerate(targets)))
    assert [os.readlink(tree / f"l{number}") for number in range(len(targets))] == targets


@pytest.mark.fault("ARC-33")
def test_names_of_any_bytes(tree: Path) -> None:
    odd = [b"./\xff\xfe", "./NetLock_Arany_=Class_Gold=_Főtanúsítvány.crt".encode(), b"./a\nb", b"./\x1b[2J"]
    put_entries(tree, *(entry(name) for name in odd))
    assert sorted(os.listdir(os.fsencode(tree))) == sorted(name[2:] for name in odd)


def test_long_names_in_both_forms(tree: Path) -> None:
    long = "./" + "d/" * 60 + "x" * 150
    target = "y" * 300
    record = b" path=" + long.encode() + b"\n"
    record = b"%d" % (len(record) + 3) + record
    put_entries(tree, entry("././@LongLink", long.encode() + b"\0", kind=b"L"), entry("./cut", b"gnu"))
    assert (tree / long).read_bytes() == b"gnu"
    (tree / long).unlink()
    put_entries(tree, entry("pax", record, kind=b"x"), entry("./cut", b"pax"))
    assert (tree / long).read_bytes() == b"pax"
    put_entries(tree, entry("././@LongLink", target.encode() + b"\0", kind=b"K"), link("./l", "cut"))
    assert os.readlink(tree / "l") == target


@pytest.mark.fault("ARC-32")
def test_a_component_that_no_disk_takes(tree: Path) -> None:
    with pytest.raises(StoreError) as caught:
        put_entries(tree, entry("././@LongLink", b"./" + b"x" * 256 + b"\0", kind=b"L"), entry("./cut"))
    assert "too long" in str(caught.value.cause)


DATA = tar(directory("./"), entry("./f", b"content" * 300))
WHOLE = lzma.compress(DATA)


def with_data(name: bytes, data: bytes) -> bytes:
    member = (b"control.tar", tar(entry("./control", control("p"))))
    return ar((b"debian-binary", b"2.0\n"), member, (name, data))


@pytest.mark.parametrize(
    ("name", "data"), [(b"data.tar", DATA), (b"data.tar.gz", gzip.compress(DATA)), (b"data.tar.xz", WHOLE)]
)
def test_compressions(tree: Path, name: bytes, data: bytes) -> None:
    put(tree, with_data(name, data))
    assert (tree / "f").read_bytes() == b"content" * 300


def test_an_unknown_compression_is_named(tree: Path) -> None:
    with pytest.raises(CorruptError) as caught:
        put(tree, with_data(b"data.tar.zst", b"\x28\xb5\x2f\xfd"))
    assert "zst" in str(caught.value.cause)


@pytest.mark.fault("ARC-27")
def test_a_package_cut_anywhere_is_refused(tree: Path) -> None:
    for name, data in ((b"data.tar.xz", WHOLE), (b"data.tar.gz", gzip.compress(DATA)), (b"data.tar", DATA)):
        step = 7 if len(data) < 1000 else 211
        # The last block of zeros, and gzip's and xz's trailers, belong to the package too.
        for end in range(0, len(data) - (1024 if name == b"data.tar" else 0), step):
            with pytest.raises(CorruptError):
                put(tree, with_data(name, data[:end]))
            (tree / "f").unlink(missing_ok=True)


@pytest.mark.fault("ARC-27")
def test_a_deb_cut_anywhere_is_refused(tree: Path) -> None:
    whole = with_data(b"data.tar.xz", WHOLE)
    for end in range(0, len(whole) - 2, 97):
        with pytest.raises(CorruptError):
            put(tree, whole[:end])
        (tree / "f").unlink(missing_ok=True)


@pytest.mark.fault("ARC-28")
def test_data_after_the_end_is_refused(tree: Path) -> None:
    with pytest.raises(CorruptError, match="cannot be unpacked"):
        put(tree, with_data(b"data.tar.xz", lzma.compress(DATA + entry("./smuggled"))))
    assert not (tree / "smuggled").exists()


@pytest.mark.fault("ARC-25")
def test_a_bomb_ends_at_the_limit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packrunner.bases.deb._MAX_BYTES", 1 << 20)
    with pytest.raises(CorruptError) as caught:
        put_entries(tree, entry("./zeros", bytes(4 << 20)))
    assert "unpacks to more than" in str(caught.value.cause)


@pytest.mark.parametrize(
    "data", [b"", b"!<arch>\n", b"no archive at all", ar((b"debian-binary", b"3.0\n")), ar((b"x", b""))]
)
def test_what_is_no_deb(tree: Path, data: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        put(tree, data)
    assert caught.value.slug == "deb"


def test_members_in_another_order_are_refused(tree: Path) -> None:
    member = (b"control.tar", tar(entry("./control", control("p"))))
    with pytest.raises(CorruptError):
        put(tree, ar((b"debian-binary", b"2.0\n"), (b"data.tar", DATA), member))


@pytest.mark.fault("ARC-39")
def test_a_directory_swapped_for_a_link_meanwhile(tree: Path) -> None:
    """Another process swaps a directory and a link to the outside while files are written below it."""
    stop = threading.Event()

    def swap() -> None:
        (tree / "link").symlink_to("../outside")
        while not stop.is_set():
            with suppress(OSError):
                os.rename(tree / "d", tree / "aside")
                os.rename(tree / "link", tree / "d")
                os.rename(tree / "d", tree / "link")
                os.rename(tree / "aside", tree / "d")

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        for turn in range(10):
            files = (entry(f"./d/e{turn}-{number % 7}/f{number}", b"x" * 100) for number in range(400))
            with suppress(StoreError):
                put(tree, deb(control("p"), directory("./d"), *files))
    finally:
        stop.set()
        attacker.join()
