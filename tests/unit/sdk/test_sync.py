"""Sync rules of several buildpacks: merged in group order, checked, explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packrunner.formats.sync import SyncRules
from packrunner.sdk import sync

TABLE = json.loads((Path(__file__).parents[2] / "patterns.json").read_text())


def stated(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"buildpack": name, "version": "1.0", "rules": list(rules)}


def test_rules_are_merged_in_group_order_and_say_whose_they_are() -> None:
    one = {"src": ["*.py"], "action": "reload", "why": "code"}
    two = {"src": ["*.go"], "action": "restart", "exec": ["go", "build"], "dest": "/srv/x"}
    merged, warnings = sync.merge([stated("acme/a", one), stated("acme/b", two)], workspace="/app")
    assert warnings == []
    assert merged == {
        "version": 1,
        "workspace": "/app",
        "rules": [sync.PASSING, {**one, "buildpack": "acme/a"}, {**two, "buildpack": "acme/b"}],
        "buildpacks": {"acme/a": "1.0", "acme/b": "1.0"},
    }
    assert msgspec.convert(merged, SyncRules).rules[2].exec == ("go", "build")


def test_of_the_rules_for_everything_the_first_counts_after_those_of_all() -> None:
    everything = {"src": ["**"], "action": "restart"}
    another = {**everything, "exec": ["make"]}
    merged, warnings = sync.merge(
        [
            stated("acme/a", everything, {"src": ["*.py"], "action": "reload"}),
            stated("acme/b", {"src": ["*.go"], "action": "restart", "exec": ["make"]}, another),
        ]
    )
    rules = msgspec.convert(merged, SyncRules).rules
    assert [(rule.src, rule.buildpack) for rule in rules[1:]] == [
        (("*.py",), "acme/a"),
        (("*.go",), "acme/b"),
        (("**",), "acme/a"),
    ]
    assert warnings == []


@pytest.mark.parametrize("pattern", TABLE["bad"])
def test_a_bad_pattern_is_none_here_as_everywhere(pattern: str) -> None:
    assert sync.pattern_problem(pattern)


def test_good_patterns_are_good() -> None:
    assert [pattern for pattern, _, _ in TABLE["matches"] if sync.pattern_problem(pattern)] == []


WRONG = [
    ({"src": ["/etc/*"], "action": "sync"}, "pattern `/etc/*`: absolute"),
    ({"src": ["a"], "action": "sync+exec"}, "unknown action `sync+exec`: it is one of sync, reload"),
    ({"src": ["a"]}, "unknown action ``"),
    ({"src": [], "action": "sync"}, "`src` has no pattern"),
    ({"src": "a", "action": "sync"}, "`src` is not a list of texts"),
    ({"src": ["a"], "action": "sync", "exec": "make"}, "`exec` is not a list of texts"),
    ({"src": ["a"], "action": "sync", "exec": [""]}, "`exec` is no command"),
    ({"src": ["a"], "action": "rebuild", "exec": ["make"]}, "`exec` does not go with rebuild"),
    ({"src": ["a"], "action": "sync", "dest": "srv"}, "dest `srv`: not an absolute directory"),
    ({"src": ["a"], "action": "sync", "dest": "/"}, "dest `/`: not an absolute directory"),
    ({"src": ["a"], "action": "sync", "dest": "/app/../../etc"}, "dest `/app/../../etc`: leads outside"),
    ({"src": ["a"], "action": "sync", "dest": "/proc/1"}, "dest `/proc/1`: not a place for files"),
    ({"src": ["a"], "action": "sync", "destination": "/a"}, "unknown key `destination`"),
    ("a", "not a table"),
]


@pytest.mark.parametrize(("rule", "problem"), WRONG)
def test_a_rule_that_cannot_be_meant_is_left_out_and_named(rule: Any, problem: str) -> None:
    good = {"src": ["b"], "action": "sync"}
    merged, warnings = sync.merge([{"buildpack": "acme/a", "rules": [good, rule]}])
    assert merged["rules"] == [sync.PASSING, {**good, "buildpack": "acme/a"}]
    (warning,) = warnings
    assert warning.startswith("acme/a: sync rule 2")
    assert f": {problem}" in warning
    assert warning.endswith("; the rule is left out")


def test_a_rule_that_an_earlier_one_contradicts_is_named() -> None:
    first = stated("acme/a", {"src": ["**/*.py", "static/**"], "action": "sync"})
    never = stated("acme/b", {"src": ["a/*_test.py", "static/css/**"], "action": "restart"})
    merged, warnings = sync.merge([first, never])
    assert msgspec.convert(merged, SyncRules).rules[2].action == "restart"
    (warning,) = warnings
    assert warning == (
        "acme/b: sync rule 1 (`a/*_test.py` and 1 more restart) never applies, because acme/a says `**/*.py` and 1 more"
        " sync first"
    )


@pytest.mark.parametrize(
    "rule",
    [
        {"src": ["a/x.py", "other"], "action": "restart"},  # some of it is new
        {"src": ["a/x.py"], "action": "sync"},  # the same is meant
    ],
)
def test_what_is_no_contradiction_is_no_warning(rule: dict[str, Any]) -> None:
    assert sync.merge([stated("acme/a", {"src": ["**/*.py"], "action": "sync"}), stated("acme/b", rule)])[1] == []


def test_nothing_stands_before_no_rules() -> None:
    assert sync.merge([])[0]["rules"] == sync.merge([stated("acme/a")])[0]["rules"] == []


def test_what_stands_before_the_rules_can_be_meant() -> None:
    assert sync.check({key: value for key, value in sync.PASSING.items() if value})


COVERS = [
    ("**", "a/**", True),
    ("**", "**", True),
    ("a/**", "a", True),
    ("a/**", "a/b/*.c", True),
    ("**/*.py", "*_test.py", True),
    ("**/*.py", "a/**/x.py", True),
    ("*.py", "a/*.py", False),
    ("*", "**", False),
    ("a/*/c", "a/**/c", False),
    ("a?", "a*", False),
    ("a?", "ab", True),
    ("**/b", "**", False),
    ("a/b/**", "a/**", False),
]


@pytest.mark.parametrize(("wide", "narrow", "expected"), COVERS)
def test_covers(wide: str, narrow: str, *, expected: bool) -> None:
    assert sync.covers(wide, narrow) is expected
