"""Slices of the application."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner.errors import ExportError
from packrunner.formats.layer import Slice
from packrunner.images.layer import Tree
from packrunner.lifecycle import slices

if TYPE_CHECKING:
    from pathlib import Path


def app(tmp_path: Path, *files: str, upper: str | None = None) -> Tree:
    root = tmp_path / "app"
    root.mkdir(exist_ok=True)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return Tree(source=str(root), target="/workspace", uid=1000, gid=1000, upper=upper)


@pytest.mark.cnb("EXP-13")
@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*", "a", True),
        ("*", ".hidden", True),
        ("*", "a/b", False),
        ("**", "a/b", False),
        ("a/*", "a/b", True),
        ("a/**", "a/b/c", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[^a]b", "/b", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"[\]]", "]", True),
        ("[c-a]", "b", False),
        ("a.b", "axb", False),
        ("x\n*", "x\ny", True),
    ],
)
def test_patterns_of_go(pattern: str, path: str, expected: bool) -> None:
    assert (slices.matches([pattern], [path], app_dir="/workspace") == {path}) is expected


@pytest.mark.cnb("EXP-13")
@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[-a]", "[a-]", "a\\", "[\\", "[^]"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ExportError) as caught:
        slices.translate(pattern)
    assert caught.value.slug == "slice-pattern"


@pytest.mark.cnb("EXP-13")
@pytest.mark.cnb("EXP-14")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/workspace/static/*", {"static/a"}),
        ("./static/../static/a", {"static/a"}),
        (".", {"static", "main.py"}),
        ("/workspace", {"static", "main.py"}),
        ("/etc/*", set()),
        ("../*", set()),
        ("/workspace/../etc/passwd", set()),
        ("/workspace2/*", set()),
    ],
)
def test_paths_are_those_of_the_application(pattern: str, expected: set[str]) -> None:
    assert slices.matches([pattern], ["static", "static/a", "main.py"], app_dir="/workspace") == expected


@pytest.mark.cnb("EXP-12")
def test_no_slices_one_tree(tmp_path: Path) -> None:
    tree = app(tmp_path, "a")
    assert slices.cut(tree, ()) == (tree,)


@pytest.mark.cnb("EXP-12")
@pytest.mark.cnb("EXP-15")
def test_a_path_belongs_to_the_first_slice_that_matches(tmp_path: Path) -> None:
    tree = app(tmp_path, "static/a.css", "static/b.js", "main.py")
    css, static, none, rest = slices.cut(
        tree, [Slice(paths=("static/*.css",)), Slice(paths=("static", "static/*")), Slice(paths=("x",))]
    )
    assert css is not None
    assert set(css.only or ()) == {"static/a.css"}
    assert static is not None
    assert set(static.only or ()) == {"static", "static/b.js"}
    assert static.exclude == {"static/a.css"}
    assert none is None
    assert rest is not None
    assert rest.only is None
    assert rest.exclude == {"static", "static/a.css", "static/b.js"}


@pytest.mark.cnb("EXP-13")
@pytest.mark.fault("SBX-03")
def test_links_are_not_followed(tmp_path: Path) -> None:
    tree = app(tmp_path, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    (tmp_path / "app/link").symlink_to(outside)
    assert set(slices.app_paths(tree)) == {"a", "link"}


def test_the_upper_tree_counts_over_the_lower(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d/new").write_text("x")
    (upper / "f").mkdir()
    (upper / "f/inner").write_text("x")
    tree = app(tmp_path, "d/old", "f", "skipped/x", upper=str(upper))
    try:
        os.setxattr(upper / "d", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("no user xattrs on this file system")
    found = set(slices.app_paths(replace(tree, skip=frozenset({"skipped"}))))
    assert found == {"d", "d/new", "f", "f/inner"}


def test_a_lower_link_below_an_upper_directory_is_not_walked_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside/inner"
    outside.mkdir(parents=True)
    (outside / "secret").write_text("x")
    upper = tmp_path / "upper"
    (upper / "d/inner").mkdir(parents=True)
    tree = app(tmp_path, "a", upper=str(upper))
    (tmp_path / "app/d").symlink_to(tmp_path / "outside")
    assert set(slices.app_paths(tree)) == {"a", "d", "d/inner"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device files")
def test_whiteouts_remove(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    os.mknod(upper / "gone", 0o020000, os.makedev(0, 0))
    assert set(slices.app_paths(app(tmp_path, "gone/x", "kept", upper=str(upper)))) == {"kept"}
