"""`packrunner config`: what is set, where it comes from, and changing it without harm to the file."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from packrunner import config, config_file
from packrunner.errors import UsageError
from tests.unit.cli.cli_fakes import call

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

WRITTEN = """# What builds are made with.
builder = "acme/builder"  # the team's

ca-cert = ["host"]
"""


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    return tmp_path / "config" / "config.toml"


def rows(capsys: Capture) -> dict[str, dict[str, Any]]:
    assert call("config", "--json") == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["settings"]}


def test_each_value_says_where_it_is_from(
    path: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('network = "none"\nbuilder = "acme/builder"\n')
    (tmp_path / "project.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nbuilder = "acme/project"\n')
    monkeypatch.setenv("PACKRUNNER_ENGINE", "docker")
    found = rows(capsys)
    assert (found["network"]["value"], found["network"]["origin"]) == ("none", "config.toml")
    assert (found["builder"]["value"], found["builder"]["origin"]) == ("acme/project", "project.toml")
    assert found["builder"]["in_config"]
    assert (found["engine"]["value"], found["engine"]["origin"]) == ("docker", "PACKRUNNER_ENGINE")
    assert (found["color"]["value"], found["color"]["origin"]) == ("auto", "default")


def test_the_table_has_them_all(path: Path, capsys: Capture) -> None:
    assert call("config") == 0
    text = capsys.readouterr().out
    assert all(one.name in text for one in config.SETTINGS.values() if one.in_config)
    assert "config.toml is" in text


def test_one_value_stands_alone(path: Path, capsys: Capture) -> None:
    path.write_text(WRITTEN)
    for name, wanted in (("builder", "acme/builder\n"), ("ca-cert", "host\n"), ("debian-mirror", "")):
        assert call("config", name) == 0
        assert capsys.readouterr().out == wanted


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("builder", ("debian:13",), "debian:13"),
        ("ca-cert", ("host", "a b.pem"), ["host", "a b.pem"]),
        ("offline", ("yes",), True),
        ("network", ("none",), "none"),
    ],
)
def test_a_change_leaves_the_rest_alone(
    path: Path, name: str, values: tuple[str, ...], wanted: object, capsys: Capture
) -> None:
    path.write_text(WRITTEN)
    assert call("config", name, *values) == 0
    text = path.read_text()
    assert tomllib.loads(text)[name] == wanted
    assert text.startswith("# What builds are made with.\n")
    assert "# the team's" in text, "the remark stays, whatever the value becomes"
    for other, value in tomllib.loads(WRITTEN).items():
        assert other == name or tomllib.loads(text)[other] == value
    assert call("config", "--unset", name) == 0
    assert name not in tomllib.loads(path.read_text())


def test_the_first_value_makes_the_file(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path / "new"))
    assert call("config", "builder", "acme/builder") == 0
    assert (tmp_path / "new" / "config" / "config.toml").read_text() == 'builder = "acme/builder"\n'


def test_what_hides_a_value_is_said(path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_BUILDER", "other")
    assert call("config", "builder", "acme/builder") == 0
    assert "PACKRUNNER_BUILDER sets it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "values", "slug"),
    [
        ("buildr", ("x",), "config-key"),
        ("output", ("x",), "config-key"),
        ("network", ("some",), "config-value"),
        ("builder", ("",), "config-value"),
        ("builder", ("a", "b"), "usage"),
    ],
)
def test_what_cannot_be_set_is_refused(
    path: Path, name: str, values: tuple[str, ...], slug: str, capsys: Capture
) -> None:
    path.write_text(WRITTEN)
    assert call("config", name, *values) == 2
    said = capsys.readouterr().err
    assert f"error[{slug}]" in said
    assert "  try:" in said or "one of" in said
    assert path.read_text() == WRITTEN


def test_a_value_over_several_lines_is_left_to_its_author(path: Path) -> None:
    text = 'ca-cert = [\n  "host",\n]\n'
    path.write_text(text)
    with pytest.raises(UsageError, match="several lines"):
        config_file.change(str(path), "ca-cert", ["a"])
    assert path.read_text() == text


def test_a_file_that_is_wrong_stays_as_it_is(path: Path) -> None:
    path.write_text("buildr = 1\n")
    with pytest.raises(UsageError) as error:
        config_file.change(str(path), "builder", "x")
    assert error.value.slug == "config-key"
    assert path.read_text() == "buildr = 1\n"


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("set", "builder", "acme/builder"), "config builder acme/builder"),
        (("set", "ca-cert", "a b.pem", "host"), "config ca-cert 'a b.pem' host"),
        (("set", "builder"), "config builder VALUE"),
        (("unset", "builder"), "config --unset builder"),
        (("get", "builder"), "config builder"),
        (("get",), "config SETTING"),
        (("list",), "config"),
    ],
)
def test_the_words_of_other_programs_are_answered_with_ours(
    words: tuple[str, ...], instead: str, path: Path, capsys: Capture
) -> None:
    assert call("config", *words) == 2
    assert f"  try:   packrunner {instead}\n" in capsys.readouterr().err
    assert not path.exists()


def test_what_an_editor_of_windows_wrote_is_read_and_changed(path: Path, capsys: Capture) -> None:
    path.write_bytes(b'\xef\xbb\xbfbuilder = "acme/builder"\r\n')
    assert call("config", "network", "none") == 0
    assert call("config", "builder") == 0
    assert capsys.readouterr().out == "acme/builder\n"
