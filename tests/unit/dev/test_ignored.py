"""What causes nothing when it changes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.ignored import Ignored
from packrunner.formats import dockerignore
from packrunner.formats.sync import Rule
from packrunner.lifecycle.application import Rules

if TYPE_CHECKING:
    from pathlib import Path

PATHS = (
    "a.pyc",
    "src/b.pyc",
    "src/keep.pyc",
    "build/x",
    "src/build/y",
    "src/deep/z.txt",
    "src/deep/n/z.txt",
    "top.txt",
)


def test_git_agrees(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n/build/\n*.txt\n")
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / ".gitignore").write_text("!keep.pyc\n!deep/*.txt\n")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    git = ["git", "-C", str(tmp_path), "check-ignore", "--no-index", *PATHS]
    theirs = set(subprocess.run(git, capture_output=True, text=True, check=False).stdout.split())
    ignored = Ignored(str(tmp_path))
    assert {path for path in PATHS if ignored(path, False)} == theirs
    assert theirs


def test_a_changed_file_of_patterns_counts_once_it_is_forgotten(tmp_path: Path) -> None:
    ignored = Ignored(str(tmp_path))
    assert not ignored.below("built/deep")
    (tmp_path / ".gitignore").write_text("built/\n")
    ignored.forget("")
    assert ignored.below("built/deep")
    assert ignored("built/deep/file", False)


def test_a_line_that_git_cannot_read_does_not_take_the_others_along(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("!\n*.log\n")
    assert Ignored(str(tmp_path))("a.log", False)


def test_a_file_of_patterns_that_is_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("*.log\n")
    (tmp_path / ".gitignore").symlink_to("patterns")
    assert not Ignored(str(tmp_path))("a.log", False)


@pytest.mark.parametrize("project", [Rules(), Rules(exclude=("x",)), Rules(include=("*",))])
def test_history_never_counts(tmp_path: Path, project: Rules) -> None:
    ignored = Ignored(str(tmp_path), project=project)
    assert ignored.below(".git")
    assert ignored("vendor/lib/.git", False)


def test_what_the_project_file_excludes_is_not_looked_into(tmp_path: Path) -> None:
    ignored = Ignored(str(tmp_path), project=Rules(exclude=("docs/", "*.md")))
    assert ignored.below("docs/pages")
    assert ignored("README.md", False)
    assert not ignored("src/a.py", False)


def test_only_what_the_project_file_includes_counts_and_its_directories_are_looked_into(tmp_path: Path) -> None:
    ignored = Ignored(str(tmp_path), project=Rules(include=("src/*.py",)))
    assert not ignored.below("src")
    assert not ignored("src/a.py", False)
    assert ignored("src/a.txt", False)
    assert ignored("src", True)


@pytest.mark.parametrize(
    ("rules", "directory", "expected"),
    [
        ([("ignore", "node_modules/**")], "node_modules", True),
        ([("ignore", "node_modules/**")], "node_modules/deep", True),
        ([("ignore", "node_modules/*")], "node_modules", False),
        ([("ignore", "**")], "any", True),
        ([("sync", "**/*.py"), ("ignore", "tests/**")], "tests", False),
        ([("sync", "src/*.py"), ("ignore", "**")], "src", False),
        ([("sync", "src/*.py"), ("ignore", "**")], "src/inner", True),
        ([("rebuild", "setup.py"), ("ignore", "tests/**")], "tests", True),
        ([("ignore", "tests/**"), ("sync", "**")], "tests", True),
        ([], "any", False),
    ],
)
def test_a_directory_of_which_a_rule_ignores_everything_is_not_looked_into(
    tmp_path: Path, rules: list[tuple[str, str]], directory: str, expected: bool
) -> None:
    made = [Rule(src=(pattern,), action=action) for action, pattern in rules]  # type: ignore[arg-type]  # plain words
    assert Ignored(str(tmp_path), rules=made).below(directory) == expected


def test_what_dockerignore_leaves_out_is_not_looked_into_unless_a_line_brings_something_back(tmp_path: Path) -> None:
    plain = dockerignore.read(b"docs\n*.md", where="")
    assert Ignored(str(tmp_path), project=Rules(ignored=plain)).below("docs/pages")
    back = Ignored(str(tmp_path), project=Rules(ignored=dockerignore.read(b"docs\n!docs/a.md", where="")))
    assert not back.below("docs")
    assert back("docs/b.md", False)
    assert not back("docs/a.md", False)
