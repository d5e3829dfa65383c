"""Build-plan trials, by example and against a slow model that says the rules one by one."""

from __future__ import annotations

import time

import pytest

from packrunner.formats.plan import Alternative, DetectPlan, Provide, Require
from packrunner.lifecycle.resolve import Candidate, Resolution, resolve


def pair(text: str) -> Alternative:
    """`+x -y` as provides x, requires y."""
    words = text.split()
    return Alternative(
        provides=tuple(Provide(name=w[1:]) for w in words if w[0] == "+"),
        requires=tuple(Require(name=w[1:]) for w in words if w[0] == "-"),
    )


def member(name: str, *alternatives: str, optional: bool = False, extension: bool = False) -> Candidate:
    first, *others = [pair(text) for text in alternatives or ("",)]
    plan = DetectPlan(provides=first.provides, requires=first.requires, alternatives=tuple(others))
    return Candidate(id=name, version="1.0.0", optional=optional, extension=extension, plan=plan)


def names(resolution: Resolution) -> str:
    return "".join(m.id for m in resolution.members)


def why(resolution: Resolution) -> list[tuple[str, str, str]]:
    return [(p.id, p.kind, p.name) for p in resolution.problems]


def entries(resolution: Resolution) -> list[tuple[list[str], list[str]]]:
    return [([p.id for p in e.providers], [r.name for r in e.requires]) for e in resolution.plan.entries]


def test_members_without_plans_go_together() -> None:
    found = resolve([member("a"), member("b", optional=True)])
    assert (found.ok, names(found), found.plan.entries) == (True, "ab", ())


@pytest.mark.cnb("DET-19")
@pytest.mark.parametrize(
    ("order", "ok"),
    [(("+x", "-x"), True), (("-x", "+x"), False), (("+x -x",), True), (("-x +x",), True), (("+x", "+x", "-x"), True)],
)
def test_a_provide_counts_for_its_own_member_and_later_ones(order: tuple[str, ...], ok: bool) -> None:
    assert resolve([member(str(i), plan) for i, plan in enumerate(order)]).ok is ok


@pytest.mark.cnb("DET-20")
def test_a_required_member_fails_the_trial_with_its_reason() -> None:
    found = resolve([member("a", "+x")])
    assert not found.ok
    assert why(found) == [("a", "unused", "x")]
    found = resolve([member("a", "-y")])
    assert why(found) == [("a", "unmet", "y")]
    assert "requires `y`" in str(found.problems[0])


@pytest.mark.cnb("DET-18", "DET-20")
def test_the_next_alternative_is_tried_when_one_fails() -> None:
    found = resolve([member("a", "+x", "+y"), member("b", "-y")])
    assert (names(found), entries(found)) == ("ab", [(["a"], ["y"])])


@pytest.mark.cnb("DET-18")
def test_the_last_members_alternatives_change_fastest() -> None:
    """Several combinations work; the first one in depth-first order is (0, 1)."""
    first = member("a", "+x +p", "+y +q")
    last = member("b", "-x -q", "-x -p", "-y -q")
    assert entries(resolve([first, last])) == [(["a"], ["x"]), (["a"], ["p"])]


@pytest.mark.cnb("DET-21")
def test_removing_one_optional_member_cascades_to_a_fixed_point() -> None:
    found = resolve(
        [
            member("a", "+x", optional=True),
            member("b", "-x +y", optional=True),
            member("c", "-y -z", optional=True),
            member("d"),
        ]
    )
    assert names(found) == "d"
    assert [p.id for p in found.problems] == ["c", "b", "a"]


@pytest.mark.cnb("DET-22")
def test_an_optional_member_is_dropped_on_its_last_alternative_only() -> None:
    provider = member("a", "+x", optional=True)
    found = resolve([provider, member("b", "-nothing", "-x", optional=True), member("c")])
    assert names(found) == "abc"


@pytest.mark.cnb("DET-22")
def test_an_optional_member_whose_every_alternative_fails_goes() -> None:
    found = resolve([member("b", "-nothing", "-neither", optional=True), member("c")])
    assert (names(found), why(found)) == ("c", [("b", "unmet", "neither")])


@pytest.mark.cnb("DET-23")
def test_a_provide_after_the_last_require_is_unused() -> None:
    found = resolve([member("a", "+x"), member("b", "-x"), member("c", "+x")])
    assert (found.ok, why(found)) == (False, [("c", "unused", "x")])
    assert names(resolve([member("a", "+x"), member("b", "-x"), member("c", "+x", optional=True)])) == "ab"


@pytest.mark.cnb("DET-25")
def test_an_entry_lists_every_provider_and_every_require_in_a_fixed_order() -> None:
    found = resolve([member("a", "+z +x"), member("b", "+x -x"), member("c", "-x -z")])
    assert entries(found) == [(["a"], ["z"]), (["a", "b"], ["x", "x"])]


@pytest.mark.cnb("DET-25")
def test_metadata_of_requires_is_kept() -> None:
    require = Require(name="x", metadata={"version": "3.*", "launch": True})
    plan = DetectPlan(provides=(Provide(name="x"),), requires=(require,))
    found = resolve([Candidate(id="a", version="1.0.0", plan=plan)])
    assert found.plan.entries[0].requires == (require,)


@pytest.mark.cnb("DET-14")
def test_a_group_of_extensions_alone_fails() -> None:
    found = resolve([member("e", "+x", optional=True, extension=True), member("b", "-y", optional=True)])
    assert not found.ok
    assert found.problems[0].kind == "empty"
    assert not resolve([]).ok
    assert not resolve([member("e", extension=True)]).ok


@pytest.mark.cnb("DET-25")
def test_extensions_are_marked_as_providers() -> None:
    found = resolve([member("e", "+x", optional=True, extension=True), member("b", "-x")])
    assert [p.extension for p in found.plan.entries[0].providers] == [True]


def test_a_failure_names_the_dropped_provider_too() -> None:
    found = resolve([member("a", "+x -z", optional=True), member("b", "-x")])
    assert why(found) == [("b", "unmet", "x"), ("a", "unmet", "z")]


def test_combinations_that_cannot_work_are_not_tried() -> None:
    """4^30 combinations; what the first member lacks is seen before any of them."""
    many = [member(f"m{i}", *[f"+p{i}{j} -p{i}{j}" for j in range(4)]) for i in range(30)]
    found = resolve([member("a", "-nothing"), *many])
    assert not found.ok
    assert not found.cut_off
    assert found.trials == 0


def test_an_explosion_is_cut_off_and_says_so() -> None:
    """Optional providers hide from early checks that the last member cannot be met."""
    hidden = member("h", "+x -nothing", optional=True)
    many = [member(f"m{i}", "", "", "", "") for i in range(40)]
    began = time.monotonic()
    found = resolve([hidden, *many, member("z", "-x")])
    assert (found.ok, found.cut_off) == (False, True)
    assert time.monotonic() - began < 20
    assert why(found)[0] == ("z", "unmet", "x")


def test_a_small_limit_counts() -> None:
    assert resolve([member("a", "+x"), member("b", "-x")], limit=2).cut_off
