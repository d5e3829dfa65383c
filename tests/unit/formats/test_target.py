"""What `--target` takes: platforms and distributions as pack writes them, and what they are called again."""

from __future__ import annotations

import pytest

from packrunner.cli.package_wish import platforms
from packrunner.errors import UsageError
from packrunner.formats import target
from packrunner.formats.buildpack import Distro, Target


@pytest.mark.cnb("TGT-01")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux", Target(os="linux")),
        ("linux/amd64", Target(os="linux", arch="amd64")),
        ("linux/arm64/v8", Target(os="linux", arch="arm64", variant="v8")),
        (
            "linux/amd64:debian@13;ubuntu@24.04;alpine",
            Target(
                os="linux",
                arch="amd64",
                distros=(
                    Distro(name="debian", version="13"),
                    Distro(name="ubuntu", version="24.04"),
                    Distro(name="alpine"),
                ),
            ),
        ),
    ],
)
def test_a_target_is_read_and_written_again(text: str, expected: Target) -> None:
    assert target.read(text) == expected
    assert target.written(expected) == text


@pytest.mark.parametrize(
    "text",
    ["", ":debian@13", "linux/amd64/v8/x", "linux/amd64:@13", "linux/../x", "linux/amd64:de/b@13", "linux/amd64:a@b@c"],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a target"):
        target.read(text)


def test_each_distribution_makes_a_platform() -> None:
    found = target.platforms("linux/arm64/v8:debian@13;debian@12")
    assert [one.folder for one in found] == ["linux/arm64/v8/debian@13", "linux/arm64/v8/debian@12"]
    assert [str(one) for one in found] == ["linux/arm64/v8:debian@13", "linux/arm64/v8:debian@12"]
    assert {one.name for one in found} == {"linux/arm64/v8"}
    assert [one.folder for one in target.platforms("linux/amd64")] == ["linux/amd64"]


@pytest.mark.parametrize(("text", "why"), [("linux", "is not a platform"), ("windows/amd64", "for linux, not for")])
def test_an_image_is_for_a_whole_platform(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        target.platforms(text)


def test_under_one_name_a_platform_is_there_once() -> None:
    both = ("linux/amd64:debian@13;debian@12",)
    assert len(platforms(both, apart=True)) == 2
    with pytest.raises(UsageError, match="one image for each platform") as caught:
        platforms(both)
    assert caught.value.tries == ("--target linux/amd64:debian@13, and another name for each further distribution",)
    with pytest.raises(UsageError, match="twice"):
        platforms(("linux/amd64", "linux/amd64"))
    with pytest.raises(UsageError, match="twice"):
        platforms(("linux/amd64:debian@13", "linux/amd64:debian@13"), apart=True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("debian@13", "debian@13", True),
        ("debian", "debian@13", True),
        ("debian@12", "debian@13", False),
        ("ubuntu@13", "debian@13", False),
        ("debian@13", "", True),
    ],
)
def test_distributions_that_can_be_one(one: str, other: str, *, same: bool) -> None:
    def distro(text: str) -> Distro:
        name, _, version = text.partition("@")
        return Distro(name=name, version=version)

    assert target.same_distro(distro(one), distro(other)) is same
