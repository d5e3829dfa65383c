"""Where a buildpack says it runs, against what the base is."""

from __future__ import annotations

import pytest

from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo, Distro, Stack, Target, read
from packrunner.formats.platform import RunTarget, fill_distro
from packrunner.lifecycle.targets import declared, describe, matches

AMD = RunTarget("linux", "amd64", "", "debian", "13")
ARM = RunTarget("linux", "arm64", "v8", "debian", "13")
BARE = RunTarget("linux", "amd64")
DEBIAN = Target(os="linux", arch="amd64", distros=(Distro(name="ubuntu"), Distro(name="debian", version="13")))


def descriptor(*targets: Target, stacks: tuple[str, ...] = ()) -> BuildpackDescriptor:
    return BuildpackDescriptor(
        api="0.10",
        buildpack=BuildpackInfo(id="a", version="1.0.0"),
        targets=targets,
        stacks=tuple(Stack(id=s) for s in stacks),
    )


@pytest.mark.cnb("TGT-01")
@pytest.mark.parametrize(
    ("target", "base", "fits"),
    [
        (Target(), AMD, True),
        (Target(os="linux"), ARM, True),
        (Target(os="windows"), AMD, False),
        (Target(os="linux", arch="arm64"), AMD, False),
        (Target(os="linux", arch="arm64"), RunTarget("linux", ""), True),
        (Target(os="linux", arch="arm64", variant="v8"), ARM, True),
        (Target(os="linux", arch="arm64", variant="v7"), ARM, False),
        (Target(os="linux", arch="arm64", variant="v7"), RunTarget("linux", "arm64"), True),
        (DEBIAN, AMD, True),
        (DEBIAN, AMD._replace(distro_version="12"), False),
        (DEBIAN, AMD._replace(distro_version=""), True),
        (DEBIAN, AMD._replace(distro_name="ubuntu", distro_version="24.04"), True),
        (DEBIAN, AMD._replace(distro_name="alpine"), False),
        (DEBIAN, BARE, False),
        (Target(distros=(Distro(),)), AMD, True),
        (Target(distros=(Distro(),)), BARE, False),
    ],
)
def test_truth_table(target: Target, base: RunTarget, fits: bool) -> None:
    assert matches((target,), base) is fits


@pytest.mark.cnb("TGT-01")
def test_one_of_several_is_enough_and_none_is_not() -> None:
    assert matches((Target(os="windows"), Target(os="linux")), AMD)
    assert not matches((), AMD)


@pytest.mark.cnb("TGT-02")
@pytest.mark.parametrize("key", ["variant", "arch-variant"])
def test_both_spellings_of_variant(key: str) -> None:
    text = f'api = "0.10"\n[buildpack]\nid = "a"\n[[targets]]\nos = "linux"\narch = "arm64"\n{key} = "v7"\n'
    targets = declared(read(text.encode(), where="buildpack.toml"))
    assert not matches(targets, ARM)
    assert matches(targets, ARM._replace(variant="v7"))


@pytest.mark.cnb("TGT-03")
def test_programs_imply_the_system() -> None:
    assert matches(declared(descriptor()), ARM)
    assert not matches(declared(descriptor(), {"build.exe", "detect.exe"}), ARM)
    assert not matches(declared(descriptor(), {"build.bat", "build"}), ARM)
    assert declared(descriptor(), set()) == ()


@pytest.mark.cnb("TGT-04", "STK-03")
def test_stacks_become_targets() -> None:
    assert matches(declared(descriptor(stacks=("*",))), RunTarget("windows", "amd64"))
    bionic = declared(descriptor(stacks=("io.buildpacks.stacks.bionic",)))
    assert matches(bionic, RunTarget("linux", "amd64", "", "ubuntu", "18.04"))
    assert not matches(bionic, AMD)
    assert declared(descriptor(stacks=("com.example.other",))) == (Target(os="linux"),)
    assert declared(descriptor(DEBIAN, stacks=("*",))) == (DEBIAN,)


@pytest.mark.cnb("TGT-07")
@pytest.mark.parametrize("text", [b'ID=debian\nVERSION_ID="13"\n', b"# x\nNAME=y\nID='debian'\r\nVERSION_ID=13"])
def test_os_release_fills_what_is_missing(text: bytes) -> None:
    assert fill_distro(BARE, text) == AMD
    assert fill_distro(BARE._replace(distro_name="ubuntu", distro_version="1"), text)[3:] == ("ubuntu", "1")
    assert fill_distro(BARE, b'\xff\nID="\n') == BARE


def test_descriptions_are_for_people() -> None:
    assert str(AMD) == "linux/amd64 debian 13"
    assert describe((DEBIAN,)) == "linux/amd64 ubuntu or debian 13"
    assert describe(()) == "no target"
