"""Expanding an order into the groups that are tried, in order."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import BuildpackApiError, UsageError
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, ExecEnvName, GroupRef, OrderGroup, Stack
from packrunner.formats.group import Order, System, SystemRefs, SystemTable
from packrunner.lifecycle.order import ExpandedGroup, expand

if TYPE_CHECKING:
    from collections.abc import Mapping

Descriptors = dict[tuple[str, str], BuildpackDescriptor]


def refs(text: str) -> tuple[GroupRef, ...]:
    """`A B? C@2`: members, `?` for optional ones."""
    found = []
    for word in text.split():
        name, _, version = word.rstrip("?").partition("@")
        found.append(GroupRef(id=name, version=version, optional=word.endswith("?")))
    return tuple(found)


def order(*groups: str, extensions: tuple[str, ...] = ()) -> Order:
    return Order(
        order=tuple(OrderGroup(group=refs(g)) for g in groups),
        order_extensions=tuple(OrderGroup(group=refs(g)) for g in extensions),
    )


def descriptors(
    names: str, *, api: str = "0.12", exec_env: tuple[str | ExecEnvName, ...] = (), **composites: tuple[str, ...]
) -> Descriptors:
    """Plain buildpacks `A B@2` (version 1 by default), and composites `O=("A B", "C")`."""
    found: Descriptors = {}
    for word in names.split():
        name, _, version = word.partition("@")
        info = BuildpackInfo(id=name, version=version or "1", exec_env=exec_env)
        found[name, version or "1"] = BuildpackDescriptor(api=api, buildpack=info)
    return found | nests(composites)


def nests(composites: Mapping[str, tuple[str, ...]]) -> Descriptors:
    """Composites by name."""
    return {
        (name, "1"): BuildpackDescriptor(
            api="0.12",
            buildpack=BuildpackInfo(id=name, version="1"),
            order=tuple(OrderGroup(group=refs(g)) for g in groups),
        )
        for name, groups in composites.items()
    }


def system(pre: str = "", post: str = "") -> System:
    return System(system=SystemTable(pre=SystemRefs(buildpacks=refs(pre)), post=SystemRefs(buildpacks=refs(post))))


def show(group: ExpandedGroup) -> str:
    return " ".join(
        m.id + (f"@{m.version}" if m.version != "1" else "") + ("?" if m.optional else "") for m in group.members
    )


@pytest.mark.cnb("BPD-06", "BPD-04")
def test_composites_are_spliced_in_place_depth_first() -> None:
    found = expand(order("E O F"), descriptors=descriptors("A B C D E F", O=("A B", "C D")))
    assert [show(g) for g in found] == ["E A B F", "E C D F"]
    nested = descriptors("A B C D", O=("P D", "B"), P=("A", "C"))
    assert [show(g) for g in expand(order("O"), descriptors=nested)] == ["A D", "C D", "B"]


@pytest.mark.cnb("BPD-07")
def test_two_composites_give_the_cross_product_right_one_fastest() -> None:
    known = descriptors("A B C D E F G H", O=("A B", "C D"), P=("E F", "G H"))
    assert [show(g) for g in expand(order("O P"), descriptors=known)] == ["A B E F", "A B G H", "C D E F", "C D G H"]


@pytest.mark.cnb("BPD-08")
def test_an_optional_composite_goes_last() -> None:
    known = descriptors("A B C", O=("A", "B"))
    assert [show(g) for g in expand(order("O? C"), descriptors=known)] == ["A C", "B C", "C"]


@pytest.mark.cnb("BPD-09")
def test_the_first_occurrence_of_an_id_counts() -> None:
    known = descriptors("A A@2 B", O=("A@2 B",))
    assert [show(g) for g in expand(order("A@1? O"), descriptors=known)] == ["A? B"]


@pytest.mark.cnb("BPD-10")
@pytest.mark.parametrize("composites", [{"A": ("B",), "B": ("A",)}, {"A": ("A",)}, {"A": ("X B",), "B": ("X", "X A")}])
def test_a_cycle_is_an_error_at_once(composites: dict[str, tuple[str, ...]]) -> None:
    known = descriptors("X Y") | nests(composites)
    began = time.monotonic()
    with pytest.raises(UsageError, match="part of itself") as caught:
        expand(order("Y", "A"), descriptors=known)
    assert time.monotonic() - began < 30
    assert caught.value.slug == "buildpack-cycle"
    assert "A@1 -> " in (caught.value.cause or "")


def test_the_same_composite_twice_is_no_cycle() -> None:
    known = descriptors("A B", O=("A",), P=("O B",))
    assert [show(g) for g in expand(order("O P"), descriptors=known)] == ["A B"]


@pytest.mark.cnb("BPD-05")
def test_an_unknown_reference_is_named_with_its_owner() -> None:
    with pytest.raises(UsageError, match="O@1 names the buildpack Z@3") as caught:
        expand(order("A", "O"), descriptors=descriptors("A", O=("A Z@3",)))
    assert caught.value.slug == "unknown-buildpack"


@pytest.mark.cnb("IMG-10")
def test_a_missing_version_means_the_only_one() -> None:
    assert [show(g) for g in expand(order("A"), descriptors=descriptors("A@2"))] == ["A@2"]
    with pytest.raises(UsageError, match="without a version, and there are 2"):
        expand(order("A"), descriptors=descriptors("A@1 A@2"))
    with pytest.raises(UsageError, match="A@3, which is not there"):
        expand(order("A@3"), descriptors=descriptors("A@1"))


@pytest.mark.cnb("BPD-02", "EXC-01")
def test_an_unsupported_api_in_the_last_group_is_found_before_anything_runs() -> None:
    known = descriptors("A") | descriptors("B", api="0.99") | descriptors("", O=("A", "B"))
    for last in ("B", "O"):
        with pytest.raises(BuildpackApiError, match=r"B needs Buildpack API 0\.99") as caught:
            expand(order("A", last), descriptors=known)
        assert caught.value.exit_code == 12
    with pytest.raises(BuildpackApiError):
        expand(order("A"), descriptors=known, system=system(post="B?"))


@pytest.mark.cnb("BPD-02")
def test_a_buildpack_that_no_group_names_may_have_any_api() -> None:
    known = descriptors("A") | descriptors("B", api="0.99")
    assert [show(g) for g in expand(order("A"), descriptors=known)] == ["A"]


@pytest.mark.cnb("BPD-11")
def test_system_buildpacks_join_both_ends_of_each_group() -> None:
    known = descriptors("A B S T")
    found = expand(order("A", "B"), descriptors=known, system=system("S?", "T"))
    assert [show(g) for g in found] == ["S? A T", "S? B T"]


@pytest.mark.cnb("BPD-11")
def test_system_buildpacks_stay_out_where_the_group_has_them() -> None:
    known = descriptors("A S S@2 T")
    found = expand(order("A S@2", "T A"), descriptors=known, system=system("S@1?", "T?"))
    assert [show(g) for g in found] == ["A S@2 T?", "S? T A"]


@pytest.mark.cnb("BPD-11")
def test_a_composites_own_member_replaces_the_systems() -> None:
    """Within a composite the id is not in the group's text, but it is in the group."""
    known = descriptors("A S T", O=("A S", "A"))
    found = expand(order("O"), descriptors=known, system=system("S?", "T?"))
    assert [show(g) for g in found] == ["A S T?", "S? A T?"]


