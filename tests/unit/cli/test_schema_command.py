"""Schemas for editors: what packrunner reads fits them, and what it refuses does not."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import jsonschema
import pytest

from tests.unit.cli.cli_fakes import call

if TYPE_CHECKING:
    from typing import Any

    Capture = pytest.CaptureFixture[str]

RIGHT = {
    "project": """
[_]
schema-version = "0.2"
name = "shop"
[[_.licenses]]
type = "MIT"
[com.example]
anything = 1
[io.buildpacks]
builder = "debian:13"
exclude = ["*.log"]
[[io.buildpacks.group]]
id = "packrunner/python"
[[io.buildpacks.group]]
id = "me/script"
script = { api = "0.12", inline = "make" }
[[io.buildpacks.build.env]]
name = "A"
value = "b"
exec-env = ["test"]
""",
    "builder": """
[[buildpacks]]
uri = "a"
[[order]]
[[order.group]]
id = "a"
optional = true
[build]
image = "debian:13"
[[build.env]]
name = "A"
value = "b"
suffix = "append"
""",
    "package": '[buildpack]\nuri = "."\n[[dependencies]]\nimage = "a"\n[[targets]]\nos = "linux"\narch = "arm64"\n',
    "config": 'builder = "a"\nca-cert = ["host"]\noffline = true\nnetwork = "none"\n',
}


def schema(name: str, capsys: Capture) -> dict[str, Any]:
    assert call("schema", name) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def wrong(text: str, found: dict[str, Any]) -> list[str]:
    return [one.message for one in jsonschema.Draft202012Validator(found).iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("name", list(RIGHT))
def test_a_file_that_is_read_fits(name: str, capsys: Capture) -> None:
    assert wrong(RIGHT[name], schema(name, capsys)) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("project", 'builder = "debian:13"', "builder = 13"),
        ("project", 'exclude = ["*.log"]', 'exclude = "*.log"'),
        ("builder", "optional = true", "optonal = true"),
        ("builder", 'suffix = "append"', 'suffix = "after"'),
        ("package", "uri", "url"),
        ("config", '"none"', '"some"'),
        ("config", "builder", "buildr"),
    ],
)
def test_a_file_that_is_refused_does_not(name: str, old: str, new: str, capsys: Capture) -> None:
    assert wrong(RIGHT[name].replace(old, new, 1), schema(name, capsys))
