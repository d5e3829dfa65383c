"""An order in a file, the directories that its buildpacks come from, and everything that can be wrong with either."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog.select import CatalogSettings, Selection, select_order
from packrunner.errors import BuildpackApiError, PackrunnerError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def buildpack(place: Path, identity: str, version: str = "1.0.0", more: str = "", *, api: str = "0.12") -> None:
    """A buildpack at `place`; a composite where `more` has an order."""
    (place / "bin").mkdir(parents=True)
    text = f'api = "{api}"\n[buildpack]\nid = "{identity}"\nversion = "{version}"\n{more}'
    (place / "buildpack.toml").write_text(text)
    for program in ("detect", "build"):
        (place / "bin" / program).write_text("#!/bin/sh\n")
        (place / "bin" / program).chmod(0o755)


@pytest.fixture
def settings(tmp_path: Path) -> CatalogSettings:
    builtins = tmp_path / "builtin"
    buildpack(builtins / "python", "packrunner/python", "0.1.0")
    (builtins / "system.toml").write_text('[[system.pre.buildpacks]]\nid = "packrunner/python"\n')
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    return CatalogSettings(stage_dir=str(tmp_path / "stage"), builtin_dir=str(builtins), sdk_dir=str(sdk))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `shelf` in a builder's layout and `loose` with one directory each."""
    monkeypatch.chdir(tmp_path)
    buildpack(tmp_path / "shelf" / "a_b" / "1.0.0", "a/b")
    buildpack(tmp_path / "shelf" / "two" / "1.0.0", "two")
    buildpack(tmp_path / "shelf" / "two" / "2.0.0", "two", "2.0.0")
    buildpack(tmp_path / "loose" / "my-name", "x/y", "3.0.0")
    (tmp_path / "loose" / "README").write_text("not a buildpack")
    (tmp_path / "loose" / "broken").mkdir()
    (tmp_path / "loose" / "broken" / "buildpack.toml").write_text("[")
    return tmp_path


