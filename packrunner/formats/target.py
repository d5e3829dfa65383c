"""What `--target` takes, as with pack: a platform, and the distributions on it."""

from __future__ import annotations

import msgspec

from packrunner.errors import UsageError
from packrunner.formats.buildpack import Distro, Target


def read(text: str) -> Target:
    """`OS/ARCH/VARIANT:DISTRO@VERSION;DISTRO@VERSION`, all but the first part optional. Raises UsageError."""
    place, _, distros = text.partition(":")
    parts = [*place.split("/"), "", ""]
    named = [one.partition("@") for one in distros.split(";") if one]
    words = [*filter(None, parts), *(word for name, _, number in named for word in (name, *filter(None, [number])))]
    if len(parts) > 5 or not parts[0] or not all(one[0] for one in named) or not all(map(_is_word, words)):
        raise UsageError(
            f"{text!r} is not a target",
            slug="usage",
            cause="it has to be OS/ARCH, maybe with /VARIANT and :DISTRO@VERSION",
            tries=("--target linux/arm64", "--target linux/amd64:debian@13"),
        )
    return Target(
        os=parts[0],
        arch=parts[1],
        variant=parts[2],
        distros=tuple(Distro(name=name, version=number) for name, _, number in named),
    )


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace(".", "").replace("_", "").isalnum()


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made for; `distro` is Distro() for any distribution."""

    os: str = "linux"
    architecture: str
    variant: str = ""
    distro: Distro = Distro()

    @property
    def name(self) -> str:
        """OS/ARCH/VARIANT: what tells images under one name apart."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def folder(self) -> str:
        """The directory that a source for several platforms has for it: linux/amd64/debian@13."""
        return "/".join(filter(None, (self.name, spelt(self.distro))))

    def __str__(self) -> str:
        """As `--target` takes it."""
        return ":".join(filter(None, (self.name, spelt(self.distro))))


def spelt(distro: Distro) -> str:
    """`debian@13`."""
    return "@".join(filter(None, (distro.name, distro.version)))


def same_distro(one: Distro, other: Distro) -> bool:
    """Whether two can be one: what is not said can be any (TGT-01)."""
    pairs = ((one.name, other.name), (one.version, other.version))
    return all(not mine or not theirs or mine == theirs for mine, theirs in pairs)


def written(one: Target) -> str:
    """A target of a descriptor as `--target` takes it."""
    place = "/".join(filter(None, (one.os, one.arch, one.variant or one.arch_variant)))
    return ":".join(filter(None, (place, ";".join(map(spelt, one.distros)))))


def platforms(text: str) -> tuple[Platform, ...]:
    """The platforms of a target, one for each distribution. Raises UsageError."""
    found = read(text)
    if not found.arch:
        raise UsageError(
            f"{text!r} is not a platform",
            slug="usage",
            cause="it has to be OS/ARCH or OS/ARCH/VARIANT, maybe with :DISTRO@VERSION",
            tries=("--target linux/arm64",),
        )
    if found.os != "linux":
        raise UsageError(
            f"images are made for linux, not for {found.os}", slug="usage", tries=("--target linux/amd64",)
        )
    return tuple(
        Platform(os=found.os, architecture=found.arch, variant=found.variant, distro=distro)
        for distro in found.distros or (Distro(),)
    )
