"""Whether two patterns can mean the same path, compared with all short paths."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.dev.overlap import meets
from packrunner.dev.patterns import matches

NAMES = ("a", "b", "ab", "*", "a*", "*b", "?", "**")
PATHS = ["/".join(names) for count in (1, 2, 3, 4) for names in itertools.product(("a", "b", "ab"), repeat=count)]
patterns = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@given(patterns, patterns)
def test_two_patterns_meet_where_a_path_matches_both(first: str, second: str) -> None:
    assert meets(first, second) == any(matches(first, path) and matches(second, path) for path in PATHS)


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("**/*.py", "requirements.txt", False),
        ("**/*.py", "requirements/**", True),
        ("public/**", "public", True),
        ("public/**", "publicity/**", False),
        ("*.txt", "*requirements*.txt", True),
        ("*.in", "*.txt", False),
        ("a/**/z", "a/*", True),
    ],
)
def test_patterns_as_buildpacks_write_them(first: str, second: str, meet: bool) -> None:
    assert meets(first, second) is meet
    assert meets(second, first) is meet
