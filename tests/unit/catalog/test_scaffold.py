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

    from packrunner.catalog.scaffold import Example


@pytest.mark.parametrize("example", ["python", "shell", "composite", "extension"])
@pytest.mark.cnb("BPD-03", "BPD-04")
def test_nothing_is_to_be_said_against_it(example: Example, tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example=example)
    found = validate(made.directory, Stage(str(tmp_path / "stage"), sdk_dir=builtin.sdk_dir()))
    assert (found.name, found.findings) == ("acme/hello@0.1.0", ())
    programs = [name for name in made.files if name.startswith("bin/")]
    assert len(programs) == (0 if example == "composite" else 2)
    assert all(os.access(tmp_path / "hello" / name, os.X_OK) for name in programs)


@pytest.mark.parametrize("example", ["python", "shell", "go", "composite", "extension"])
def test_every_word_in_braces_is_replaced(example: Example, tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example=example)
    assert "README.md" in made.files
    for name in made.files:
        assert "{{" not in (tmp_path / "hello" / name).read_text(), name


def test_a_go_buildpack_is_compiled_first_and_its_programs_are_in_no_repository(tmp_path: Path) -> None:
    made = scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example="go")
    assert os.access(tmp_path / "hello" / made.to_run, os.X_OK)
    assert (tmp_path / "hello/.gitignore").read_text() == "/bin/\n"


def test_flags_end_up_in_the_descriptor(tmp_path: Path) -> None:
    scaffold.create(
        str(tmp_path / "hello"),
        identity="acme/hello-world",
        example="shell",
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
        scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example="shell")
    assert error.value.slug == "buildpack-exists"
    assert os.listdir(tmp_path) == ["hello"]
    assert os.listdir(tmp_path / "hello") == ["mine"]


def test_an_empty_directory_is_free(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    scaffold.create(str(tmp_path / "hello"), identity="acme/hello", example="shell")
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
    ({"targets": ["linux/amd64"], "example": "composite"}, "usage"),
]


@pytest.mark.parametrize(("given", "slug"), WRONG)
def test_what_cannot_be_leaves_nothing_behind(given: dict[str, Any], slug: str, tmp_path: Path) -> None:
    with pytest.raises(PackrunnerError) as error:
        scaffold.create(str(tmp_path / "hello"), **{"identity": "acme/hello", "example": "shell", **given})
    assert error.value.slug == slug
    assert os.listdir(tmp_path) == []


@pytest.mark.cnb("BPD-05", "DST-06")
def test_the_order_of_a_composite_names_buildpacks_that_there_are(tmp_path: Path) -> None:
    scaffold.create(str(tmp_path / "suite"), identity="acme/suite", example="composite")
    order = tomllib.loads((tmp_path / "suite/buildpack.toml").read_text())["order"]
    dependencies = tomllib.loads((tmp_path / "suite/package.toml").read_text())["dependencies"]
    assert [one["id"] for one in order[0]["group"]] == [one["uri"] for one in dependencies]
    for one in order[0]["group"]:
        place = os.path.join(builtin.builtin_dir(), one["id"].removeprefix("packrunner/"), "buildpack.toml")
        with open(place, "rb") as file:
            assert tomllib.load(file)["buildpack"]["version"] == one["version"]