@pytest.mark.cnb("BPD-12")
def test_extension_orders_come_first_and_are_optional() -> None:
    known = descriptors("A S")
    found = expand(
        order("A", extensions=("E F", "G")),
        descriptors=known,
        extensions=descriptors("E F G"),
        system=system("S?"),
    )
    assert [show(g) for g in found] == ["E? F? S? A", "G? S? A", "S? A"]


@pytest.mark.cnb("BPD-12")
def test_an_extension_has_no_order() -> None:
    with pytest.raises(UsageError) as caught:
        expand(
            order("A", extensions=("E",)),
            descriptors=descriptors("A"),
            extensions=descriptors("F", E=("F",)),
        )
    assert caught.value.slug == "extension-order"


@pytest.mark.cnb("BPD-12", "BPD-09")
def test_an_extension_and_a_buildpack_may_share_an_id() -> None:
    found = expand(order("A", extensions=("A",)), descriptors=descriptors("A"), extensions=descriptors("A"))
    assert [show(g) for g in found] == ["A? A", "A"]


@pytest.mark.cnb("BPD-13", "DET-26")
@pytest.mark.parametrize("listed", [("test", "ci"), (ExecEnvName(name="test"), ExecEnvName(name="ci"))])
def test_a_buildpack_for_other_environments_is_skipped(listed: tuple[str | ExecEnvName, ...]) -> None:
    known = descriptors("A") | descriptors("B", exec_env=listed)
    (production,) = expand(order("A B"), descriptors=known)
    assert (show(production), [s.id for s in production.skipped]) == ("A", ["B"])
    assert "test, ci" in production.skipped[0].why
    (test,) = expand(order("A B"), descriptors=known, exec_env="test")
    assert (show(test), test.skipped) == ("A B", ())


