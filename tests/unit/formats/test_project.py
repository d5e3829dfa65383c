"""project.toml of every schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog.project import groups, load
from packrunner.errors import BuildpackApiError, UsageError
from packrunner.formats.project import Project, read

if TYPE_CHECKING:
    from pathlib import Path

NEW = '[_]\nschema-version = "0.2"\n'


def parsed(text: str) -> Project:
    return read(text.encode(), where="project.toml")


@pytest.mark.cnb("PRJ-02", "PRJ-03", "PRJ-04", "PRJ-08")
@pytest.mark.parametrize("schema", ["0.2", "0.3"])
def test_what_is_read(schema: str) -> None:
    found = parsed(
        f"""
        [_]
        schema-version = "{schema}"
        id = "shop"
        name = "Shop"
        authors = ["a"]
        licenses = [{{ type = "MIT" }}]
        metadata = {{ anything = 1 }}
        [io.buildpacks]
        builder = "debian:13"
        exclude = ["*.md", "!README.md"]
        [[io.buildpacks.build.env]]
        name = "A"
        value = "1"
        [com.example]
        other = true
        """
    )
    assert (found.builder, found.exclude, found.include) == ("debian:13", ("*.md", "!README.md"), ())
    assert found.variables() == {"A": "1"}
    assert (found.unknown, found.warnings) == ((), ())


@pytest.mark.cnb("PRJ-02")
def test_no_schema_is_the_first_one_with_a_warning() -> None:
    text = '[build]\nbuilder = "b"\ninclude = ["x"]\nenv = [{ name = "A", value = "1" }]\nbuildpacks = [{ id = "c" }]\n'
    found = parsed(text + 'other = 1\n[project]\nname = "n"\n')
    assert (found.builder, found.include, found.variables()) == ("b", ("x",), {"A": "1"})
    assert [member.id for member in found.group] == ["c"]
    assert found.unknown == ("build.other",)
    assert len(found.warnings) == 1
    assert parsed('[_]\nschema-version = "0.1"\n' + text).warnings == ()


@pytest.mark.cnb("PRJ-02")
def test_new_tables_without_schema_are_pointed_out() -> None:
    found = parsed('[io.buildpacks]\nbuilder = "b"\n')
    assert found.builder == ""
    assert "[io.buildpacks] means nothing" in found.warnings[0]


@pytest.mark.cnb("PRJ-02")
@pytest.mark.parametrize("schema", ['"9.9"', "0.2", '""'])
def test_unknown_schemas_fail(schema: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(f"[_]\nschema-version = {schema}\n")
    assert caught.value.slug == "project-schema"
    assert "schema-version" in (caught.value.at or "")


@pytest.mark.cnb("PRJ-02")
def test_unknown_keys_are_listed() -> None:
    found = parsed(
        NEW + "colour = 1\n[io.buildpacks]\nbuidler = 1\n"
        '[[io.buildpacks.group]]\nid = "a"\nkey = 1\nscript = { api = "0.12", inline = "x", args = 1 }\n'
        '[[io.buildpacks.pre.group]]\nid = "a"\nother = 1\n[io.buildpacks.build]\nargs = 1\n'
    )
    assert found.unknown == (
        "io.buildpacks.buidler",
        "io.buildpacks.build.args",
        "io.buildpacks.group.key",
        "io.buildpacks.group.script.args",
        "io.buildpacks.pre.group.other",
        "_.colour",
    )


@pytest.mark.cnb("PRJ-02")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("version = 1\n", "project.toml:3, key _.version"),
        ('authors = "a"\n', "project.toml:3, key _.authors"),
        ("licenses = [{}]\n", "project.toml:3, key _.licenses[0]"),
        ("metadata = 1\n", "project.toml:3, key _.metadata"),
    ],
)
def test_the_descriptive_table_is_checked(text: str, at: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(NEW + text)
    assert at in (caught.value.at or "")


@pytest.mark.cnb("EXP-24")
@pytest.mark.parametrize("text", [NEW, '[_]\nschema-version = "0.1"\n[project]\n'])
def test_what_the_project_label_says_of_the_source(text: str) -> None:
    assert parsed(text).metadata == {}
    found = parsed(text + 'version = "1.2"\nsource-url = "https://example.com/shop"\n')
    source = {"type": "project", "version": {"declared": "1.2"}, "metadata": {"url": "https://example.com/shop"}}
    assert found.metadata == {"source": source}


GROUP = NEW + "[[io.buildpacks.group]]\n"
SCRIPT = 'id = "a"\n[io.buildpacks.group.script]\n'


@pytest.mark.cnb("PRJ-05", "PRJ-06")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", ":3, key io.buildpacks.group[0]"),
        ('version = "1.0.0"\n', ":3, key io.buildpacks.group[0]"),
        ('uri = "."\nversion = "1.0.0"\n', ":5, key io.buildpacks.group[0].version"),
        (
            'uri = "."\n[io.buildpacks.group.script]\napi = "0.12"\ninline = "x"\n',
            ":5, key io.buildpacks.group[0].script",
        ),
        ('id = "a b"\n', ":4, key io.buildpacks.group[0].id"),
        ('id = "app"\n', ":4, key io.buildpacks.group[0].id"),
        ("id = 1\n", ":4, key io.buildpacks.group[0].id"),
        ('id = "a"\nscript = "x"\n', ":5, key io.buildpacks.group[0].script"),
        (SCRIPT + 'api = "0.12"\n', ":5, key io.buildpacks.group[0].script.inline"),
        (SCRIPT + 'inline = "x"\n', ":5, key io.buildpacks.group[0].script.api"),
        (SCRIPT + 'inline = "x"\napi = "0.12"\nshell = "sh"\n', ":8, key io.buildpacks.group[0].script.shell"),
        (
            SCRIPT + 'inline = "x"\napi = "0.12"\nshell = "/bin/sh\\n/bin/rm"\n',
            ":8, key io.buildpacks.group[0].script.shell",
        ),
    ],
)
def test_members_that_name_no_buildpack(text: str, at: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(GROUP + text)
    assert at in (caught.value.at or "")
    for place in ("pre", "post"):
        with pytest.raises(UsageError):
            parsed(
                GROUP.replace("group", f"{place}.group") + text.replace("buildpacks.group", f"buildpacks.{place}.group")
            )


@pytest.mark.cnb("PRJ-06")
def test_the_api_of_a_script_must_be_one_of_ours() -> None:
    with pytest.raises(BuildpackApiError) as caught:
        parsed(GROUP + SCRIPT + 'api = "0.99"\ninline = "x"\n')
    assert caught.value.exit_code == 12


@pytest.mark.cnb("PRJ-05")
def test_an_id_alone_is_accepted() -> None:
    assert [(m.id, m.version) for m in parsed(GROUP + 'id = "a"\n').group] == [("a", "")]


@pytest.mark.cnb("PRJ-05")
@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("mine", "/apps/shop/mine"),
        ("../mine", "/apps/mine"),
        ("file:///abs/a%20b", "/abs/a b"),
        ("urn:cnb:builder:acme/x@1.0.0", "acme/x@1.0.0"),
        ("docker://example.com/x", "docker://example.com/x"),
    ],
)
def test_places_are_relative_to_the_file(uri: str, text: str) -> None:
    (wanted,) = groups(parsed(GROUP + f'uri = "{uri}"\n'), "/apps/shop").group
    assert wanted.text == text


@pytest.mark.cnb("PRJ-03")
@pytest.mark.parametrize("table", [NEW + "[io.buildpacks]\n", "[build]\n"])
def test_include_and_exclude_exclude_each_other(table: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(table + 'include = ["a"]\nexclude = ["b"]\n')
    assert caught.value.slug == "project-files"
    assert caught.value.tries
    assert (caught.value.at or "").endswith("exclude")


@pytest.mark.cnb("PRJ-08")
def test_both_spellings_of_variables_and_the_later_one_counts() -> None:
    found = parsed(
        NEW + '[io.buildpacks]\nenv.build = [{ name = "A", value = "1" }, { name = "B", value = "2" }]\n'
        'build.env = [{ name = "A", value = "3" }]\n'
    )
    assert found.variables() == {"A": "3", "B": "2"}


def test_variables_of_execution_environments() -> None:
    found = parsed(
        NEW + '[[io.buildpacks.build.env]]\nname = "A"\nvalue = "1"\nexec-env = ["test"]\n'
        '[[io.buildpacks.build.env]]\nname = "B"\nvalue = "2"\nexec-env = ["*"]\n'
    )
    assert found.variables() == {"B": "2"}
    assert found.variables("test") == {"A": "1", "B": "2"}


@pytest.mark.cnb("PRJ-02")
@pytest.mark.parametrize(
    ("table", "what"),
    [
        ('[[io.buildpacks.build.env]]\nname = "A"\nvalue = "1"\n', "A"),
        ('[[io.buildpacks.group]]\nid = "acme/a"\n', "acme/a"),
        ('[[io.buildpacks.post.group]]\nuri = "./b"\n', "./b"),
    ],
)
def test_what_only_a_later_schema_has_counts_and_is_warned_about(table: str, what: str) -> None:
    (warning,) = parsed(f'{NEW}{table}exec-env = ["test"]\n').warnings
    assert f"restricts {what} to execution environments, which is of schema 0.3" in warning
    assert parsed(NEW + table).warnings == ()
    assert parsed(f'{NEW.replace("0.2", "0.3")}{table}exec-env = ["test"]\n').warnings == ()


@pytest.mark.parametrize("name", ["", "A=B", "a/b", "..", "a\\u0000"])
def test_names_that_no_variable_can_have(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(NEW + f'[[io.buildpacks.build.env]]\nname = "{name}"\nvalue = ""\n')
    assert caught.value.slug == "project-env"
    with pytest.raises(UsageError, match="NUL"):
        parsed(NEW + '[[io.buildpacks.build.env]]\nname = "A"\nvalue = "a\\u0000b"\n')


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("[_", "project.toml"),
        (NEW + "[io]\nbuildpacks = 1\n", "project.toml:4, key io.buildpacks"),
        ("io = 1\n" + NEW, "project.toml:1, key io"),
        (NEW + "[io.buildpacks]\nbuilder = 1\n", "project.toml:4, key io.buildpacks.builder"),
        (NEW + '[[io.buildpacks.build.env]]\nname = "A"\n', "project.toml:3, key io.buildpacks.build.env[0]"),
        (NEW + "[io.buildpacks]\nbuild = 1\n", "project.toml:4, key io.buildpacks.build"),
        ("build = 1\n", "project.toml:1, key build"),
        ("_ = 1\n", ""),
    ],
)
def test_files_that_cannot_be_right_are_named_with_the_key(text: str, at: str) -> None:
    if not at:
        assert parsed(text).warnings
        return
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert at in (caught.value.at or "")
    assert caught.value.slug == "toml"


def test_a_directory_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "project.toml").mkdir()
    with pytest.raises(UsageError, match=r"project.toml is not a file"):
        load(str(tmp_path))


@pytest.mark.cnb("PRJ-01")
def test_the_default_file_may_be_absent_an_explicit_one_may_not(tmp_path: Path) -> None:
    assert load(str(tmp_path)) is None
    other = tmp_path / "other.toml"
    with pytest.raises(UsageError) as caught:
        load(str(tmp_path), str(other))
    assert caught.value.slug == "project-missing"
    other.write_text(NEW + '[io.buildpacks]\nbuilder = "b"\n')
    (tmp_path / "project.toml").write_text(NEW + '[io.buildpacks]\nbuilder = "a"\n')
    found, named = load(str(tmp_path)), load(str(tmp_path), str(other))
    assert found is not None
    assert named is not None
    assert (found.builder, named.builder) == ("a", "b")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "project.toml")
    with pytest.raises(UsageError, match="not a file"):
        load(str(tmp_path))
    (tmp_path / "project.toml").unlink()
    (tmp_path / "project.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match="larger than"):
        load(str(tmp_path))
