"""builder.toml as its reference page describes it: every key, and every example can be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from packrunner.errors import UsageError
from packrunner.formats import builder_file, schemas

if TYPE_CHECKING:
    from pathlib import Path


def keys(kind: Any) -> set[str]:
    """The names of all keys in a file."""
    found: set[str] = set()
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            for field in msgspec.structs.fields(one):
                found |= {field.encode_name, *keys(field.type)}
        elif one is not kind:
            found |= keys(one)
    return found


def test_every_key_is_described(repository: Path) -> None:
    text = (repository / "docs/reference/builder.md").read_text()
    described = {name for quoted in re.findall(r"`([^`]*)`", text) for name in re.findall(r"[a-z][a-z-]*", quoted)}
    assert not keys(builder_file.BuilderFile) - described


def test_every_example_is_a_builder(repository: Path) -> None:
    text = (repository / "docs/reference/builder.md").read_text()
    examples = re.findall(r"(?ms)^```toml\n(.*?)^```", text)
    assert len(examples) == 2
    for example in examples:
        assert builder_file.read(example.encode(), where="builder.toml").order
    how = (repository / "docs/how-to/make-a-builder.md").read_text()
    shown = re.search(r"(?s)\$ cat builder.toml\n(.*?)\n    \$ ", how)
    assert shown
    assert builder_file.read(re.sub(r"(?m)^    ", "", shown[1]).encode(), where="builder.toml").buildpacks


def test_the_schema_has_the_recipe() -> None:
    found = schemas.schema("builder")
    assert set(found["$defs"]["Recipe"]["properties"]) == {"suite", "user", "build", "run"}
    assert found["$defs"]["RecipeRun"]["additionalProperties"] is False
    assert found["$defs"]["RecipeBuild"]["properties"]["variant"]["enum"] == [
        "base", "build", "none", "python", "static",
    ]  # fmt: skip


@pytest.mark.parametrize("home", ["", "/", "home", "/a//b", "/a/./b", "/a/../b", "/a b", "/a:b", "/a\n"])
def test_homes_that_would_break_a_password_file_are_refused(home: str) -> None:
    with pytest.raises(UsageError, match="cannot be a home"):
        read(f"home = {msgspec.json.encode(home).decode()}")


@pytest.mark.parametrize("name", ["", "Root", "a b", "a:b", "1a", "a" * 33, "a\n"])
def test_names_that_would_break_a_password_file_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a user"):
        read(f"name = {msgspec.json.encode(name).decode()}")


@pytest.mark.parametrize("number", [-1, 0, 2**31, 2**70])
def test_numbers_that_are_nobodys_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match=r"cannot be a uid|TOML|int"):
        read(f"uid = {number}")


def read(user: str) -> builder_file.BuilderFile:
    text = f'[recipe]\nsuite = "debian:13"\n[recipe.user]\n{user}\n[[order]]\n[[order.group]]\nid = "a"\n'
    return builder_file.read(text.encode(), where="builder.toml")
