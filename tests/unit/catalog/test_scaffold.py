"""A new buildpack: whole or not at all, nothing overwritten, good in the eyes of `buildpack validate`."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.catalog import builtin, scaffold
from packrunner.catalog.stage import Stage
from packrunner.catalog.validate import validate
from packrunner.errors import PackrunnerError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.catalog.scaffold import Language


@pytest.mark.parametrize("language", ["python", "shell"])
@pytest.mark.cnb("BPD-03")
def test_nothing_is_to_be_said_against_it(language: Language, tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", language=language)
    found = validate(made.directory, Stage(str(tmp_path / "stage"), sdk_dir=builtin.sdk_dir()))
    assert (found.name, found.findings) == ("acme/hello@0.1.0", ())
    for name in ("detect", "build"):
        assert os.access(tmp_path / "hello/bin" / name, os.X_OK)


@pytest.mark.parametrize("language", ["python", "shell", "go"])
def test_every_word_in_braces_is_replaced(language: Language, tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", language=language)
    assert {"buildpack.toml", "README.md", "tests/test_buildpack.py", "tests/fixture/hello.txt"} <= set(made.files)
    for name in made.files:
        assert "{{" not in (tmp_path / "hello" / name).read_text(), name


def test_a_go_buildpack_is_compiled_first_and_its_programs_are_in_no_repository(tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", language="go")
    assert os.access(tmp_path / "hello" / made.to_run, os.X_OK)
    assert (tmp_path / "hello/.gitignore").read_text() == "/bin/\n"


def test_flags_end_up_in_the_descriptor(tmp_path: Path) -> None:
    scaffold.create(
        str(tmp_path / "hello"),
        identity="acme/hello-world",
        language="shell",
        version="1.2.3",
        level="0.10",
        targets=["linux/arm/v6:ubuntu@24.04;debian", "linux/amd64"],
    )
    table = tomllib.loads((tmp_path / "hello/buildpack.toml").read_text())
    about = table["buildpack"]
    assert (table["api"], about["id"], about["version"], about["name"]) == (
        "0.10",
        "acme/hello-world",
        "1.2.3",
        "Hello world",
    )
    distros = [{"name": "ubuntu", "version": "24.04"}, {"name": "debian"}]
    assert table["targets"] == [
        {"os": "linux", "arch": "arm", "variant": "v6", "distros": distros},
        {"os": "linux", "arch": "amd64"},
    ]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello/mine").write_text("precious")
    with pytest.raises(UsageError) as error:
        scaffold.create(str(tmp_path / "hello"), identity="acme/hello", language="shell")
    assert error.value.slug == "buildpack-exists"
    assert os.listdir(tmp_path) == ["hello"]
    assert os.listdir(tmp_path / "hello") == ["mine"]


def test_an_empty_directory_is_free(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    scaffold.create(str(tmp_path / "hello"), identity="acme/hello", language="shell")
    assert (tmp_path / "hello/bin/build").exists()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"identity": "Acme hello"}, "name"),
    ({"identity": "app"}, "name"),
    ({"version": "1.0"}, "buildpack-descriptor"),
    ({"version": "01.0.0"}, "buildpack-descriptor"),
    ({"level": "0.8"}, "usage"),
    ({"level": "0.99"}, "usage"),
    ({"targets": ["/amd64"]}, "usage"),
    ({"targets": ["linux/amd64/v1/x"]}, "usage"),
    ({"targets": ['linux/amd64"']}, "usage"),
    ({"targets": ["linux/amd64:@13"]}, "usage"),
]


@pytest.mark.parametrize(("given", "slug"), WRONG)
def test_what_cannot_be_leaves_nothing_behind(given: dict[str, Any], slug: str, tmp_path: Path) -> None:
    with pytest.raises(PackrunnerError) as error:
        scaffold.create(str(tmp_path / "hello"), **{"identity": "acme/hello", "language": "shell", **given})
    assert error.value.slug == slug
    assert os.listdir(tmp_path) == []
