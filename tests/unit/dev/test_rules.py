"""Sync rules on the host: where they come from, and which one a file falls under."""

from __future__ import annotations

import json
from typing import Any

import pytest

from packrunner.dev.rules import decide, of_image, of_plan
from packrunner.errors import UsageError
from packrunner.formats.plan import Entry, Plan, Provider, Require
from packrunner.formats.sync import Rule, SyncRules

PYTHON = {
    "buildpack": "packrunner/python",
    "version": "1.0",
    "rules": [{"src": ["requirements.txt"], "action": "rebuild"}, {"src": ["**/*.py"], "action": "reload"}],
}
GO = {
    "buildpack": "acme/go",
    "version": "2.0",
    "rules": [{"src": ["**/*.go"], "action": "restart", "exec": ["go", "build"]}],
}


def plan(*stated: dict[str, Any]) -> Plan:
    requires = tuple(Require(name="live-reload", metadata=one) for one in stated)
    other = Entry(providers=(Provider(id="x", version="1"),), requires=(Require(name="python", metadata=PYTHON),))
    return Plan(entries=(other, Entry(providers=(Provider(id="r", version="1"),), requires=requires)))


def test_the_rules_of_a_plan_are_those_stated_for_live_reload_in_the_groups_order() -> None:
    found = of_plan(plan(PYTHON, {}, GO))
    assert [(rule.buildpack, rule.action) for rule in found.rules[1:]] == [
        ("packrunner/python", "rebuild"),
        ("packrunner/python", "reload"),
        ("acme/go", "restart"),
    ]
    assert found.rules[-1].exec == ("go", "build")
    assert found.buildpacks == {"packrunner/python": "1.0", "acme/go": "2.0"}


def test_without_anyone_who_takes_rules_there_are_none() -> None:
    assert of_plan(Plan()).rules == ()


def test_what_is_no_rule_is_left_out_and_named_with_its_buildpack() -> None:
    warnings: list[str] = []
    stated = {"buildpack": "acme/odd", "rules": [{"src": ["*"], "action": "explode"}, {"src": ["a"], "action": "sync"}]}
    found = of_plan(plan(stated), warn=warnings.append)
    assert [rule.action for rule in found.rules[1:]] == ["sync"]
    assert len(warnings) == 1
    assert warnings[0].startswith("acme/odd: sync rule 1")


def test_the_first_rule_that_matches_counts() -> None:
    first, second = Rule(src=("docs/*", "a*"), action="ignore"), Rule(src=("**/*.py",), action="sync")
    rules = SyncRules(rules=(first, second))
    assert [decide(rules, path) for path in ("docs/x.py", "app.py", "shop.py")] == [first, first, second]


@pytest.mark.parametrize(
    "path", [".git/index", "a/.idea/x.xml", ".app.py.swp", "a/.x.swx", "app.py~", "4913", ".#app.py", "a/#app.py#"]
)
def test_what_editors_leave_for_a_moment_causes_nothing(path: str) -> None:
    everything = {"buildpack": "acme/x", "rules": [{"src": ["**"], "action": "restart"}]}
    rule = decide(of_plan(plan(everything)), path)
    assert rule is not None
    assert rule.action == "ignore"


@pytest.mark.parametrize("path", ["app.swp.py", "swp", "a~b", "49131", "git/x", "#1.md"])
def test_and_what_only_looks_like_it_does(path: str) -> None:
    everything = {"buildpack": "acme/x", "rules": [{"src": ["**"], "action": "restart"}]}
    rule = decide(of_plan(plan(everything)), path)
    assert rule is not None
    assert rule.action == "restart"


def test_what_no_rule_matches_is_a_rebuild() -> None:
    rules = of_plan(plan(PYTHON, GO))
    assert [decide(rules, path) for path in ("requirements.txt", "a/b.py", "main.go", "Makefile")] == [
        *rules.rules[1:],
        None,
    ]


# --- images


def test_an_images_label_has_all_of_it() -> None:
    rules = SyncRules(workspace="/app", rules=(Rule(src=("**",), action="restart", buildpack="acme/x"),))
    label = {"version": 1, "workspace": "/app", "rules": [{"src": ["**"], "action": "restart", "buildpack": "acme/x"}]}
    assert of_image({"io.packrunner.sync": json.dumps(label)}) == rules


def test_labels_of_single_buildpacks_do_without_the_whole() -> None:
    found = of_image({"io.packrunner.sync.acme/go": json.dumps(GO), "other": "x"})
    assert [rule.buildpack for rule in found.rules[1:]] == ["acme/go"]


def test_what_googles_buildpacks_wrote_is_read() -> None:
    stated = {"devmode.sync": [{"src": "**/*.js", "dest": "/workspace"}, {"src": "public/**", "dest": "/srv"}]}
    label = {"bom": [{"name": "other", "metadata": {}}, {"name": "devmode", "metadata": stated}], "buildpacks": []}
    found = of_image({"io.buildpacks.build.metadata": json.dumps(label)})
    assert [(r.src, r.action, r.dest) for r in found.rules[1:]] == [
        (("**/*.js",), "sync", ""),
        (("public/**",), "sync", "/srv"),
    ]


@pytest.mark.parametrize(
    "text",
    ["1", '{"src": 1, "dest": "/workspace"}', '{"src": "*.{js,ts}", "dest": "/workspace"}', '{"src": "a"}', "{}"],
)
def test_of_what_googles_buildpacks_wrote_only_what_can_be_meant_is_taken(text: str) -> None:
    good = '{"src": "b", "dest": "/workspace"}'
    label = f'{{"bom": [{{"name": "devmode", "metadata": {{"devmode.sync": [{text}, {good}]}}}}]}}'
    assert [rule.src for rule in of_image({"io.buildpacks.build.metadata": label}).rules[1:]] == [("b",)]


@pytest.mark.parametrize("labels", [{}, {"io.buildpacks.build.metadata": '{"bom": null}'}])
def test_an_image_for_production_has_none(labels: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        of_image(labels)
    assert caught.value.slug == "no-sync-rules"


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"rules": 1}',
        '{"version": 2}',
        '{"rules": [{"src": ["a"], "action": "explode"}]}',
        '{"rules": [{"src": ["../a"], "action": "sync"}]}',
        '{"rules": [{"src": ["a"], "action": "sync", "dest": "/proc"}]}',
    ],
)
def test_a_label_that_cannot_be_read_says_why(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        of_image({"io.packrunner.sync": text})
    assert caught.value.slug == "sync-rules"
    assert caught.value.cause