@pytest.mark.cnb("BPD-13", "DET-26")
def test_a_star_means_all_and_older_apis_have_no_list() -> None:
    known = descriptors("A", exec_env=("*",)) | descriptors("B", exec_env=("test",), api="0.11")
    assert [show(g) for g in expand(order("A B"), descriptors=known)] == ["A B"]


@pytest.mark.cnb("BPD-14")
def test_a_reference_may_be_for_some_environments() -> None:
    group = OrderGroup(group=(GroupRef(id="A", version="1"), GroupRef(id="O", version="1", exec_env=("test",))))
    known = descriptors("A B", O=("B",))
    assert [show(g) for g in expand(Order(order=(group,)), descriptors=known)] == ["A"]
    assert [show(g) for g in expand(Order(order=(group,)), descriptors=known, exec_env="test")] == ["A B"]


def test_a_group_can_be_left_empty() -> None:
    (only,) = expand(order("A"), descriptors=descriptors("A", exec_env=("test",)))
    assert (only.members, [s.id for s in only.skipped]) == ((), ["A"])


def test_a_huge_cross_product_costs_what_is_taken_of_it() -> None:
    known = descriptors("A B")
    for i in range(40):
        known |= descriptors(f"p{i} q{i}") | nests({f"O{i}": (f"p{i}", f"q{i}")})
    began = time.monotonic()
    found = list(itertools.islice(expand(order(" ".join(f"O{i}" for i in range(40))), descriptors=known), 100))
    assert (len(found), len({show(g) for g in found})) == (100, 100)
    assert time.monotonic() - began < 30


def test_deep_nesting_is_no_problem() -> None:
    known = descriptors("A", O2000=("A",)) | nests({f"O{i}": (f"O{i + 1}",) for i in range(2000)})
    assert [show(g) for g in expand(order("O0"), descriptors=known)] == ["A"]


def test_200_groups_of_500_buildpacks_are_expanded_quickly() -> None:
    known = descriptors(" ".join(f"b{i}" for i in range(500)))
    groups = [" ".join(f"b{(i * 7 + j) % 500}" for j in range(5)) for i in range(200)]
    began = time.monotonic()
    assert sum(len(g.members) for g in expand(order(*groups), descriptors=known)) == 1000
    assert time.monotonic() - began < 30


def test_stacks_do_not_make_a_composite() -> None:
    info = BuildpackInfo(id="A", version="1")
    known = {("A", "1"): BuildpackDescriptor(api="0.7", buildpack=info, stacks=(Stack(id="*"),))}
    assert [show(g) for g in expand(order("A"), descriptors=known)] == ["A"]
