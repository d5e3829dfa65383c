"""`builder fetch` on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.cli_fakes import FakeServices, call

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Fetching(FakeServices):
    """Remembers what was fetched and taken."""

    fetched: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def fetch_builder(self, builder: str, directory: str, *, reporter: object, **wishes: Any) -> list[str]:
        self.fetched.append((builder, directory, wishes))
        return [builder]

    def take_builders(self, directory: str, *, reporter: object) -> list[str]:
        self.taken.append(directory)
        return ["debian:13"]


def test_into_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake = Fetching()
    assert call("builder", "fetch", "--to", "a usb", "--ca-cert", "c.pem", fake=fake) == 0
    assert fake.fetched == [("debian:13", str(tmp_path / "a usb"), {"ca_certs": ("c.pem",)})]
    assert fake.requests == []
    out, err = capsys.readouterr()
    assert out == "debian:13\n"
    assert "packrunner builder fetch --from 'a usb'" in err


def test_with_the_packages_of_an_application(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    fake = Fetching()
    assert call("builder", "fetch", "debian:12", "--to", "usb", "--for", "shop", fake=fake) == 0
    (request,) = fake.requests
    assert (request.source, request.builder, request.rebuild) == (str(tmp_path / "shop"), "debian:12", True)
    assert str(tmp_path / "usb/cache") in json.dumps(request.to_plain())


def test_from_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake = Fetching()
    assert call("builder", "fetch", "--from", "usb", fake=fake) == 0
    assert fake.taken == [str(tmp_path / "usb")]
    assert capsys.readouterr().err.rstrip().endswith("packrunner build --offline")
    (tmp_path / "usb/cache").mkdir(parents=True)
    assert call("builder", "fetch", "--from", "usb", fake=fake) == 0
    assert "--cache type=dir,path=usb/cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["--to", "a", "--from", "b"], ["debian:13", "--from", "b"], ["--from", "b", "--for", "c"]]
)
def test_what_cannot_be_meant(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("builder", "fetch", *words, fake=Fetching()) == 2
    assert "error[usage]" in capsys.readouterr().err


@pytest.mark.parametrize("seal", [None, "{", "[]", '{"version": 2}'])
def test_a_directory_that_is_none(tmp_path: Path, seal: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    from packrunner.cli import main

    if seal is not None:
        (tmp_path / "packrunner.json").write_text(seal)
    assert main(["builder", "fetch", "--from", str(tmp_path)]) == 2
    assert "error[fetched]" in capsys.readouterr().err
