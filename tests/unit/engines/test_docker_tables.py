"""What both sides of a place are known to be: the comparison of tables, and hostile ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner import fingerprint
from packrunner.engines.docker import tables
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

FILE, FOLDER = b"100644 1 2 3 4", b"40755 0 0 0 0"


def test_a_table_of_this_host_is_read_by_path(tmp_path: Path) -> None:
    (tmp_path / "a\nb").mkdir()
    (tmp_path / "a\nb" / "c d").write_text("x")
    found = tables.lines(fingerprint.scan(str(tmp_path)))
    assert set(found) == {b"", b"a\nb", b"a\nb/c d"}
    assert tables.is_directory(found[b"a\nb"])
    assert not tables.is_directory(found[b"a\nb/c d"])
    assert tables.mode(found[b"a\nb/c d"]) == (tmp_path / "a\nb" / "c d").stat().st_mode


@pytest.mark.fault("SBX-28")
@pytest.mark.parametrize(
    "line",
    [b"100644 1 2 3 4", b"x 1 2 3 4 name", b"100644 1 2 3 4 ../up", b"100644 1 2 3 4 /etc", b"100644 1 2 3 4 a//b",
     b"100644 1 2 3 4 a/./b", b"100644 1 2 3 4 a/", b"", b"100644 1 2 3  name"],
)  # fmt: skip
def test_a_table_that_is_none_breaks_the_protocol(line: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        tables.lines(b"packrunner-tree 1 1 1\n" + line + b"\n")
    assert caught.value.slug == "sandbox-protocol"


def test_what_is_new_and_what_is_gone() -> None:
    known = {b"same": FILE, b"touched": FILE, b"gone": FOLDER, b"gone/below": FILE, b"elsewhere/x": FILE}
    now = {b"same": FILE, b"touched": b"100644 2 2 3 4", b"new": FILE}
    change = tables.change(known, now, known)
    assert (sorted(change.fresh), change.gone) == ([b"new", b"touched"], [b"elsewhere/x", b"gone"])
    assert tables.change(known, now, known, b"gone").gone == [b"gone"]
    assert tables.change(now, now, now).is_empty


def test_the_topmost_of_paths_and_the_parents_of_paths() -> None:
    assert tables.topmost([b"a/b", b"a", b"a-b", b"a/b/c", b"b/c"]) == [b"a", b"a-b", b"b/c"]
    assert tables.with_parents([b"a/b/c", b"d"]) == [b"a", b"a/b", b"a/b/c", b"d"]


@pytest.mark.parametrize(("mode", "plain"), [("100644", True), ("40755", True), ("120777", True), ("10644", False),
                                             ("140755", False), ("20644", False)])  # fmt: skip
def test_which_entries_an_archive_takes(mode: str, plain: bool) -> None:
    facts = f"{mode} 0 0 0 0".encode()
    assert tables.is_plain(facts) == plain
    assert tables.is_directory(facts) == (mode == "40755")


paths = st.binary(min_size=1, max_size=8).filter(lambda p: b"\0" not in p and b"/" not in p and p not in {b".", b".."})


@given(st.dictionaries(paths, st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_what_is_kept_is_read_again(known: dict[bytes, tuple[int, int]]) -> None:
    host = {path: b"100644 0 0 0 %d" % a for path, (a, _) in known.items()}
    inside = {path: b"100644 0 0 0 %d" % b for path, (_, b) in known.items()}
    data = tables.encode(host, inside)
    assert tables.decode(data) == (host, inside)
    if known:
        assert tables.decode(data[:-1]) == ({}, {})


def test_another_version_is_nothing() -> None:
    assert tables.decode(b"packrunner-twin 2\n") == ({}, {})
    assert tables.decode(b"") == ({}, {})
    assert tables.decode(b"packrunner-twin 1\n1 2 3\n") == ({}, {})


def test_only_what_both_sides_have_is_kept() -> None:
    assert tables.decode(tables.encode({b"a": FILE}, {b"a": FILE, b"b": FILE}))[1] == {b"a": FILE}
