"""The run image of a builder: which of its names is taken, what is recorded, what does not go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from packrunner.cli.run_images import RunImages, default
from packrunner.errors import GenerateError, NetworkError, UsageError
from packrunner.formats.platform import RunTarget
from packrunner.formats.run import RunImageEntry
from packrunner.images.image import Image

if TYPE_CHECKING:
    from packrunner.catalog.builder import Builder

ENTRY = RunImageEntry(image="acme/run:1", mirrors=("ghcr.example/acme/run:1", "quay.example/run"))
OTHER = RunImageEntry(image="acme/run:2")
RELEASE = b"ID=debian\nVERSION_ID=13\n"


@dataclass
class FakeBuilder:
    """Names run images; has those of `here`, and hears nothing of those of `silent`."""

    here: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    run_images: tuple[RunImageEntry, ...] = (ENTRY, OTHER)
    reference: str = "theirs"
    target: RunTarget = RunTarget("linux", "amd64", "", "debian", "13")  # noqa: RUF009 - a tuple
    asked: list[str] = field(default_factory=list)

    def find_run_image(self, name: str) -> Image | None:
        self.asked.append(name)
        if name in self.silent:
            raise NetworkError(f"{name} did not answer", slug="registry")
        return Image() if name in self.here else None


def builder(
    *here: str, silent: tuple[str, ...] = (), run_images: tuple[RunImageEntry, ...] = (ENTRY, OTHER)
) -> Builder:
    return cast("Builder", FakeBuilder(frozenset(here), frozenset(silent), run_images))


def images(found: Builder, **here: Image) -> RunImages:
    def read(name: str) -> Image:
        if name not in here:
            raise UsageError("no", slug="unknown-image")
        return here[name]

    return RunImages(found, read, os_release=lambda: RELEASE)


@pytest.mark.cnb("RES-05")
@pytest.mark.parametrize(
    ("output", "here", "taken"),
    [
        ("shop", ("acme/run:1", "ghcr.example/acme/run:1"), "acme/run:1"),
        ("ghcr.example/me/shop", ("acme/run:1", "ghcr.example/acme/run:1"), "ghcr.example/acme/run:1"),
        ("quay.example/shop:2", ("acme/run:1", "quay.example/run"), "quay.example/run"),
        ("quay.example/shop", ("ghcr.example/acme/run:1",), "ghcr.example/acme/run:1"),
        ("elsewhere.example/shop", ("quay.example/run",), "quay.example/run"),
    ],
)
def test_the_name_on_the_outputs_registry_comes_first(output: str, here: tuple[str, ...], taken: str) -> None:
    assert default(builder(*here), output)[1] == taken


@pytest.mark.cnb("RES-05")
def test_a_registry_that_does_not_answer_is_passed_over() -> None:
    assert default(builder("quay.example/run", silent=("acme/run:1",)), "shop")[1] == "quay.example/run"
    with pytest.raises(NetworkError, match="acme/run:1 did not answer"):
        default(builder(silent=("acme/run:1", "quay.example/run")), "shop")


@pytest.mark.cnb("IMG-07")
def test_no_run_image_at_all() -> None:
    for found, said in ((builder(run_images=()), "names no run image"), (builder(), "is not here")):
        with pytest.raises(UsageError, match=said) as caught:
            default(found, "shop")
        assert caught.value.slug == "builder-run-image"
        assert "--run-image" in caught.value.tries[0]


@pytest.mark.cnb("EXP-22")
@pytest.mark.parametrize(
    ("name", "recorded", "mirrors"),
    [
        ("acme/run:1", "acme/run:1", ENTRY.mirrors),
        ("docker.io/acme/run:1", "acme/run:1", ENTRY.mirrors),
        ("quay.example/run:latest", "acme/run:1", ENTRY.mirrors),
        ("acme/run:2", "acme/run:2", ()),
        ("mine/run", "mine/run", ()),
    ],
)
def test_the_entry_is_recorded_whatever_name_was_used(name: str, recorded: str, mirrors: tuple[str, ...]) -> None:
    found = images(builder()).described(Image(), name)
    assert (found.name, found.mirrors) == (recorded, mirrors)
    assert found.reference == f"{name}@{Image().digest}"


@pytest.mark.cnb("TGT-07", "IMG-03")
def test_the_target_is_the_images_own_as_far_as_it_says_so() -> None:
    known = images(builder())
    assert known.target_of(Image(), "x") == RunTarget("linux", "amd64", "", "debian", "13")
    ubuntu = Image(labels={"io.buildpacks.base.distro.name": "ubuntu", "io.buildpacks.base.distro.version": "24.04"})
    assert known.target_of(ubuntu, "x") == RunTarget("linux", "amd64", "", "ubuntu", "24.04")
    with pytest.raises(UsageError) as caught:
        known.target_of(Image(architecture="arm64"), "x")
    assert caught.value.slug == "run-image-platform"


@pytest.mark.cnb("EXT-08")
def test_what_an_extension_chooses() -> None:
    known = images(builder("acme/run:2"), **{"mine/run": Image(architecture="arm64")})
    assert known.names == {*ENTRY.names, "acme/run:2"}
    assert known.find("acme/run:2").name == "acme/run:2"
    with pytest.raises(GenerateError) as caught:
        known.find("gone")
    assert caught.value.slug == "run-image-unreachable"
    with pytest.raises(GenerateError) as caught:
        images(builder(silent=("far",))).find("far")
    assert (caught.value.slug, caught.value.cause) == ("run-image-unreachable", "far did not answer")
    with pytest.raises(UsageError) as refused:
        known.find("mine/run")
    assert refused.value.slug == "run-image-platform"
