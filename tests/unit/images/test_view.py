"""The layers of an image seen as one tree: whiteouts, opaque directories, links that stay inside."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import UnsafeArchiveError
from packrunner.images.image import Image, Layer
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.images.view import View
from packrunner.names import Digest
from tests.rawtar import directory, entry, link, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOW = (
    directory("etc"),
    entry("etc/passwd", b"low"),
    entry("etc/gone", b"low"),
    directory("opt"),
    entry("opt/a", b"low"),
    directory("whole"),
    entry("whole/hidden", b"low"),
    entry("file", b"low"),
    directory("tree"),
    entry("tree/x", b"low"),
)
TOP = (
    entry("etc/passwd", b"top"),
    entry("etc/.wh.gone", b""),
    entry("opt/b", b"top"),
    entry("whole/.wh..wh..opq", b""),
    entry("whole/shown", b"top"),
    directory("file"),
    entry("tree", b"top"),
)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[Callable[..., View]]:
    store = LocalStore(str(tmp_path / "store"))
    snapshots = Snapshots(str(tmp_path / "snapshots"), store)
    opened: list[View] = []

    def layer(entries: tuple[bytes, ...]) -> Layer:
        data = tar(*entries)
        return Layer(diff_id=Digest("sha256:" + hashlib.sha256(data).hexdigest()), blob=store.add(data))

    def make(*layers: tuple[bytes, ...]) -> View:
        opened.append(View(snapshots.lowers(Image(layers=tuple(map(layer, layers))))))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
    snapshots.close()


@pytest.mark.cnb("IMG-04")
def test_upper_layers_add_replace_and_remove(view: Callable[..., View]) -> None:
    seen = view(LOW, TOP)
    assert seen.read("/etc/passwd") == b"top"
    assert seen.read("etc/gone") is None
    assert seen.kind("/etc/gone") is None
    assert seen.names("/etc") == ["passwd"]
    assert seen.names("/opt") == ["a", "b"]
    assert seen.read("/opt/a") == b"low"
    assert seen.names("/whole") == ["shown"]
    assert seen.read("/whole/hidden") is None
    assert (seen.kind("/file"), seen.names("/file"), seen.read("/file")) == ("dir", [], None)
    assert (seen.kind("/tree"), seen.read("/tree/x"), seen.names("/tree")) == ("file", None, [])
    assert seen.names("/nowhere") == []


def test_links_lead_where_they_would_inside(view: Callable[..., View]) -> None:
    below = (
        directory("usr/lib"),
        entry("usr/lib/os-release", b"ID=x"),
        directory("etc"),
        link("etc/os-release", "../usr/lib/os-release"),
        link("lib", "usr/lib"),
        link("etc/out", "../../../../../../etc/passwd"),
        link("etc/far", "/lib/os-release"),
    )
    seen = view(below)
    assert seen.read("/etc/os-release") == b"ID=x"
    assert seen.read("/etc/far") == b"ID=x"
    assert seen.resolve("/lib/os-release") == "/usr/lib/os-release"
    assert seen.read("/etc/out") is None  # the image has none, whatever the host has
    loop = view((link("a", "b"), link("b", "a")))
    with pytest.raises(UnsafeArchiveError, match="a cannot be followed"):
        loop.read("/a")


def test_a_file_is_read_up_to_its_limit(view: Callable[..., View]) -> None:
    with pytest.raises(UnsafeArchiveError):
        view(LOW).read("/etc/passwd", limit=2)


def test_a_directory_of_one_layer_has_a_place_on_the_host(view: Callable[..., View]) -> None:
    upper = (directory("opt"), directory("opt/one"), entry("opt/one/f", b"1"), link("linked", "opt/one"))
    seen = view(LOW, upper)
    place = seen.directory("/opt/one")
    assert place is not None
    assert os.listdir(place) == ["f"]
    for path in ("/opt", "/linked", "/nowhere", "/etc/passwd"):
        assert seen.directory(path) is None
