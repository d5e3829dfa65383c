"""Which ids a workbench has: by the caller, and by what the files of this machine give him."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner.engines import ids
from packrunner.engines.ids import FIRST, id_map, lacking

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> str:
    """An ordinary user; his number, as the files have it."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54322)
    return "54321"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which both programs are found, and nowhere else."""
    monkeypatch.setattr(ids, "_PLACES", ())
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return {"PATH": str(tmp_path)}


def file(place: Path, name: str, text: str) -> str:
    (place / name).write_text(text)
    return str(place / name)


def test_root_has_ids_that_are_nobodys_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = id_map({})
    assert (found.shifted, found.count, found.uids) == (True, 65536, ((0, FIRST, 65536),))
    assert found.inner(FIRST, FIRST + 33) == (0, 33)
    assert found.inner(0, FIRST + 65536) == (65534, 65534)
    assert FIRST + 65536 < 2**31


def test_a_user_is_root_and_his_subordinate_ids_are_the_others(
    tmp_path: Path, user: str, tools: dict[str, str]
) -> None:
    uids = file(tmp_path, "subuid", f"other:1:9\n{user}:100000:1000\nbroken\n{user}:200000:70000\n")
    gids = file(tmp_path, "subgid", f"{user}:300000:500\n")
    found = id_map(tools, subuid=uids, subgid=gids)
    assert found.uids == ((0, 54321, 1), (1, 200000, 65535))
    assert found.gids == ((0, 54322, 1), (1, 300000, 500))
    assert found.count == 501
    assert found.inner(54321, 54322) == (0, 0)
    assert found.inner(200032, 300033) == (33, 34)
    assert lacking(tools, subuid=uids, subgid=gids) == ("", "")


@pytest.mark.parametrize("text", ["", "other:100000:65536\n", "54321:x:65536\n", "54321:100000\n"])
def test_without_a_line_of_his_own_root_is_alone(tmp_path: Path, user: str, tools: dict[str, str], text: str) -> None:
    path = file(tmp_path, "subuid", text)
    found = id_map(tools, subuid=path, subgid=path)
    assert (found.count, found.tools, found.uids) == (1, None, ((0, int(user), 1),))
    cause, fix = lacking(tools, subuid=path, subgid=path)
    assert "give you no subordinate ids" in cause
    assert "--add-subuids" in fix


def test_without_the_programs_the_lines_are_of_no_use(
    tmp_path: Path, user: str, tools: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path, "subuid", f"{user}:100000:65536\n")
    assert id_map({"PATH": "relative:"}, subuid=path, subgid=path).count == 1
    assert "newuidmap" in lacking({}, subuid=path, subgid=path)[0]
