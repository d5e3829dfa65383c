"""The lock file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.bases.lock import Lock, LockedIndex, LockedPackage, read_lock
from packrunner.bases.recipes import SUITES, parse_reference
from packrunner.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = LockedPackage(
    name="a", version="1:2~3", architecture="amd64", sha256="a" * 64, size=5, path="pool/a/a.deb", archive="main"
)
LOCK = Lock(
    reference="debian:13",
    architecture="amd64",
    resolved_at=1.5,
    indexes=(LockedIndex(archive="main", suite="trixie", sha256="b" * 64, date=1.0),),
    packages=(PACKAGE, replace(PACKAGE, name="b", archive="security")),
    images={"build": ("a", "b"), "python": ("a",)},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    assert read_lock(str(path)) is None
    path.write_bytes(LOCK.to_json())
    assert read_lock(str(path)) == LOCK
    assert "://" not in LOCK.to_json().decode()


def test_the_digest_is_of_the_packages_and_not_of_time_and_place() -> None:
    same = replace(
        LOCK, resolved_at=9.0, indexes=(), packages=(replace(PACKAGE, path="pool/other.deb"), LOCK.packages[1])
    )
    assert same.digest == LOCK.digest
    for other in (
        replace(LOCK, architecture="arm64"),
        replace(LOCK, images={"build": ("a", "b"), "python": ("b",)}),
        replace(LOCK, packages=(replace(PACKAGE, sha256="c" * 64), LOCK.packages[1])),
        replace(LOCK, packages=(replace(PACKAGE, version="2"), LOCK.packages[1])),
    ):
        assert other.digest != LOCK.digest


def test_packages_of_some_images() -> None:
    assert [package.name for package in LOCK.of("python")] == ["a"]
    assert [package.name for package in LOCK.of("python", "build")] == ["a", "b"]


def changed(**package: Any) -> str:
    content = json.loads(LOCK.to_json())
    content["packages"][0] |= package
    return json.dumps(content)


@pytest.mark.fault("STO-04")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"version": 2}',
        LOCK.to_json().decode()[:-100],
        changed(name="c"),
        changed(sha256="../../x"),
        changed(path="../../etc/passwd"),
        changed(path="pool/../../x"),
        changed(archive="elsewhere"),
        changed(size=-1),
        changed(size=None),
        changed(surplus=1),
        "[" * 100_000,
    ],
)
def test_a_damaged_lock_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(CorruptError) as caught:
        read_lock(str(path))
    assert caught.value.slug == "base-lock"
    assert caught.value.tries == ("packrunner builder update",)


@pytest.mark.parametrize("text", ["debian", "debian:13", "debian:trixie"])
def test_names_of_the_current_stable_suite(text: str) -> None:
    assert parse_reference(text) is SUITES[0]


def test_bookworm_is_known() -> None:
    assert parse_reference("debian:12") is parse_reference("debian:bookworm")


@pytest.mark.parametrize("text", ["", "debian:", "debian:14", "debian:13:x", "ubuntu:24.04", "trixie", "debian:13@abc"])
def test_unknown_builders_name_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.slug == "unknown-builder"
    assert "debian:13" in str(caught.value.cause)
    assert "debian:bookworm" in str(caught.value.cause)
