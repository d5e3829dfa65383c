"""What is remembered of a builder's buildpacks: nothing is read twice, nothing damaged is believed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from packrunner.catalog import memory
from packrunner.catalog.memory import Memory
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, GroupRef, OrderGroup, Target

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64
DESCRIPTOR = BuildpackDescriptor(
    api="0.10",
    buildpack=BuildpackInfo(id="acme/a", version="1.0.0", clear_env=True, sbom_formats=("x",)),
    targets=(Target(os="linux"),),
    order=(OrderGroup(group=(GroupRef(id="b", optional=True),)),),
    metadata={"dependencies": ["many"] * 1000},
)


def nobody() -> NoReturn:
    raise AssertionError("it is known")


def remembered(root: Path) -> Path:
    first = Memory.of(str(root / "builders"), DIGEST)
    assert first.versions("/cnb/x", lambda: ["1.0.0", "2.0.0"]) == ["1.0.0", "2.0.0"]
    assert first.descriptor("/cnb/x/1.0.0", lambda: DESCRIPTOR).metadata == {}
    first.keep()
    return root / "builders" / ("a" * 64 + ".json")


def test_the_next_one_asks_for_nothing(tmp_path: Path) -> None:
    remembered(tmp_path)
    again = Memory.of(str(tmp_path / "builders"), DIGEST)
    assert again.versions("/cnb/x", nobody) == ["1.0.0", "2.0.0"]
    found = again.descriptor("/cnb/x/1.0.0", nobody)
    assert (found.buildpack, found.targets, found.order) == (DESCRIPTOR.buildpack, DESCRIPTOR.targets, DESCRIPTOR.order)
    other = Memory.of(str(tmp_path / "builders"), "sha256:" + "b" * 64)
    assert other.versions("/cnb/x", list) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 5}', '{"found": {"a": 1}}'])
def test_a_damaged_one_is_read_anew(tmp_path: Path, damage: str) -> None:
    remembered(tmp_path).write_text(damage)
    assert Memory.of(str(tmp_path / "builders"), DIGEST).versions("/cnb/x", lambda: ["3"]) == ["3"]


def test_another_packrunners_is_not_believed(tmp_path: Path) -> None:
    place = remembered(tmp_path)
    place.write_text(json.dumps({**json.loads(place.read_text()), "version": "0.0.0"}))
    assert Memory.of(str(tmp_path / "builders"), DIGEST).versions("/cnb/x", lambda: ["3"]) == ["3"]


def test_it_can_do_without_a_disk(tmp_path: Path) -> None:
    nowhere = Memory.of("", DIGEST)
    assert nowhere.versions("/cnb/x", lambda: ["1"]) == ["1"]
    nowhere.keep()
    (tmp_path / "builders").write_text("a file")
    refused = Memory.of(str(tmp_path / "builders"), DIGEST)
    assert refused.versions("/cnb/x", lambda: ["1"]) == ["1"]
    refused.keep()


def test_pruning_goes_by_the_last_use(tmp_path: Path) -> None:
    place = remembered(tmp_path)
    directory = str(tmp_path / "builders")
    memory.prune(directory, unused_for=1000)
    assert place.exists()
    os.utime(place, (0, 0))
    Memory.of(directory, DIGEST)
    memory.prune(directory, unused_for=1000)
    assert place.exists()
    os.utime(place, (0, 0))
    memory.prune(directory, unused_for=1000, dry_run=True)
    assert place.exists()
    memory.prune(directory, unused_for=1000)
    assert not place.exists()
    memory.prune(str(tmp_path / "gone"), unused_for=0)
