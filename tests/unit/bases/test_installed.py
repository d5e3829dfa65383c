from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from packrunner.bases.installed import Change, Installed, changes, installed, summary
from packrunner.images.image import Descriptor, Layer
from packrunner.images.manifest import LAYER_GZIP, LAYER_TAR
from packrunner.images.peek import read_files
from packrunner.images.store import LocalStore
from packrunner.names import Digest
from tests.unit.bases.archive import directory, entry, tar

if TYPE_CHECKING:
    from pathlib import Path

STATUS = b"""\
Package: libssl3t64
Status: install ok installed
Source: openssl (3.5.1-1)
Version: 3.5.1-1+b1

Package: netbase
Status: install ok installed
Version: 6.5

Package: removed
Status: deinstall ok config-files
Version: 1

Package: never
Status: unknown ok not-installed
Version: 1
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


def layer(store: LocalStore, *entries: bytes, zipped: bool = False) -> Layer:
    data = gzip.compress(tar(*entries)) if zipped else tar(*entries)
    blob: Descriptor = store.add(data, LAYER_GZIP if zipped else LAYER_TAR)
    return Layer(diff_id=Digest("sha256:" + "0" * 64), blob=blob)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("prefix", ["", "./", "/"])
def test_dpkgs_list_is_read_out_of_the_layers(store: LocalStore, zipped: bool, prefix: str) -> None:
    below = layer(store, directory(f"{prefix}var"), entry(f"{prefix}var/lib/dpkg/status", STATUS), zipped=zipped)
    above = layer(store, entry("etc/other", b"x" * 5000), zipped=zipped)
    assert installed([below, above], store) == {
        "libssl3t64": Installed(version="3.5.1-1+b1", source="openssl"),
        "netbase": Installed(version="6.5", source="netbase"),
    }


def test_distroless_images_have_a_file_for_each_package(store: LocalStore) -> None:
    one = layer(store, entry("var/lib/dpkg/status.d/base", b"Package: base-files\nVersion: 13\n"))
    two = layer(store, entry("./var/lib/dpkg/status.d/tzdata", b"Package: tzdata\nVersion: 2025b\n"))
    assert installed([one, two], store) == {
        "base-files": Installed(version="13", source="base-files"),
        "tzdata": Installed(version="2025b", source="tzdata"),
    }


def test_no_list_and_a_layer_that_cannot_be_read_are_no_packages(store: LocalStore) -> None:
    assert installed([layer(store, entry("etc/x"))], store) is None
    damaged = Layer(diff_id=Digest("sha256:" + "0" * 64), blob=store.add(b"no tar at all" * 100))
    assert installed([damaged], store) is None


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("a/.wh.b", {}),
        (".wh.a", {}),
        ("a/.wh..wh..opq", {}),
        ("a/.wh.c", {b"a/b": b"1"}),
        (".wh.b", {b"a/b": b"1"}),
        ("x/.wh..wh..opq", {b"a/b": b"1"}),
    ],
)
def test_whiteouts_hide_what_is_below(store: LocalStore, gone: str, left: dict[bytes, bytes]) -> None:
    layers = [layer(store, entry("a/b", b"1")), layer(store, entry(gone))]
    assert read_files(layers, lambda name: name == b"a/b", store) == left
    again = [*layers, layer(store, entry("a/b", b"2"))]
    assert read_files(again, lambda name: name == b"a/b", store) == {b"a/b": b"2"}


def pair(version: str, source: str = "s") -> Installed:
    return Installed(version=version, source=source)


def test_changes_are_told_by_debians_order() -> None:
    old = {"a": pair("1.9"), "b": pair("2"), "c": pair("1"), "e": pair("1"), "same": pair("1")}
    new = {"a": pair("1.10"), "b": pair("2~rc1"), "d": pair("1", "d"), "e": pair("1:0"), "same": pair("1")}
    found = changes(old, new)
    assert [(change.name, change.kind) for change in found] == [
        ("a", "newer"),
        ("b", "older"),
        ("c", "gone"),
        ("d", "new"),
        ("e", "newer"),
    ]
    assert [str(change) for change in found] == [
        "a 1.9 -> 1.10 (source s)",
        "b 2 -> 2~rc1 (source s)",
        "c 1 (gone) (source s)",
        "d 1 (new)",
        "e 1 -> 1:0 (source s)",
    ]
    assert summary(found) == "2 packages newer: a, e; 1 new: d; 1 gone: c; 1 older: b"


def test_up_to_three_are_named() -> None:
    def newer(*names: str) -> list[Change]:
        return [Change(name=name, kind="newer", source=name, old="1", new="2") for name in names]

    assert summary(newer("a")) == "1 package newer: a"
    assert summary(newer("a", "b", "c")) == "3 packages newer: a, b, c"
    assert summary(newer(*"abcdef")) == "6 packages newer"
    assert summary([]) == "the same packages"


def test_what_comes_from_the_security_archive_is_marked() -> None:
    [change] = changes({"a": pair("1", "a")}, {"a": Installed(version="2", source="a", security=True)})
    assert str(change) == "a 1 -> 2 (security)"
    assert change.to_json()["security"] is True
