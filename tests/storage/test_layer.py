"""What the layer writer writes: compared with the facts on disk, with GNU tar and with tarfile."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packrunner import fingerprint
from packrunner.errors import ExportError, StoreError
from packrunner.images.extract import extract
from packrunner.images.files import Files
from packrunner.images.layer import ChangedWhileReadError, Dir, File, Link, Tree, WrittenLayer, write_layer
from packrunner.images.store import LocalStore
from tests.tars import tree as contents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from packrunner.images.layer import Part

TIME = 315532801


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o4755)
    (root / "bin-data").write_bytes(b"x" * 513)
    (root / "empty").touch()
    (root / "to").symlink_to("bin/run")
    (root / "dead").symlink_to("/nowhere/" + "long/" * 40)
    os.link(root / "bin-data", root / "hard")
    return root


def data_of(store: LocalStore, written: WrittenLayer) -> bytes:
    with store.open(written.layer.blob.digest) as stream:
        return stream.read()


def members(store: LocalStore, written: WrittenLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data_of(store, written))) as archive:
        found = archive.getmembers()
    assert len({m.name for m in found}) == len(found)
    return {m.name: m for m in found}


def leftovers(store: LocalStore) -> list[str]:
    """Blobs, finished and not; a store that nothing was written to does not even exist."""
    places = [os.path.join(store.root, *parts) for parts in (("tmp",), ("blobs", "sha256"))]
    return [name for place in places if os.path.isdir(place) for name in os.listdir(place)]


def app(source: Path, **more: object) -> Tree:
    return Tree(source=str(source), target="/workspace", uid=1000, gid=1001, **more)  # type: ignore[arg-type]


def write(store: LocalStore, parts: Sequence[Part]) -> WrittenLayer:
    return write_layer(store, parts, created_by="test")


@pytest.mark.cnb("EXP-07")
@pytest.mark.cnb("EXP-08")
@pytest.mark.cnb("EXP-09")
def test_entries_are_those_of_the_reference(store: LocalStore, source: Path) -> None:
    written = write(store, [Dir(target="/layers", mode=0o751, uid=3, gid=4), app(source)])
    found = members(store, written)
    assert list(found) == [
        "layers",
        "workspace",
        "workspace/bin",
        "workspace/bin/run",
        "workspace/bin-data",
        "workspace/dead",
        "workspace/empty",
        "workspace/hard",
        "workspace/to",
    ]
    assert {(m.mtime, m.uname, m.gname) for m in found.values()} == {(TIME, "", "")}
    assert (found["layers"].mode, found["layers"].uid, found["layers"].gid) == (0o751, 3, 4)
    assert {(m.uid, m.gid) for name, m in found.items() if name != "layers"} == {(1000, 1001)}
    assert found["workspace/bin/run"].mode == 0o4755
    assert found["workspace/hard"].isreg()  # hard links become files
    assert found["workspace/hard"].size == 513
    assert found["workspace/to"].linkname == "bin/run"
    assert found["workspace/dead"].linkname == os.readlink(source / "dead")


@pytest.mark.cnb("EXP-09")
def test_extended_attributes_are_dropped(store: LocalStore, source: Path) -> None:
    plain = write(store, [app(source)]).layer
    try:
        os.setxattr(source / "bin-data", "user.mime_type", b"text/plain")
    except OSError:
        pytest.skip("no user xattrs on this file system")
    written = write(store, [app(source)])
    assert written.layer == plain
    assert not any(m.pax_headers for m in members(store, written).values() if "mime_type" in str(m.pax_headers))


def test_gnu_tar_reads_what_was_written(store: LocalStore, source: Path, tmp_path: Path) -> None:
    (source / ("n" * 120)).write_bytes(b"long")
    (source / "ünï").write_bytes(b"wide")
    written = write(store, [app(source)])
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        ["tar", "-C", out, "--no-same-owner", "-xpf", store.blob_path(written.layer.diff_id)],
        check=True,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )
    assert contents(out / "workspace") == contents(source)


def test_the_same_tree_gives_the_same_digest_wherever_it_is(store: LocalStore, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "copy", symlinks=True)
    assert write(store, [app(source)]).layer == write(store, [app(tmp_path / "copy")]).layer


def test_a_pinned_digest(store: LocalStore, tmp_path: Path) -> None:
    """The bytes of a layer are a promise: a change here changes the digest of every image."""
    parts: list[Part] = [
        Dir(target="/a"),
        File(target="/a/f", data=b"hello", mode=0o640, uid=1, gid=2),
        Link(target="/a/l", to="f"),
        File(target="/" + "d" * 60 + "/" + "n" * 60, data=b""),
        File(target="/" + "n" * 101, data=b""),
    ]
    written = write(store, parts)
    assert written.layer.diff_id == PINNED
    assert written.layer.blob.size == 5120


PINNED = "sha256:c5ec7821cd1752f865408c532c06dafb60a5a3072ace2c3c9fdbd4504c4dbf9c"


def test_no_parts_make_an_empty_archive(store: LocalStore) -> None:
    assert data_of(store, write(store, [])) == bytes(1024)


def test_the_root_of_the_image_has_no_entry(store: LocalStore, source: Path) -> None:
    found = members(store, write(store, [Tree(source=str(source), target="/", uid=0, gid=0)]))
    assert next(iter(found)) == "bin"


def test_owners_by_path(store: LocalStore, source: Path) -> None:
    owners = {"": (1, 2), "bin/run": (3, 4), "to": (5, 6)}
    found = members(store, write(store, [app(source, owners=owners)]))
    assert [(found[n].uid, found[n].gid) for n in ("workspace", "workspace/bin/run", "workspace/to")] == [
        (1, 2),
        (3, 4),
        (5, 6),
    ]
    assert found["workspace/bin"].uid == 1000


def test_huge_ids_survive(store: LocalStore) -> None:
    found = members(store, write(store, [Dir(target="/d", uid=2**31, gid=2**21 - 1)]))
    assert (found["d"].uid, found["d"].gid) == (2**31, 2**21 - 1)


def test_skip(store: LocalStore, source: Path) -> None:
    written = write(store, [app(source, skip=frozenset({"bin", "dead"}))])
    assert "workspace/bin/run" not in members(store, written)
    assert written.tables[str(source)] == fingerprint.scan(str(source), skip=frozenset({"bin", "dead"}))


@pytest.mark.cnb("EXP-15")
def test_only_takes_parents_and_subtrees(store: LocalStore, source: Path) -> None:
    (source / "a" / "b" / "c").mkdir(parents=True)
    (source / "a" / "b" / "c" / "f").touch()
    (source / "a" / "other").touch()
    written = write(store, [app(source, only=frozenset({"a/b", "to"}))])
    assert list(members(store, written)) == [
        "workspace",
        "workspace/a",
        "workspace/a/b",
        "workspace/a/b/c",
        "workspace/a/b/c/f",
        "workspace/to",
    ]
    assert written.tables == {}


@pytest.mark.cnb("EXP-12")
def test_slices_and_the_rest_are_the_whole(store: LocalStore, source: Path) -> None:
    first, second = frozenset({"bin", "empty"}), frozenset({"to", "bin/run"})
    slices = [
        app(source, only=first),
        app(source, only=second, exclude=first),
        app(source, exclude=first | second),
    ]
    names = [list(members(store, write(store, [part]))) for part in slices]
    assert names[0] == ["workspace", "workspace/bin", "workspace/bin/run", "workspace/empty"]
    assert names[1] == ["workspace", "workspace/to"]
    assert names[2] == ["workspace", "workspace/bin-data", "workspace/dead", "workspace/hard"]


def test_tables_are_second_fingerprints(store: LocalStore, source: Path) -> None:
    (source / "line\nfeed").touch()
    os.close(os.open(os.fsencode(source) + b"/\xff\xfe", os.O_CREAT))
    table = fingerprint.scan(str(source))
    assert write(store, [app(source)]).tables == {str(source): table}
    rest = write(store, [app(source, exclude=frozenset({"bin"}))])
    assert rest.tables == {}


def test_sockets_are_left_out_with_a_warning(store: LocalStore, source: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # A socket's address is short: by way of a descriptor the path is, too.
        fd = os.open(source, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{fd}/s")
        os.close(fd)
    written = write(store, [app(source)])
    assert "workspace/s" not in members(store, written)
    assert len(written.warnings) == 1
    assert "s is a socket" in written.warnings[0]
    again = write_layer(store, [app(source)], created_by="test", previous=written.layer.diff_id)
    assert again.warnings == written.warnings
    assert again.tables[str(source)] == fingerprint.scan(str(source))


@pytest.mark.fault("SBX-07")
@pytest.mark.fault("SBX-08")
def test_a_fifo_is_refused_without_waiting(store: LocalStore, source: Path) -> None:
    os.mkfifo(source / "bin" / "fifo")
    with pytest.raises(ExportError) as caught:
        write(store, [app(source)])
    # What a buildpack made is known to its author by its place in the image.
    assert caught.value.brief == "/workspace/bin/fifo cannot be put into a layer"
    assert (caught.value.slug, caught.value.at) == ("special-file", f"{source}/bin/fifo")
    assert leftovers(store) == []


@pytest.mark.fault("ARC-17")
@pytest.mark.parametrize("name", [".wh.foo", ".wh..wh..opq"])
def test_names_that_delete_are_refused(store: LocalStore, source: Path, name: str) -> None:
    (source / "bin" / name).touch()
    with pytest.raises(ExportError, match=name) as caught:
        write(store, [app(source)])
    assert caught.value.slug == "whiteout-name"


@pytest.mark.fault("SBX-03")
def test_links_out_of_the_tree_stay_links(store: LocalStore, source: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("canary-4711")
    (source / "home").symlink_to(secret)
    (source / "key").symlink_to(secret / "key")
    data = data_of(store, write(store, [app(source)]))
    assert b"canary-4711" not in data


def test_unreadable_files_are_named(store: LocalStore, source: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (source / "bin" / "run").chmod(0)
    with pytest.raises(ExportError, match="bin/run") as caught:
        write(store, [app(source)])
    assert caught.value.slug == "unreadable"


def test_control_characters_in_names_are_escaped(store: LocalStore, source: Path) -> None:
    os.mkfifo(source / "\x1b[2J")
    with pytest.raises(ExportError) as caught:
        write(store, [app(source)])
    assert "\x1b" not in str(caught.value)


@pytest.mark.fault("ARC-35")
@pytest.mark.parametrize(
    "extra",
    [
        Dir(target="/workspace"),
        File(target="/workspace/bin/run", data=b""),
        Link(target="/workspace/to/", to="x"),
    ],
)
def test_two_entries_for_one_name_are_refused(store: LocalStore, source: Path, extra: Part) -> None:
    with pytest.raises(ExportError) as caught:
        write(store, [app(source), extra])
    assert caught.value.slug == "duplicate-entry"


@pytest.mark.fault("ARC-33")
@pytest.mark.parametrize("target", ["x", "/a/../b", "/a//b", "/a\0b", "/./a"])
def test_targets_are_plain_absolute_paths(store: LocalStore, target: str) -> None:
    with pytest.raises(ExportError) as caught:
        write(store, [Dir(target=target)])
    assert caught.value.slug == "image-path"


def test_a_file_from_the_host(store: LocalStore, source: Path) -> None:
    big = source / "big"
    big.write_bytes(os.urandom(3_000_001))
    written = write(store, [File(target="/launcher", source=str(big), mode=0o755)])
    with tarfile.open(fileobj=io.BytesIO(data_of(store, written))) as archive:
        file = archive.extractfile("launcher")
        assert file
        assert file.read() == big.read_bytes()
        assert archive.getmember("launcher").mode == 0o755
    again = write_layer(
        store,
        [File(target="/launcher", source=str(big), mode=0o755)],
        created_by="test",
        previous=written.layer.diff_id,
    )
    assert again.layer == written.layer


def test_a_file_from_a_link_is_refused(store: LocalStore, source: Path) -> None:
    with pytest.raises(ExportError):
        write(store, [File(target="/launcher", source=str(source / "to"))])


@pytest.mark.fault("SBX-06")
@pytest.mark.parametrize("size", [100, 5_000_000])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_while_it_is_read(
    store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: int
) -> None:
    """The file gets another size between the two looks that the writer takes at it."""
    path = source / "data"
    path.write_bytes(b"x" * size)
    real_read, real_preadv = os.read, os.preadv

    def touch() -> None:
        os.truncate(path, size + change)

    def read(fd: int, count: int) -> bytes:
        data = real_read(fd, count)
        if size == 100 and data == b"x" * size:
            touch()
        return data

    def preadv(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        got = real_preadv(fd, buffers, offset)
        touch()
        return got

    monkeypatch.setattr(os, "read", read)
    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(ChangedWhileReadError) as caught:
        write(store, [app(source)])
    assert caught.value.slug == "changed-while-read"
    assert caught.value.transient
    assert leftovers(store) == []


@pytest.mark.fault("SBX-05")
def test_a_file_swapped_for_a_link_is_not_followed(
    store: LocalStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary-4711")
    real_open = os.open

    def swapping(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "empty":
            (source / "empty").unlink()
            (source / "empty").symlink_to(secret)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(ChangedWhileReadError):
        write(store, [app(source)])


def make_many(root: Path, folders: int, files: int) -> None:
    for i in range(folders):
        (root / f"d{i:03}").mkdir(parents=True)
        for k in range(files):
            (root / f"d{i:03}" / f"file-{k}").write_bytes(b"%d/%d" % (i, k) * (i % 7))


def test_with_and_without_a_helper_process(store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_many(source, 60, 120)
    (source / "zz").mkdir()
    (source / "zz" / "large").write_bytes(os.urandom(2_500_000))
    (source / "zz" / "ünï\n").symlink_to("x")
    os.close(os.open(os.fsencode(source) + b"/zz/\xff", os.O_CREAT))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    helped = write(store, [app(source)])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    alone = write(store, [app(source)])
    assert helped == alone
    assert helped.tables[str(source)] == fingerprint.scan(str(source))
    assert helped.changed == len(members(store, helped))


def test_a_lost_helper_process_costs_only_time(
    store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_many(source, 60, 120)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    expected = write(store, [app(source)])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert write(store, [app(source)]) == expected


def test_an_error_in_the_helper_process_is_told(
    store: LocalStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_many(source, 60, 120)
    os.mkfifo(source / "d059" / "fifo")
    os.mkfifo(source / "d045" / "fifo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(ExportError, match="/fifo") as caught:
        write(store, [app(source)])
    assert caught.value.slug == "special-file"
    assert leftovers(store) == []


class Full(Files):
    """A disk with room for so many pieces."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data)


