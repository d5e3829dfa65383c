"""What of the source a build sees: patterns, the default exclusion, and the source never written to (PRJ-03)."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from packrunner import fingerprint
from packrunner.engines.base import User
from packrunner.errors import UsageError
from packrunner.lifecycle.application import Rules, prepare, rules_of, unreadable
from packrunner.lifecycle.request import BuildRequest
from packrunner.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("app.py", "secret.txt", "docs/a.md", "docs/b.txt", "lib/x/y.py", ".git/HEAD")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "source"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "ws" / "app").mkdir(parents=True)
    return Workspace(path=str(tmp_path / "ws"), owner=None)


def left_out(source: Path, rules: Rules) -> list[str]:
    return rules.left_out(fingerprint.scan(str(source), skip=rules.skip))


@pytest.mark.cnb("PRJ-03")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(), []),
        (Rules(exclude=("secret.txt",)), ["secret.txt"]),
        (Rules(exclude=("*.txt",)), ["docs/b.txt", "secret.txt"]),
        (Rules(exclude=("docs/",)), ["docs"]),
        (Rules(exclude=("docs/*", "!docs/a.md")), ["docs/b.txt"]),
        (Rules(include=("app.py", "lib/")), [".git", "docs", "secret.txt"]),
        (Rules(include=("*.md",)), [".git", "app.py", "docs/b.txt", "lib", "secret.txt"]),
    ],
)
def test_patterns_choose_what_is_left_out(source: Path, rules: Rules, expected: list[str]) -> None:
    assert left_out(source, rules) == expected


@pytest.mark.cnb("PRJ-03")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".dockerignore", [".dockerignore"]),
        (".dockerignore\n**/secret.txt", [".dockerignore", "secret.txt"]),
        (".dockerignore\n*.txt", [".dockerignore", "secret.txt"]),
        (".dockerignore\ndocs\n!docs/a.md", [".dockerignore", "docs/b.txt"]),
        ("*\n!lib", [".dockerignore", "app.py", "docs", "secret.txt"]),
    ],
)
def test_dockerignore_chooses_where_the_project_file_says_nothing(source: Path, text: str, expected: list[str]) -> None:
    (source / ".dockerignore").write_text(text)
    rules = rules_of(BuildRequest(name="shop", source=str(source)))
    assert ".git" in rules.skip
    assert left_out(source, rules) == expected


def test_dockerignore_is_not_read_where_the_project_file_speaks(source: Path) -> None:
    (source / ".dockerignore").write_text("*")
    rules = rules_of(BuildRequest(name="shop", source=str(source), exclude=("secret.txt",)))
    assert left_out(source, rules) == ["secret.txt"]


def test_a_dockerignore_that_is_a_link_is_not_followed(source: Path) -> None:
    (source / ".dockerignore").symlink_to("secret.txt")
    assert rules_of(BuildRequest(name="shop", source=str(source))) == Rules()


def test_a_dockerignore_that_is_a_directory_says_nothing(source: Path) -> None:
    (source / ".dockerignore").mkdir()
    assert rules_of(BuildRequest(name="shop", source=str(source))) == Rules()


def test_a_dockerignore_without_end_is_refused(source: Path) -> None:
    (source / ".dockerignore").write_text("x\n" * 600_000)
    with pytest.raises(UsageError, match="larger than 1 MB"):
        rules_of(BuildRequest(name="shop", source=str(source)))


def test_history_is_left_out_unless_the_project_file_speaks(source: Path) -> None:
    assert ".git" in Rules().skip
    assert not Rules(exclude=("x",)).skip


@pytest.mark.cnb("PRJ-03")
@pytest.mark.parametrize(
    ("patterns", "skipped"),
    [
        (("/data", "/.env", "*.md", "x", "/a/b", "/c*"), {"data", ".env"}),
        (("/data", "!/data/kept"), set()),
        (("/project.toml", "/.dockerignore"), set()),
    ],
)
def test_what_is_left_out_by_its_plain_name_is_not_even_looked_at(patterns: tuple[str, ...], skipped: set[str]) -> None:
    assert Rules(exclude=patterns).skip == skipped


@pytest.mark.cnb("PRJ-03")
def test_a_dockerignore_spares_a_look_too(source: Path) -> None:
    (source / ".dockerignore").write_text("docs\n.dockerignore\nlib/x\n")
    rules = rules_of(BuildRequest(name="shop", source=str(source)))
    assert rules.skip == {".git", "docs"}
    assert left_out(source, rules) == [".dockerignore", "lib/x"]
    (source / ".dockerignore").write_text("docs\n!docs/a.md\n")
    assert rules_of(BuildRequest(name="shop", source=str(source))).skip == {".git"}


def test_a_directory_that_is_skipped_is_a_whiteout_however_it_looks_inside(source: Path, workspace: Workspace) -> None:
    upper = show(workspace, source, Rules(exclude=("/docs",)), overlays=True)
    assert stat.S_ISCHR(os.lstat(os.path.join(upper, "docs")).st_mode)


@pytest.mark.fault("LIV-15")
@pytest.mark.parametrize(
    ("below", "tries"),
    [("data", ('leave it out: exclude = ["/data"] in [io.buildpacks] of project.toml',)), ("a/data", ())],
)
def test_what_cannot_be_looked_at_is_named(source: Path, below: str, tries: tuple[str, ...]) -> None:
    error = unreadable(PermissionError(errno.EACCES, "Permission denied", str(source / below)), str(source))
    assert error.brief == f"{source}/{below} cannot be read"
    assert (error.slug, error.cause, error.tries) == ("unreadable", "Permission denied", tries)


def test_a_pattern_that_cannot_be_read_is_named(source: Path) -> None:
    with pytest.raises(UsageError) as caught:
        left_out(source, Rules(exclude=("!",)))
    assert caught.value.slug == "pattern"


def show(workspace: Workspace, source: Path, rules: Rules, *, overlays: bool) -> str:
    table = fingerprint.scan(str(source), skip=rules.skip)
    app = prepare(workspace, str(source), table, rules=rules, user=User(), overlays=overlays)
    if overlays:
        assert app.overlays[0].lower == str(source)
        assert app.tree.upper == app.overlays[0].upper
        return app.overlays[0].upper
    assert app.mounts[0].writable
    return app.mounts[0].source


def test_left_out_files_are_whiteouts_in_the_upper_tree(source: Path, workspace: Workspace) -> None:
    upper = show(workspace, source, Rules(exclude=("docs/b.txt", "secret.txt")), overlays=True)
    for name in ("docs/b.txt", "secret.txt"):
        found = os.lstat(os.path.join(upper, name))
        assert stat.S_ISCHR(found.st_mode)
        assert found.st_rdev == 0
    assert stat.S_IMODE(os.stat(os.path.join(upper, "docs")).st_mode) == stat.S_IMODE((source / "docs").stat().st_mode)


def test_without_patterns_only_the_history_is_hidden(source: Path, workspace: Workspace) -> None:
    upper = show(workspace, source, Rules(), overlays=True)
    assert os.listdir(upper) == [".git"]


def test_where_overlays_are_refused_a_fresh_copy_is_shown(source: Path, workspace: Workspace) -> None:
    copy = show(workspace, source, Rules(exclude=("*.txt", ".git")), overlays=False)
    seen = sorted(os.path.relpath(os.path.join(d, n), copy) for d, _, names in os.walk(copy) for n in names)
    assert seen == ["app.py", "docs/a.md", "lib/x/y.py"]
    with open(os.path.join(copy, "app.py"), "w") as file:
        file.write("changed by a buildpack")
    assert (source / "app.py").read_text() == "app.py"
    copy = show(workspace, source, Rules(), overlays=False)
    with open(os.path.join(copy, "app.py")) as file:
        assert file.read() == "app.py"


def test_what_an_earlier_build_left_is_gone(source: Path, workspace: Workspace) -> None:
    upper = show(workspace, source, Rules(), overlays=True)
    with open(os.path.join(upper, "left"), "w") as file:
        file.write("x")
    assert os.listdir(show(workspace, source, Rules(), overlays=True)) == [".git"]


@pytest.mark.parametrize("written", ["", "new", "docs/new", ".git"])
def test_the_upper_tree_is_left_out_of_the_export_where_nobody_wrote(
    source: Path, workspace: Workspace, written: str
) -> None:
    source.chmod(0o755)
    table = fingerprint.scan(str(source), skip=Rules().skip)
    app = prepare(workspace, str(source), table, rules=Rules(), user=User(), overlays=True)
    upper = app.overlays[0].upper
    if written:
        path = os.path.join(upper, written)
        if os.path.lexists(path):
            os.unlink(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("x")
    assert app.after_build().upper == (upper if written else None)
    os.chmod(upper, 0o700)
    assert app.after_build().upper == upper
