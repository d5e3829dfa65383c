"""The expansion of orders, against a slow recursive model of BPD-06 to BPD-09, BPD-11, BPD-12 and BPD-14."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, GroupRef, OrderGroup
from packrunner.formats.group import Order, System, SystemRefs, SystemTable
from packrunner.lifecycle.order import expand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEAVES = "ABCD"
COMPOSITES = 3
ENV = "test"
MOST = 300
"""Groups that are compared: a small order may multiply to thousands."""

Groups = list[list[GroupRef]]


class Found(NamedTuple):
    """A member of an expanded group."""

    id: str
    version: str
    optional: bool
    extension: bool
    system: bool


def model(
    order: Groups, front: Groups, pre: Sequence[GroupRef], post: Sequence[GroupRef], nested: Mapping[str, Groups]
) -> Iterator[list[Found]]:
    for group in order:
        named = {ref.id for ref in group}
        own = [(ref, False, False) for ref in group]
        around = [(ref, False, True) for ref in pre if ref.id not in named]
        behind = [(ref, False, True) for ref in post if ref.id not in named]
        for extensions in [*front, []] if front else [[]]:
            before = [(ref, True, False) for ref in extensions]
            for members in spliced([*before, *around, *own, *behind], nested):
                yield unique(members)


def spliced(items: list[tuple[GroupRef, bool, bool]], nested: Mapping[str, Groups]) -> Iterator[list[Found]]:
    """Composites replaced, left to right, depth first; an optional one goes when all its groups are used up."""
    if not items:
        yield []
        return
    (ref, extension, system), rest = items[0], items[1:]
    if ref.exec_env and ENV not in ref.exec_env and "*" not in ref.exec_env:
        yield from spliced(rest, nested)
    elif ref.id in nested and not extension:
        for group in nested[ref.id]:
            yield from spliced([*((inner, False, system) for inner in group), *rest], nested)
        if ref.optional:
            yield from spliced(rest, nested)
    else:
        member = Found(ref.id, ref.version, ref.optional or extension, extension, system)
        for tail in spliced(rest, nested):
            yield [member, *tail]


def unique(members: list[Found]) -> list[Found]:
    """The first of one id counts; but what the group itself brings counts before what the system does."""
    kept = []
    for at, member in enumerate(members):
        same = [(i, m) for i, m in enumerate(members) if (m.id, m.extension) == (member.id, member.extension)]
        own = [i for i, m in same if not m.system]
        if at == (own[0] if own else same[0][0]):
            kept.append(member)
    return kept


def references(ids: Sequence[str], *, versions: bool = True) -> st.SearchStrategy[GroupRef]:
    return st.builds(
        lambda identity, version, optional, envs: GroupRef(
            id=identity,
            version=version if versions and identity in LEAVES else "1",
            optional=optional,
            exec_env=envs,
        ),
        st.sampled_from(ids),
        st.sampled_from(["1", "2"]),
        st.booleans(),
        st.sampled_from([(), (), (), ("test",), ("production",), ("*",)]),
    )


def groups(ids: Sequence[str], *, most: int = 3) -> st.SearchStrategy[Groups]:
    return st.lists(st.lists(references(ids), min_size=1, max_size=3), min_size=1, max_size=most)


NAMES = [f"O{i}" for i in range(COMPOSITES)]
NESTED = st.fixed_dictionaries({name: groups([*LEAVES, *NAMES[i + 1 :]], most=2) for i, name in enumerate(NAMES)})
SYSTEM = st.lists(references([*LEAVES, "O2"]), max_size=2)
FRONT = st.lists(st.lists(references(["A", "E", "F"], versions=False), min_size=1, max_size=2), max_size=2)


def descriptor(identity: str, version: str, order: Groups) -> BuildpackDescriptor:
    info = BuildpackInfo(id=identity, version=version)
    return BuildpackDescriptor(api="0.12", buildpack=info, order=frozen(order))


def frozen(order: Groups) -> tuple[OrderGroup, ...]:
    return tuple(OrderGroup(group=tuple(group)) for group in order)


@pytest.mark.cnb("BPD-04", "BPD-06", "BPD-07", "BPD-08", "BPD-09", "BPD-11", "BPD-12", "BPD-14")
@given(groups([*LEAVES, *NAMES]), FRONT, SYSTEM, SYSTEM, NESTED)
def test_expansion_agrees_with_the_model(
    order: Groups, front: Groups, pre: list[GroupRef], post: list[GroupRef], nested: dict[str, Groups]
) -> None:
    known = {(leaf, version): descriptor(leaf, version, []) for leaf in LEAVES for version in "12"}
    known |= {(name, "1"): descriptor(name, "1", inner) for name, inner in nested.items()}
    found = expand(
        Order(order=frozen(order), order_extensions=frozen(front)),
        descriptors=known,
        system=System(
            system=SystemTable(pre=SystemRefs(buildpacks=tuple(pre)), post=SystemRefs(buildpacks=tuple(post)))
        ),
        extensions={(name, "1"): descriptor(name, "1", []) for name in "AEF"},
        exec_env=ENV,
    )
    got = [
        [Found(m.id, m.version, m.optional, m.extension, m.system) for m in group.members]
        for group in itertools.islice(found, MOST)
    ]
    assert got == list(itertools.islice(model(order, front, pre, post, nested), MOST))
