"""Trials of build plans, against a slow model that says the rules of DET-14 and DET-18 to DET-25 one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.formats.plan import Alternative, DetectPlan, Provide, Require
from packrunner.lifecycle.resolve import Candidate, Resolution, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence


class Side(NamedTuple):
    """One alternative."""

    provides: tuple[str, ...]
    requires: tuple[str, ...]


class Shape(NamedTuple):
    """A member of a group: extensions are always optional (BPD-12)."""

    optional: bool
    extension: bool
    sides: tuple[Side, ...]


class Chosen(NamedTuple):
    """A member in a trial; `droppable` on the last alternative of an optional one (DET-22)."""

    number: int
    droppable: bool
    extension: bool
    side: Side


def bad(trial: Sequence[Chosen]) -> list[int]:
    """Positions of members with an unmet require or an unused provide (DET-19, DET-23)."""
    found = []
    for at, member in enumerate(trial):
        unmet = [n for n in member.side.requires if not any(n in earlier.side.provides for earlier in trial[: at + 1])]
        unused = [n for n in member.side.provides if not any(n in later.side.requires for later in trial[at:])]
        if unmet or unused:
            found.append(at)
    return found


def model_trial(trial: list[Chosen]) -> list[Chosen] | None:
    """Take out one optional member after the other, until it works or a required one is lost (DET-20, DET-21)."""
    while problems := bad(trial):
        if not all(trial[at].droppable for at in problems):
            return None
        del trial[problems[0]]
    return trial if any(not m.extension for m in trial) else None  # DET-14


def model(group: Sequence[Shape]) -> tuple[int, list[Chosen]] | None:
    """The first trial that works, by its number, and who is left; the last member's alternatives change fastest."""
    numbers = itertools.product(*[range(len(shape.sides)) for shape in group])
    for place, choice in enumerate(numbers, 1):
        trial = [
            Chosen(i, shape.optional and c == len(shape.sides) - 1, shape.extension, shape.sides[c])
            for i, (shape, c) in enumerate(zip(group, choice, strict=True))
        ]
        left = model_trial(trial)
        if left is not None:
            return place, left
    return None


def plan_of(left: Sequence[Chosen]) -> list[tuple[str, list[int], list[tuple[int, int]]]]:
    """DET-25: per name every provider and every require, names in the order in which the group mentions them."""
    names = dict.fromkeys(name for m in left for name in (*m.side.provides, *m.side.requires))
    return [
        (
            name,
            [m.number for m in left if name in m.side.provides],
            [(m.number, k) for m in left for k, required in enumerate(m.side.requires) if required == name],
        )
        for name in names
    ]


def candidate(index: int, shape: Shape) -> Candidate:
    pairs = [
        Alternative(
            provides=tuple(Provide(name=n) for n in side.provides),
            requires=tuple(Require(name=n, metadata={"by": [index, k]}) for k, n in enumerate(side.requires)),
        )
        for side in shape.sides
    ]
    plan = DetectPlan(provides=pairs[0].provides, requires=pairs[0].requires, alternatives=tuple(pairs[1:]))
    return Candidate(id=str(index), version="1", optional=shape.optional, extension=shape.extension, plan=plan)


def check(group: Sequence[Shape]) -> Resolution:
    found = resolve([candidate(i, shape) for i, shape in enumerate(group)])
    expected = model(group)
    assert not found.cut_off
    assert found.ok is (expected is not None)
    if expected is None:
        assert found.problems
        return found
    place, left = expected
    assert (found.place, [int(m.id) for m in found.members]) == (place, [m.number for m in left])
    got = [
        (e.requires[0].name, [int(p.id) for p in e.providers], [tuple(r.metadata["by"]) for r in e.requires])
        for e in found.plan.entries
    ]
    assert got == plan_of(left)
    assert all(p.extension is group[int(p.id)].extension for e in found.plan.entries for p in e.providers)
    return found


NAMES = st.sampled_from("xyz")
SIDES = st.builds(Side, st.lists(NAMES, max_size=2, unique=True).map(tuple), st.lists(NAMES, max_size=2).map(tuple))
BUILDPACKS = st.builds(Shape, st.booleans(), st.just(False), st.lists(SIDES, min_size=1, max_size=3).map(tuple))
EXTENSIONS = st.builds(Shape, st.just(True), st.just(True), st.lists(SIDES, min_size=1, max_size=2).map(tuple))
GROUPS = st.builds(
    lambda front, rest: [*front, *rest], st.lists(EXTENSIONS, max_size=2), st.lists(BUILDPACKS, max_size=5)
)

# Random names seldom fit together: here every require names what an earlier member provides, or almost.
CHAINS = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=3)),
    min_size=2,
    max_size=6,
)


@pytest.mark.cnb("DET-14", "DET-18", "DET-19", "DET-20", "DET-21", "DET-22", "DET-23", "DET-25")
@given(GROUPS)
def test_resolution_agrees_with_the_model(group: list[Shape]) -> None:
    check(group)


@pytest.mark.cnb("DET-18", "DET-19", "DET-20", "DET-21", "DET-22", "DET-23", "DET-25")
@given(CHAINS)
def test_resolution_agrees_with_the_model_on_groups_that_often_fit(
    links: list[tuple[bool, list[tuple[int, int]]]],
) -> None:
    """Member i provides `n<i>` for later ones and requires those of earlier ones; `[[or]]` varies both."""
    group = [
        Shape(
            optional,
            extension=False,
            sides=tuple(
                Side(
                    provides=(f"n{i}",) if provides and i + 1 < len(links) else (),
                    requires=tuple(f"n{j}" for j in range(max(0, i - requires), i)),
                )
                for provides, requires in pairs
            ),
        )
        for i, (optional, pairs) in enumerate(links)
    ]
    check(group)
