from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from packrunner import config, paths
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def failure(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        config.parse(text, where="config.toml")
    return caught.value


def test_without_a_file_nothing_is_set() -> None:
    assert config.load() == config.Config(path=paths.config_file())


def test_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('builder = "debian:trixie"\nanimation = false\ndebian-mirror = "http://deb.example.com/debian"\n')
    assert config.load(str(path)).values == {
        "builder": "debian:trixie",
        "animation": False,
        "debian-mirror": "http://deb.example.com/debian",
    }


@pytest.mark.parametrize(
    ("text", "slug", "at", "tries"),
    [
        ('# mine\n\nbuildr = "x"\n', "config-key", "config.toml:3   buildr", ("write builder",)),
        ("[colors]\n", "config-key", "config.toml:1   colors", ("write color",)),
        ('path = "."\n', "config-key", "config.toml:1   path", ()),
        ('color = "sometimes"\n', "config-value", "config.toml:1", ()),
        ('color = "alway"\n', "config-value", "config.toml:1", ("write color = always",)),
        ('animation = "no"\n', "config-value", "config.toml:1", ()),
        ("builder = 13\n", "config-value", "config.toml:1", ()),
        ('ca-cert = "company.pem"\n', "config-value", "config.toml:1", ()),
        ("ca-cert = [1]\n", "config-value", "config.toml:1", ()),
        ('engine = "vagrant"\n', "config-value", "config.toml:1", ()),
        ("builder = \n", "config", "config.toml", ()),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, slug: str, at: str, tries: tuple[str, ...]) -> None:
    error = failure(text)
    assert (error.slug, error.at, error.tries) == (slug, at, tries)


def test_a_list_is_read() -> None:
    assert config.parse('ca-cert = ["host", "/etc/company.pem"]\n', where="x") == {
        "ca-cert": ("host", "/etc/company.pem")
    }


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"builder = '\xff'\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        config.load(str(path))
    with pytest.raises(UsageError, match="Is a directory"):
        config.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("builder", "debian:trixie", "debian:trixie"),
        ("builder", "", None),
        ("rebuild", "1", True),
        ("rebuild", "Off", False),
        ("rebuild", "", None),
        ("verbose", "2", 2),
        ("buildpack", "python, procfile,", ("python", "procfile")),
        ("color", "never", "never"),
    ],
)
def test_variables_are_read_by_kind(name: str, raw: str, value: Any) -> None:
    setting = config.SETTINGS[name]
    assert config.from_environment(setting, {setting.variable: raw}) == value


@pytest.mark.parametrize(
    ("name", "raw"), [("rebuild", "maybe"), ("verbose", "-1"), ("verbose", "1e9"), ("color", "red")]
)
def test_variables_with_impossible_values_are_refused(name: str, raw: str) -> None:
    setting = config.SETTINGS[name]
    with pytest.raises(UsageError) as caught:
        config.from_environment(setting, {setting.variable: raw})
    assert caught.value.slug == "config-value"
    assert setting.variable in caught.value.brief


def test_each_source_wins_over_the_ones_below_it() -> None:
    given: dict[str, Any] = {
        "flag": "f",
        "environ": {"PACKRUNNER_BUILDER": "e"},
        "project": "p",
        "config": config.Config(values={"builder": "c"}),
    }
    absent: dict[str, Any] = {"flag": None, "environ": {}, "project": "", "config": None}
    for name, value, origin in [
        ("flag", "f", "flag"),
        ("environ", "e", "environment"),
        ("project", "p", "project.toml"),
        ("config", "c", "config"),
        ("", "debian:13", "default"),
    ]:
        found = config.resolve("builder", **given)
        assert (found.value, found.origin) == (value, origin)
        given[name] = absent.get(name)


def test_an_unset_list_is_empty_and_an_unset_switch_off() -> None:
    assert config.resolve("output", environ={}).value == ()
    assert config.resolve("rebuild", environ={}).value is False
    assert config.resolve("run-image", environ={}).value is None


def test_variables_follow_the_flags() -> None:
    assert config.SETTINGS["clear-cache"].variable == "PACKRUNNER_CLEAR_CACHE"
    for setting in config.SETTINGS.values():
        assert setting.flag in {"", f"--{setting.name}", f"-{setting.name[0]}"}


def test_names_that_are_nearly_ours_are_found() -> None:
    environ = {"PACKRUNNER_BUILDR": "x", "PACKRUNNER_HOME": "/", "PACKRUNNER_ZZZ": "", "BUILDER": ""}
    assert config.misspelt(environ) == [("PACKRUNNER_BUILDR", "PACKRUNNER_BUILDER")]
