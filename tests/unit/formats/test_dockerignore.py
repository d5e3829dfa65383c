"""Docker's patterns: which paths they mean, which line counts, and what cannot be read (PRJ-03)."""

from __future__ import annotations

import time

import pytest

from packrunner.errors import UsageError
from packrunner.formats import dockerignore
from packrunner.formats.dockerignore import Matcher


def ignored(text: str, path: str) -> bool:
    return Matcher(dockerignore.read(text.encode(), where=".dockerignore"))(path)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        # Anchored at the top, whatever the slashes at its ends.
        ("a.txt", "a.txt", True),
        ("a.txt", "b/a.txt", False),
        ("/a.txt", "a.txt", True),
        ("a/", "a", True),
        ("a/", "a/b/c", True),
        ("./a/../b", "b", True),
        ("../b", "b", True),
        # One star stays within a name, two are any number of directories.
        ("*.txt", "a.txt", True),
        ("*.txt", "a/a.txt", False),
        ("*/*.txt", "a/a.txt", True),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "a/b/a.txt", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**", "a/b", True),
        ("a/**", "ab", False),
        ("**", "a/b", True),
        ("a*b", "a/b", False),
        ("temp?", "temp1", True),
        ("temp?", "temp", False),
        ("temp?", "temp/", False),
        ("[a-c].txt", "b.txt", True),
        ("[^a].txt", "b.txt", True),
        ("[^a].txt", "a.txt", False),
        ("a[^x]b", "a/b", False),
        ("a.b", "axb", False),
        ("a(b", "a(b", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        # A directory that is left out takes what is in it along, until a later line brings it back.
        ("a", "a/b/c", True),
        ("a\n!a/b", "a/b", False),
        ("a\n!a/b", "a/b/c", False),
        ("a\n!a/b", "a/c", True),
        ("!a/b\na", "a/b", True),
        ("*\n!a\na/c", "a/b", False),
        ("*\n!a\na/c", "a/c", True),
        ("! a\n", "a", False),
        # What is no pattern.
        ("# a\na#", "a#", True),
        ("#a", "#a", False),
        ("\n  \n a \r\n", "a", True),
        ("\ufeffa", "a", True),
        (".", "a", False),
        ("/", "a", False),
    ],
)
def test_a_path_is_left_out_or_not(text: str, path: str, expected: bool) -> None:
    assert ignored(text, path) is expected


@pytest.mark.parametrize("line", ["!", "[a", "a\\", "[z-a]", "[]"])
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        dockerignore.read(f"ok\n{line}\n".encode(), where="app/.dockerignore")
    assert caught.value.slug == "pattern"
    assert caught.value.at == "app/.dockerignore:2"


def test_a_file_that_is_no_text_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        dockerignore.read(b"a\n\xff\n", where=".dockerignore")
    assert caught.value.at == ".dockerignore:2"


def test_a_pattern_of_many_stars_ends_soon() -> None:
    began = time.thread_time()
    assert not ignored("a*" * 12 + "b", "a" * 60)
    assert time.thread_time() - began < 1
