"""Which build images, run images and buildpacks go together."""

from __future__ import annotations

import json

import pytest

from packrunner.errors import UsageError
from packrunner.formats.buildpack import Stack
from packrunner.formats.platform import RunTarget
from packrunner.lifecycle.suiting import MIXINS, STACK_ID, check_platforms, distributions, mixins, stacks

BASE = RunTarget("linux", "arm64", "v8", "debian", "13")


@pytest.mark.cnb("IMG-03")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, ""),
        ({"variant": ""}, ""),
        ({"distro_name": "ubuntu"}, ""),
        ({"os": "windows"}, "system"),
        ({"arch": "amd64"}, "architecture"),
        ({"variant": "v9"}, "variant"),
    ],
)
def test_platforms_must_agree_where_both_state_them(change: dict[str, str], named: str) -> None:
    run = BASE._replace(**change)
    if not named:
        check_platforms(BASE, run, name="x")
        return
    with pytest.raises(UsageError, match=named) as caught:
        check_platforms(BASE, run, name="x")
    assert caught.value.slug == "run-image-platform"


@pytest.mark.cnb("IMG-03")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, False),
        ({"distro_version": "12"}, True),
        ({"distro_name": "ubuntu", "distro_version": "24.04"}, True),
        ({"distro_name": "", "distro_version": ""}, False),
    ],
)
def test_another_distribution_is_said(change: dict[str, str], *, said: bool) -> None:
    assert bool(distributions(BASE, BASE._replace(**change))) is said


@pytest.mark.cnb("STK-02")
def test_another_stack_is_only_said() -> None:
    assert stacks({STACK_ID: "a"}, {STACK_ID: "a"}) == ""
    assert stacks({}, {STACK_ID: "a"}) == ""
    assert "stack b" in stacks({STACK_ID: "a"}, {STACK_ID: "b"})
    assert stacks({STACK_ID: "a"}, {}) == ""


@pytest.mark.cnb("STK-02")
@pytest.mark.parametrize(
    ("build", "run", "wanted", "expected"),
    [
        (["a"], ["a", "b"], [], 0),
        (["a"], [], [], 1),
        (["build:a"], ["run:b"], [], 0),
        (["run:a"], ["build:b"], [], 2),
        (["a"], ["a"], ["a"], 0),
        ([], ["a"], ["a"], 1),
        ([], ["run:a"], ["run:a"], 0),
        ([], ["a"], ["run:a"], 0),
        (["build:a"], [], ["build:a"], 0),
        ([], ["a"], ["build:a"], 1),
    ],
)
def test_mixins(build: list[str], run: list[str], wanted: list[str], expected: int) -> None:
    labels = [{STACK_ID: "s", MIXINS: json.dumps(names)} for names in (build, run)]
    entries = (Stack(id="s", mixins=tuple(wanted)), Stack(id="other", mixins=("never",)))
    assert len(mixins(labels[0], labels[1], [("acme/a", entries)])) == expected


@pytest.mark.cnb("STK-02")
@pytest.mark.parametrize("text", ["{", "{}", "1", "[1]"])
def test_a_label_that_cannot_be_read_names_no_mixins(text: str) -> None:
    assert mixins({MIXINS: text}, {}, []) == ()
