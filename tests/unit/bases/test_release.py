"""Signed Release files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pysequoia
import pytest

from packrunner.bases import release
from packrunner.errors import CorruptError, NetworkError
from tests.unit.bases.archive import NOW, release_text, sign, write_keyring

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"main/binary-amd64/Packages.xz": b"x", "main/binary-arm64/Packages.gz": b"y"}
TEXT = release_text("trixie", FILES, until=NOW + 100)


@pytest.fixture
def keyring(tmp_path: Path) -> str:
    return write_keyring(str(tmp_path / "keyring"))


def test_a_good_signature_gives_the_signed_bytes(keyring: str) -> None:
    assert release.verify(sign(TEXT), keyring=keyring, at="x").strip() == TEXT.strip()


def test_text_around_the_signed_block_is_not_believed(keyring: str) -> None:
    verified = release.verify(b"Codename: evil\n\n" + sign(TEXT) + b"\nSHA256:\n", keyring=keyring, at="x")
    assert verified.strip() == TEXT.strip()


def test_a_stranger_and_a_changed_byte_are_refused(keyring: str) -> None:
    stranger = pysequoia.Tsk.generate(user_id="Somebody else")
    for signed in (sign(TEXT, stranger), sign(TEXT).replace(b"trixie", b"trixiE", 1), TEXT, b""):
        with pytest.raises(CorruptError) as caught:
            release.verify(signed, keyring=keyring, at="http://mirror.example/InRelease")
        assert caught.value.slug == "debian-signature"
        assert "http://mirror.example/InRelease" in caught.value.brief
        assert "\n" not in str(caught.value.cause)


def test_the_shipped_keyring_holds_the_documented_keys(repository: Path) -> None:
    documented = (repository / "docs/reference/debian-keyring.md").read_text()
    names = sorted(os.listdir(release.KEYRING))
    assert len(names) == 6
    for name in names:
        for certificate in pysequoia.Cert.split_file(os.path.join(release.KEYRING, name)):
            assert certificate.fingerprint.upper() in documented.replace(" ", "")
            assert name in documented


def test_fields_are_read() -> None:
    found = release.parse(TEXT, at="x")
    assert (found.codename, found.date, found.valid_until, found.by_hash) == ("trixie", NOW, NOW + 100, True)
    assert release.packages_index(found, "amd64").path == "main/binary-amd64/Packages.xz"
    assert release.packages_index(found, "arm64").path == "main/binary-arm64/Packages.gz"
    with pytest.raises(CorruptError, match="no packages for riscv64"):
        release.packages_index(found, "riscv64")


@pytest.mark.parametrize(
    "text", [b"", b"Origin: Debian\n", TEXT.replace(b"Date:", b"Dates:"), TEXT.partition(b"SHA256")[0]]
)
def test_a_release_that_says_too_little(text: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        release.parse(text, at="x")
    assert caught.value.slug == "debian-release"


def test_what_is_current_passes() -> None:
    release.check(release.parse(TEXT, at="x"), "trixie", now=NOW + 99, seen=NOW, at="x")


@pytest.mark.parametrize(("now", "seen", "words"), [(NOW + 101, 0.0, "valid until"), (NOW, NOW + 1, "seen before")])
def test_what_is_out_of_date_is_refused(now: float, seen: float, words: str) -> None:
    with pytest.raises(NetworkError, match="out of date") as caught:
        release.check(release.parse(TEXT, at="x"), "trixie", now=now, seen=seen, at="x")
    assert caught.value.slug == "debian-stale"
    assert words in str(caught.value.cause)


def test_another_suite_or_origin_is_refused() -> None:
    with pytest.raises(CorruptError, match="not Debian's bookworm"):
        release.check(release.parse(TEXT, at="x"), "bookworm", now=NOW, seen=0, at="x")
    other = release_text("trixie", FILES, origin="Elsewhere")
    with pytest.raises(CorruptError, match="not Debian's trixie"):
        release.check(release.parse(other, at="x"), "trixie", now=NOW, seen=0, at="x")
