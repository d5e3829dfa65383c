"""Run with `pytest`; README.md says with which options breakpoints hold, and how to test in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packrunner.testing import Buildpack


def test_declines_what_is_not_for_it(buildpack: Buildpack) -> None:
    found = buildpack.detect()
    assert not found.passed
    assert found.reason == "needs hello.txt"


def test_builds_the_fixture(buildpack: Buildpack) -> None:
    buildpack.use("fixture")
    assert buildpack.detect().provides == ("hello",)
    built = buildpack.build()
    assert built.processes["hello"].command == ("greet",)
    assert built.default == "hello"
    assert built.layers["greeter"].files == ("bin/greet", "env.launch/GREETING.override")
    assert built.env_at_launch()["GREETING"] == "Hello, world!"


def test_reuses_its_layer_until_the_greeting_changes(buildpack: Buildpack) -> None:
    buildpack.use("fixture")
    buildpack.build()
    assert buildpack.build().layers["greeter"].reused
    buildpack.write("hello.txt", "Good morning!\n")
    again = buildpack.build()
    assert not again.layers["greeter"].reused
    assert again.env_at_launch()["GREETING"] == "Good morning!"


def test_says_what_is_wrong(buildpack: Buildpack) -> None:
    buildpack.write("hello.txt", "\n")
    failure = buildpack.fail()
    assert failure.brief == "found no greeting"
    assert failure.at == "hello.txt:1"