@pytest.mark.fault("STO-07")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("room", range(2, 12))
def test_a_disk_that_fills_up_while_the_helper_works(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Requests of long names fill the helper's pipe: nobody may wait for somebody who waits for him."""
    for i in range(40):
        (source / f"d{i}").mkdir()
        for k in range(250):
            (source / f"d{i}" / f"{k:0240}").write_bytes(b"x" * 2000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    store = LocalStore(str(tmp_path / "full"), files=Full(room))
    with pytest.raises(StoreError) as caught:
        write(store, [app(source)])
    assert caught.value.slug == "disk-full"
    assert leftovers(store) == []


NAME = st.binary(min_size=1, max_size=130).filter(
    lambda n: not (set(n) & {0, 47}) and n not in {b".", b".."} and not n.startswith(b".wh.")
)
NODE = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=1100), st.sampled_from([0o644, 0o755, 0o600, 0o444])),
        st.tuples(st.just("link"), st.binary(min_size=1, max_size=200).filter(lambda n: 0 not in n)),
    ),
    lambda children: st.dictionaries(NAME, children, max_size=4),
    max_leaves=12,
)


def plant(root: bytes, name: bytes, node: object) -> None:
    path = os.path.join(root, name)
    if isinstance(node, dict):
        os.mkdir(path)
        for child, below in node.items():
            plant(path, child, below)
    elif node[0] == "link":  # type: ignore[index]
        os.symlink(node[1], path)  # type: ignore[index]
    else:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(fd, node[1])  # type: ignore[index]
        os.fchmod(fd, node[2])  # type: ignore[index]
        os.close(fd)


@pytest.mark.fault("ARC-33")
@settings(
    database=None,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(nodes=st.dictionaries(NAME, NODE, max_size=5))
def test_write_then_extract_gives_the_same_tree(tmp_path: Path, nodes: dict[bytes, object]) -> None:
    base = tmp_path / "round"
    shutil.rmtree(base, ignore_errors=True)
    root, out = base / "in", base / "out"
    root.mkdir(parents=True)
    out.mkdir()
    for name, node in nodes.items():
        plant(os.fsencode(root), name, node)
    store = LocalStore(str(base / "store"))
    written = write(store, [app(root)])
    with store.open(written.layer.diff_id) as stream:
        extract(stream, str(out), diff_id=written.layer.diff_id, uid_gid=(os.getuid(), os.getgid()))
    assert contents(out / "workspace") == contents(root)
    with tarfile.open(store.blob_path(written.layer.diff_id)) as archive:
        theirs = {m.name: m.size if m.isreg() else m.linkname for m in archive}
    ours = {
        "workspace" + ("/" + p if p else ""): len(c[2]) if isinstance(c[2], bytes) else c[2] or ""
        for p, c in {"": ("dir", 0, None), **contents(root)}.items()
    }
    assert theirs == ours
