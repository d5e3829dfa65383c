"""What a container sends as its side of a place: its agent, too, may be anybody's by then (SBX-30)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from packrunner import fingerprint
from packrunner.engines.base import Exit, Mount
from packrunner.engines.docker.twin import Twin
from packrunner.errors import EngineError, PackrunnerError
from tests import rawtar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from packrunner.engines.agent import AgentClient
    from packrunner.engines.base import Command, OutputSink

TOP = "40755 0 0 0 0 "


class Hostile:
    """An agent that shows one table of what is inside, and sends one archive whatever it is asked for."""

    def __init__(self, table: bytes, archive: bytes) -> None:
        self.table = table
        self.archive = archive

    def run(self, command: Command, output: OutputSink) -> Exit:
        output("stdout", self.table)
        return Exit(code=0)

    def feed(self, command: Command, stream: Iterable[bytes], output: OutputSink) -> Exit:
        for _ in stream:
            pass
        output("stdout", self.archive)
        return Exit(code=0)


def table(*paths: str) -> bytes:
    return fingerprint.join([TOP, *(f"100644 1 1 1 1 {path}" for path in paths)], 1)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What must stay as it is."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f").write_text("sentinel")
    return tmp_path / "out"


@pytest.fixture
def place(tmp_path: Path) -> Twin:
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "mine").write_text("x")
    mount = Mount(source=str(tmp_path / "layers"), target="/layers", writable=True)
    return Twin(mount, str(tmp_path / "record"), owner=None)


def fetch(place: Twin, inside: bytes, *entries: bytes) -> None:
    place.fetch(cast("AgentClient", Hostile(inside, b"".join(entries) + rawtar.END)))


HOSTILE: dict[str, list[tuple[str, bytes, bytes, bytes]]] = {
    "parent": [("../out/f", b"evil", b"0", b"")],
    "hidden parent": [("a/../../out/f", b"evil", b"0", b"")],
    "link": [("d", b"", b"2", b"../out"), ("d/f", b"evil", b"0", b"")],
    "absolute link": [("d", b"", b"2", rawtar.OUT), ("d/f", b"evil", b"0", b"")],
    "hard link": [("h", b"", b"1", b"../out/f"), ("h", b"evil", b"0", b"")],
    "root": [("", b"", b"2", b"../out"), ("f", b"evil", b"0", b"")],
    "whiteout": [(".wh..wh..opq", b"", b"0", b"")],
    "device": [("dev", b"", b"3", b"")],
}


@pytest.mark.fault("SBX-30", "K8S-13")
@pytest.mark.parametrize("name", HOSTILE)
def test_no_archive_reaches_outside(place: Twin, out: Path, name: str) -> None:
    entries = [
        rawtar.entry(path, data, kind, target=target.replace(rawtar.OUT, os.fsencode(out)))
        for path, data, kind, target in HOSTILE[name]
    ]
    with pytest.raises(PackrunnerError):
        fetch(place, table("mine", "f"), *entries)
    assert (out / "f").read_text() == "sentinel"
    assert (out / "f").stat().st_nlink == 1
    assert sorted(os.listdir(out)) == ["f"]
    assert not os.path.lexists(out.parent / "layers" / "dev")


@pytest.mark.fault("SBX-30")
@pytest.mark.parametrize("path", ["../out/f", "/etc/passwd", "a/../b", "a//b", "."])
def test_no_table_names_a_path_outside(place: Twin, out: Path, path: str) -> None:
    with pytest.raises(EngineError) as caught:
        fetch(place, table(path))
    assert caught.value.slug == "sandbox-protocol"
    assert (out / "f").read_text() == "sentinel"


@pytest.mark.fault("SBX-30")
def test_what_is_not_there_inside_is_removed_here_and_nowhere_else(place: Twin, out: Path) -> None:
    layers = out.parent / "layers"
    place.send(cast("AgentClient", Hostile(b"", table("mine"))))
    os.symlink(out, layers / "away")
    fetch(place, table())
    assert sorted(os.listdir(layers)) == ["away"]
    assert (out / "f").read_text() == "sentinel"


@pytest.mark.fault("SBX-30")
def test_an_archive_that_was_cut_is_no_success(place: Twin) -> None:
    whole = rawtar.entry("f", b"x" * 2000)
    with pytest.raises(PackrunnerError):
        place.fetch(cast("AgentClient", Hostile(table("f"), whole[:1000])))
