"""The SDK's TOML: what it writes and what it reads is what tomllib says."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.sdk import toml

if TYPE_CHECKING:
    from pathlib import Path

text = st.text(st.characters(codec="utf-8"))
scalars = text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
tables = st.recursive(
    st.dictionaries(text, scalars, max_size=4),
    lambda inner: st.dictionaries(
        text, inner | scalars | st.lists(inner, max_size=3) | st.lists(scalars | inner, max_size=3), max_size=4
    ),
    max_leaves=12,
)


@given(tables)
def test_what_is_written_reads_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml.dumps(table)) == table


def test_order_is_the_callers_and_tables_come_last() -> None:
    written = toml.dumps({"b": {"x": 1}, "a": "1", "c": [{"y": 2}, {"y": 3}], "d": [1, "2"]})
    assert written == 'a = "1"\nd = [1, "2"]\n\n[b]\nx = 1\n\n[[c]]\ny = 2\n\n[[c]]\ny = 3\n'
    assert toml.dumps({}) == ""


def test_what_toml_cannot_say_is_an_error() -> None:
    wrong: Any = {"a": None}
    with pytest.raises(TypeError, match="NoneType"):
        toml.dumps(wrong)


PLAIN = [
    "",
    "# a comment\n\n",
    '[metadata]\nkey = "value"\n"requirements.txt" = "0a"\nn = 12\nyes = true\n',
    '[metadata]\n  indented = "as other lifecycles do"\n',
    'top = "é"\n[a]\n[b]\nx = 0\n',
]
OTHERS = [
    '[metadata]\nkey = "va\\"lue"\n',
    "[metadata]\nkey = 'literal'\n",
    "[a.b]\nx = 1\n",
    'a.b = "c"\n',
    'a = """x\ny"""\n',
    'a = "x" # comment\n',
    "a=1\n",
    "a = 1_000\n",
    "a = [1, 2]\n",
    "a = 1.5\n",
    "[[a]]\nx = 1\n",
    'a = "tab\tinside"\n',
    "a = 1\r\n",
]


@pytest.mark.parametrize("content", PLAIN + OTHERS)
def test_reads_as_tomllib_does(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content.encode())
    assert toml.read(str(path)) == tomllib.loads(content)


@given(st.text("abn[]= \"'\\\n.#01_é\t\r", max_size=40))
def test_never_accepts_or_reads_other_than_tomllib(content: str) -> None:
    plain = toml.read_plain(content)
    if plain is not None:
        assert plain == tomllib.loads(content)


@pytest.mark.parametrize("content", ["a = 1\na = 2\n", "a", "[a]\n[a]\n", 'a = "\n', "a = 01\n", "[]\n"])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"line \d+|end of document"):
        toml.read(str(path))


def test_an_absent_file_is_empty(tmp_path: Path) -> None:
    assert toml.read(str(tmp_path / "none.toml")) == {}
