"""What a text means where a buildpack is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.catalog.places import classify
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SUM = "a" * 64


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tool.cnb").write_text("")
    (tmp_path / "other").write_text("")
    (tmp_path / "tool.tgz").mkdir()
    return tmp_path


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("python", "name", "python"),
        ("acme/tool@1.0.0", "name", "acme/tool@1.0.0"),
        ("registry.example.com/acme/tool:1", "name", "registry.example.com/acme/tool:1"),
        ("other", "name", "other"),
        (".", "directory", "."),
        ("./tool", "directory", "./tool"),
        ("../tool.cnb", "directory", "../tool.cnb"),
        ("/a/b", "directory", "/a/b"),
        ("file:///a/b", "directory", "/a/b"),
        ("./tool.tgz", "directory", "./tool.tgz"),
        ("tool.cnb", "file", "tool.cnb"),
        ("./tool.cnb", "file", "./tool.cnb"),
        ("./other", "file", "./other"),
        ("docker://registry.example.com/a/b:1", "image", "registry.example.com/a/b:1"),
        ("docker:a", "image", "docker:a"),
        ("oci:/a", "image", "oci:/a"),
        ("https://a.example.com/x.tgz", "address", "https://a.example.com/x.tgz"),
    ],
)
def test_the_kind_of_a_place(text: str, kind: str, path: str) -> None:
    found = classify(text)
    assert (found.kind, found.path, found.text) == (kind, path, text)


def test_a_place_of_this_machine_becomes_absolute(here: Path) -> None:
    assert classify("oci:a").path == f"oci:{here}/a"
    assert classify("oci-archive:a.tar").path == f"oci-archive:{here}/a.tar"


@pytest.mark.parametrize("mark", [f"#sha256={SUM}", f"#sha256:{SUM}"])
def test_an_address_has_a_checksum(mark: str) -> None:
    found = classify(f"https://a.example.com/x.tgz{mark}")
    assert (found.path, found.digest) == ("https://a.example.com/x.tgz", f"sha256:{SUM}")


def test_git_has_a_commit_and_a_directory() -> None:
    found = classify(f"git+https://user@a.example.com/x.git@{COMMIT}#buildpacks/y")
    assert (found.kind, found.path) == ("git", "https://user@a.example.com/x.git")
    assert (found.commit, found.below) == (COMMIT, "buildpacks/y")


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("urn:cnb:registry:a/b@1", "no public index"),
        ("ftp://x/y", "ftp://"),
        ("gone.cnb", "no file gone.cnb"),
        ("git+https://a/b", "whole commit"),
        ("git+https://a/b@main", "whole commit"),
        (f"git+ext::sh -c x@{COMMIT}", "https://, ssh:// or file://"),
        (f"git+https://a/b@{COMMIT}#../x", "no directory in a repository"),
        (f"git+https://a/b@{COMMIT}#/x", "no directory in a repository"),
        ("https://a/x.tgz#sha256=1", "not a checksum"),
        ("https://a/x.tgz#md5=1", "not a checksum"),
    ],
)
def test_what_is_no_place_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        classify(text)
    assert error.value.slug == "buildpack-locator"
    assert why in (error.value.cause or "")
    assert error.value.tries


def test_a_directory_that_is_called_like_a_file_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held.cnb").mkdir()
    with pytest.raises(UsageError) as error:
        classify("held.cnb")
    assert (error.value.cause, error.value.tries) == ("held.cnb is a directory", ("./held.cnb",))


@pytest.mark.parametrize(
    "text",
    [
        "https://ana:secret@a.example.com/x.tgz?token=secret",
        f"git+https://ana:secret@a.example.com/x@{COMMIT}#dir",
    ],
)
def test_what_is_shown_of_a_place_has_no_login(text: str) -> None:
    found = classify(text)
    assert "secret" in found.path
    assert "secret" not in found.text
    assert "a.example.com/x" in found.text


@pytest.mark.parametrize(
    "text", ["git+https://ana:secret@a/b", "https://ana:secret@a/x.tgz#md5=1", "ftp://ana:secret@a/b"]
)
def test_neither_has_a_refusal(text: str) -> None:
    with pytest.raises(UsageError) as error:
        classify(text)
    assert "secret" not in error.value.brief
