"""The resolver, with plain values."""

from __future__ import annotations

from typing import Any

import pytest

from packrunner.bases.packages import Package, Relation, Universe, compare_versions, newest_first, parse_clauses
from packrunner.bases.recipes import Recipe
from packrunner.bases.resolve import resolve
from packrunner.errors import CorruptError, NetworkError


def package(
    name: str, version: str = "1", *, depends: str = "", provides: str = "", conflicts: str = "", **rest: Any
) -> Package:
    def flat(text: str) -> tuple[Relation, ...]:
        return tuple(relation for clause in parse_clauses(text) for relation in clause)

    return Package(
        name=name,
        version=version,
        depends=parse_clauses(depends),
        provides=flat(provides),
        conflicts=flat(conflicts),
        **rest,
    )


def names(recipe: Recipe, *packages: Package) -> list[str]:
    universe = Universe()
    universe.add(*packages)
    return [chosen.name for chosen in resolve(recipe, universe)]


def test_dependencies_come_along() -> None:
    found = names(
        Recipe(packages=("a",)),
        package("a", depends="b (>= 1), c:any"),
        package("b", "2", depends="d"),
        package("c"),
        package("d"),
        package("e"),
    )
    assert found == ["a", "b", "c", "d"]


def test_alternatives_wait_until_the_rest_is_settled() -> None:
    recipe = Recipe(packages=("a", "z"))
    found = names(recipe, package("a", depends="x | y"), package("z", depends="y"), package("x"), package("y"))
    assert found == ["a", "y", "z"]


def test_the_first_alternative_that_exists_is_taken() -> None:
    assert names(Recipe(packages=("gone | b | a",)), package("a"), package("b")) == ["b"]


def test_the_newest_version_is_meant() -> None:
    universe = Universe()
    universe.add(package("a", "1:1.0~rc1"), package("a", "1:1.0"), package("a", "9"))
    assert [chosen.version for chosen in resolve(Recipe(packages=("a",)), universe)] == ["1:1.0"]


def test_providers_are_ranked_by_priority_then_name() -> None:
    gawk, mawk = package("gawk", provides="awk"), package("mawk", provides="awk", priority="required")
    assert names(Recipe(packages=("awk",)), gawk, mawk) == ["mawk"]
    assert names(Recipe(packages=("awk",)), gawk, package("bawk", provides="awk")) == ["bawk"]


def test_a_provider_that_is_chosen_anyway_satisfies() -> None:
    found = names(
        Recipe(packages=("awk", "gawk")),
        package("gawk", provides="awk"),
        package("mawk", provides="awk", priority="required"),
    )
    assert found == ["gawk"]


@pytest.mark.parametrize(("provides", "fits"), [("v (= 2)", True), ("v (= 1)", False), ("v", False)])
def test_versioned_provides(provides: str, fits: bool) -> None:
    packages = package("a", depends="v (>= 2)"), package("p", provides=provides)
    if fits:
        assert names(Recipe(packages=("a",)), *packages) == ["a", "p"]
        return
    with pytest.raises(NetworkError):
        names(Recipe(packages=("a",)), *packages)


def test_excluded_names_are_cut_edges() -> None:
    recipe = Recipe(packages=("a",), exclude=frozenset({"debconf", "debconf-2.0"}))
    assert names(recipe, package("a", depends="debconf (>= 1) | debconf-2.0, b"), package("b"), package("debconf")) == [
        "a",
        "b",
    ]


def test_essential_packages_only_where_asked_for() -> None:
    packages = package("a"), package("sh", essential=True, depends="libc"), package("libc")
    assert names(Recipe(packages=("a",)), *packages) == ["a"]
    assert names(Recipe(packages=("a",), essential=True), *packages) == ["a", "libc", "sh"]


@pytest.mark.parametrize("other", [package("b", "1"), package("c", provides="b")])
def test_conflicts_are_loud(other: Package) -> None:
    with pytest.raises(NetworkError, match="do not fit together") as caught:
        names(Recipe(packages=("a", other.name)), package("a", conflicts="b"), other)
    assert (caught.value.slug, caught.value.transient) == ("base-unresolvable", True)
    assert "conflicts with" in str(caught.value.cause)


def test_a_conflict_with_another_version_or_with_oneself_is_none() -> None:
    found = names(Recipe(packages=("a", "b")), package("a", provides="v", conflicts="b (<< 2), v"), package("b", "2"))
    assert found == ["a", "b"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NetworkError) as caught:
        names(Recipe(packages=("a",)), package("a", depends="b (>= 2) | c"), package("b", "1"))
    assert caught.value.cause == "a needs b (>= 2) | c, which the package lists do not have"


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("1", "1", 0),
        ("1.0-1", "1.0-1+b1", -1),
        ("1~rc1", "1", -1),
        ("1:0", "2", 1),
        ("2.10", "2.9", 1),
        ("1.0", "1.0-0", 0),
    ],
)
def test_debian_order_of_versions(left: str, right: str, order: int) -> None:
    assert compare_versions(left, right) == order
    assert compare_versions(right, left) == -order


def test_newest_first_keeps_the_order_of_equals() -> None:
    first, second = package("a", "1", path="x"), package("a", "1", path="y")
    assert newest_first([first, package("a", "2"), second])[1:] == [first, second]


STANZA = """Package: gawk
Version: 1:5.2
Architecture: amd64
Provides: awk, other (= 3)
Depends: libc6 (>= 2.38), a:any | b [amd64]
Description: text
 Package: not-a-field
Filename: pool/main/g/gawk/gawk_5.2_amd64.deb
Size: 12
SHA256: {sha256}
""".format(sha256="a" * 64)


def test_a_package_list_is_read() -> None:
    universe = Universe()
    universe.add_list((STANZA + "\n" + STANZA.replace("1:5.2", "1:5.3")).encode(), "security")
    found = universe.newest("gawk")
    assert found
    assert (found.version, found.size, found.archive) == ("1:5.3", 12, "security")
    assert found.depends[1] == (Relation("a"), Relation("b"))
    assert [provider.name for provider in universe.providers("awk")] == ["gawk"]
    assert universe.newest("not-a-field") is None


def newest(name: str, text: str) -> Package | None:
    universe = Universe()
    universe.add_list(text.encode(), "main")
    return universe.newest(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pool/main", "../../etc"),
        ("pool/main/g", "pool/../g"),
        ("Size: 12", "Size: -1"),
        ("a" * 64, "../x"),
        ("libc6 (>= 2.38)", "libc6 (>= "),
        ("Package: gawk", "Nothing: gawk"),
    ],
)
@pytest.mark.fault("ARC-30")
def test_a_damaged_list_is_refused(old: str, new: str) -> None:
    with pytest.raises(CorruptError) as caught:
        newest("gawk", STANZA.replace(old, new))
    assert caught.value.slug == "debian-index"