def chosen(here: Path, settings: CatalogSettings, text: str | bytes, *directories: str) -> Selection:
    (here / "order.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    places = tuple(str(here / d) for d in directories or ("shelf", "loose"))
    return select_order(str(here / "order.toml"), places, settings=settings)


def group(*refs: str) -> str:
    """One group: `id`, `id@version`."""
    text = "[[order]]\n"
    for ref in refs:
        identity, _, version = ref.partition("@")
        text += f'[[order.group]]\nid = "{identity}"\n' + (f'version = "{version}"\n' if version else "")
    return text


@pytest.mark.cnb("IMG-04", "IMG-05", "IMG-10")
def test_names_are_found_in_both_layouts_and_among_the_builtin_ones(here: Path, settings: CatalogSettings) -> None:
    selection = chosen(here, settings, group("a/b", "two@2.0.0") + group("x/y@3.0.0", "packrunner/python"))
    assert [[(r.id, r.version) for r in g.group] for g in selection.order.order] == [
        [("a/b", "1.0.0"), ("two", "2.0.0")],
        [("x/y", "3.0.0"), ("packrunner/python", "0.1.0")],
    ]
    # The order is the whole of it: the system buildpack joins no group.
    assert not selection.system.system.pre.buildpacks
    assert sorted(os.listdir(selection.root)) == ["a_b", "packrunner_python", "two", "x_y"]


@pytest.mark.cnb("BPD-06")
def test_what_a_composite_names_comes_from_there_too(here: Path, settings: CatalogSettings) -> None:
    buildpack(here / "loose" / "meta", "meta", more=group("two@1.0.0", "a/b@1.0.0"))
    selection = chosen(here, settings, group("meta"))
    assert set(selection.buildpacks) == {("meta", "1.0.0"), ("two", "1.0.0"), ("a/b", "1.0.0")}


def test_a_directory_may_be_a_buildpack_itself(here: Path, settings: CatalogSettings) -> None:
    assert ("x/y", "3.0.0") in chosen(here, settings, group("x/y"), "loose/my-name").buildpacks


WRONG: list[tuple[str, str | bytes, str, str]] = [
    # What is wrong, the file, the slug, where the message points.
    ("no TOML", "[[order]\n", "toml", "order.toml:1"),
    ("not UTF-8", b"[[order]]\n# \xff\n", "toml", "order.toml:2"),
    ("ends in a string", 'x = "', "toml", "order.toml:1"),
    ("nested too deeply", "x = " + "[" * 5000 + "]" * 5000, "toml", "order.toml:1"),
    ("no group", "", "order", "order.toml, key order"),
    ("an empty group", "[[order]]\n", "order", "order.toml, key order"),
    ("order is a number", "order = 3\n", "toml", "order.toml:1, key order"),
    ("id is a number", "[[order]]\n[[order.group]]\nid = 3\n", "toml", "order.toml:3, key order[0].group[0].id"),
    ("no id", '[[order]]\n\n[[order.group]]\nversion = "1"\n', "toml", "order.toml:3, key order[0].group[0]"),
    (
        "optional is a text",
        group("a/b") + group("a/b", "two") + 'optional = "yes"\n',
        "toml",
        "order.toml:9, key order[1].group[1].optional",
    ),
    ("a reserved id", group("a/b", "sbom"), "order", "order.toml:5, key order[0].group[1].id"),
    ("an id out of the directory", group("../x"), "unknown-buildpack", "order.toml:3, key order[0].group[0].id"),
    ("a version that is a path", group("a/b@../.."), "order", "order.toml:4, key order[0].group[0].version"),
    (
        "an extension with a reserved id",
        group("a/b") + '[[order-extensions]]\n[[order-extensions.group]]\nid = "app"\n',
        "order",
        "order.toml:6, key order-extensions[0].group[0].id",
    ),
    (
        "an unknown extension",
        group("a/b") + '[[order-extensions]]\n[[order-extensions.group]]\nid = "a/b"\n',
        "unknown-extension",
        "order.toml:6, key order-extensions[0].group[0].id",
    ),
    ("an unknown id", group("a/b") + group("nobody"), "unknown-buildpack", "order.toml:6, key order[1].group[0].id"),
    ("an unknown version", group("a/b@9.9.9"), "unknown-buildpack", "order.toml:3, key order[0].group[0].id"),
    ("several versions", group("two"), "unknown-buildpack", "order.toml:3, key order[0].group[0].id"),
]


@pytest.mark.cnb("IMG-05", "IMG-10", "BPD-03", "BPD-05")
@pytest.mark.parametrize(("text", "slug", "at"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_an_order_that_cannot_be_right(
    here: Path, settings: CatalogSettings, text: str | bytes, slug: str, at: str
) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(here, settings, text)
    assert (caught.value.slug, caught.value.at) == (slug, at)
    assert caught.value.exit_code == 2


DESCRIPTORS: list[tuple[str, str, type[PackrunnerError], str]] = [
    ("no TOML", "api", UsageError, "buildpack.toml:1"),
    ("an API to come", 'api = "0.99"\n[buildpack]\nid = "bad"\nversion = "1.0.0"\n', BuildpackApiError, ":1, key api"),
    (
        "an API of the past",
        'api = "0.6"\n[buildpack]\nid = "bad"\nversion = "1.0.0"\n',
        BuildpackApiError,
        ":1, key api",
    ),
    ("an API that is a number", 'api = 0.12\n[buildpack]\nid = "bad"\nversion = "1.0.0"\n', UsageError, ":1, key api"),
    ("targets are a table", 'api = "0.12"\ntargets = {}\n[buildpack]\nid = "bad"\n', UsageError, ":2, key targets"),
    ("the id is reserved", 'api = "0.12"\n[buildpack]\nid = "config"\n', UsageError, ":3, key buildpack.id"),
    (
        "a short version",
        'api = "0.12"\n[buildpack]\nid = "bad"\nversion = "1.0"\n',
        UsageError,
        ":4, key buildpack.version",
    ),
    (
        "a composite with targets",
        'api = "0.12"\n[buildpack]\nid = "bad"\nversion = "1.0.0"\n[[targets]]\nos = "linux"\n' + group("a/b@1.0.0"),
        UsageError,
        ":5, key targets",
    ),
    (
        "a composite with stacks",
        'api = "0.12"\n[buildpack]\nid = "bad"\nversion = "1.0.0"\n[[stacks]]\nid = "*"\n' + group("a/b@1.0.0"),
        UsageError,
        ":5, key stacks",
    ),
]


@pytest.mark.cnb("BPD-01", "BPD-02", "BPD-03", "BPD-04")
@pytest.mark.parametrize(
    ("text", "kind", "at"), [case[1:] for case in DESCRIPTORS], ids=[case[0] for case in DESCRIPTORS]
)
def test_a_descriptor_that_cannot_be_right_is_found_in_the_last_group_too(
    here: Path, settings: CatalogSettings, text: str, kind: type[PackrunnerError], at: str
) -> None:
    buildpack(here / "shelf" / "bad" / "1.0.0", "bad")
    (here / "shelf" / "bad" / "1.0.0" / "buildpack.toml").write_text(text)
    with pytest.raises(kind) as caught:
        chosen(here, settings, group("a/b") + group("bad@1.0.0"))
    assert (caught.value.at or "").endswith(at)
    assert caught.value.exit_code == (12 if kind is BuildpackApiError else 2)


EXTENSIONS: list[tuple[str, str, type[PackrunnerError], str]] = [
    (
        "an order of its own",
        'api = "0.12"\n[extension]\nid = "bad"\nversion = "1.0.0"\n' + group("a/b"),
        UsageError,
        ":5, key order",
    ),
    ("no TOML", "api", UsageError, "extension.toml:1"),
    ("an API to come", 'api = "0.99"\n[extension]\nid = "bad"\nversion = "1.0.0"\n', BuildpackApiError, ":1, key api"),
    ("an API that is a number", 'api = 0.12\n[extension]\nid = "bad"\n', UsageError, ":1, key api"),
    ("targets are a table", 'api = "0.12"\ntargets = {}\n[extension]\nid = "bad"\n', UsageError, ":2, key targets"),
    ("the id is reserved", 'api = "0.12"\n[extension]\nid = "config"\n', UsageError, ":3, key extension.id"),
    (
        "a short version",
        'api = "0.12"\n[extension]\nid = "bad"\nversion = "1.0"\n',
        UsageError,
        ":4, key extension.version",
    ),
]


@pytest.mark.cnb("EXT-01", "BPD-01", "BPD-02", "BPD-03")
@pytest.mark.parametrize(
    ("text", "kind", "at"), [case[1:] for case in EXTENSIONS], ids=[case[0] for case in EXTENSIONS]
)
@pytest.mark.parametrize("named", [False, True])
def test_an_extension_that_cannot_be_right_is_found_by_order_and_by_name(
    here: Path, settings: CatalogSettings, text: str, kind: type[PackrunnerError], at: str, named: bool
) -> None:
    place = here / ("ext" if named else "shelf/bad/1.0.0")
    place.mkdir(parents=True)
    (place / "extension.toml").write_text(text)
    order = group("a/b") + '[[order-extensions]]\n[[order-extensions.group]]\nid = "bad"\nversion = "1.0.0"\n'
    (here / "order.toml").write_text(order)
    with pytest.raises(kind) as caught:
        select_order(
            str(here / "order.toml"),
            (str(here / "shelf"),),
            settings=settings,
            extensions=(str(place),) if named else (),
        )
    assert (caught.value.at or "").endswith(at)
    assert caught.value.exit_code == (12 if kind is BuildpackApiError else 2)


@pytest.mark.cnb("BPD-10")
def test_composites_in_a_circle(here: Path, settings: CatalogSettings) -> None:
    buildpack(here / "shelf" / "p" / "1.0.0", "p", more=group("q@1.0.0"))
    buildpack(here / "shelf" / "q" / "1.0.0", "q", more=group("a/b@1.0.0", "p@1.0.0"))
    with pytest.raises(UsageError, match="part of itself") as caught:
        chosen(here, settings, group("a/b") + group("p"))
    assert caught.value.cause == "p@1.0.0 -> q@1.0.0 -> p@1.0.0"
    assert str(caught.value.at).endswith("q/1.0.0/buildpack.toml:10, key order[0].group[1].id")


def test_places_that_are_not_there(here: Path, settings: CatalogSettings) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        select_order(str(here / "nothing.toml"), (), settings=settings)
    assert caught.value.slug == "order"
    with pytest.raises(UsageError, match="cannot be read"):
        select_order(str(here), (), settings=settings)
    with pytest.raises(UsageError, match="no directory") as caught:
        chosen(here, settings, group("a/b"), "nowhere")
    assert caught.value.slug == "no-such-path"
