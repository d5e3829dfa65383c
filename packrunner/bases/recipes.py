"""What is in each image, as data: the suites that are known, the packages asked for, and the edges that are cut.

A recipe asks for few packages and takes what they depend on, except for `exclude`: a dependency upon one of
those names is dropped. What a run image needs none of (debconf's questions, openssl's command line, dpkg) is cut
that way. Recommended packages are never taken.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from packrunner.errors import UsageError

Variant = Literal["static", "base", "python"]
ImageName = Literal["build", "static", "base", "python"]

VARIANTS: tuple[Variant, ...] = get_args(Variant)
DEFAULT_REFERENCE = "debian:13"
DEFAULT_VARIANT: Variant = "python"

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Raise it whenever the same packages would be made into another tree: unpacking, fix-ups, byte-compiling.
FORMAT = 1


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A Debian release: `version` as people say it, `codename` as the archive names it."""

    version: str
    codename: str

    @property
    def reference(self) -> str:
        """The one spelling used in names, files and messages."""
        return f"debian:{self.version}"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Clauses to satisfy, written as in a Depends field; `essential` adds every package marked so."""

    packages: tuple[str, ...]
    essential: bool = False
    exclude: frozenset[str] = frozenset()


SUITES = (Suite(version="13", codename="trixie"), Suite(version="12", codename="bookworm"))

_FILES = ("base-files", "netbase", "tzdata", "ca-certificates")
# Configured by none of our images: debconf asks nobody, openssl's program only hashes certificates at install time.
_UNCONFIGURED = frozenset({"openssl", "debconf", "debconf-2.0", "awk"})
_LIBC = (*_FILES, "libc6", "libssl3t64 | libssl3", "bash", "dash", "coreutils")
_LIBC_CUT = _UNCONFIGURED | {"openssl-provider-legacy", "dpkg", "tar"}

RECIPES: dict[str, Recipe] = {
    "build": Recipe(
        packages=(
            *_FILES,
            "bash",
            "coreutils",
            "python3",
            "python3-venv",
            "python3-pip",
            "python3-dev",
            "git",
            "curl",
            "tar",
            "gzip",
            "xz-utils",
            "gcc",
            "g++",
            "make",
            "libc6-dev",
            "pkg-config",
        ),
        essential=True,
        # Documentation; and git's Perl programs (send-email, svn), for which the whole of Perl would come.
        exclude=frozenset({"debconf", "debconf-2.0", "git-man", "perl", "liberror-perl", "libjs-sphinxdoc"}),
    ),
    "static": Recipe(packages=(*_FILES, "media-types"), exclude=_UNCONFIGURED),
    "base": Recipe(packages=_LIBC, exclude=_LIBC_CUT),
    "python": Recipe(packages=(*_LIBC, "python3"), exclude=_LIBC_CUT),
}


def image_name(suite: Suite, variant: Variant) -> str:
    """The name of a run image in the local store; no registry can have it."""
    return f"localhost/packrunner/debian:{suite.version}-{variant}"


def parse_image_name(name: str) -> tuple[Suite, Variant] | None:
    """Which base's image a name in the local store is; None for a name that packrunner gave to no base."""
    for suite in SUITES:
        for variant in VARIANTS:
            if name == image_name(suite, variant):
                return suite, variant
    return None


def is_image_name(name: str) -> bool:
    """Whether a name in the local store is a base's, made by packrunner and made again when needed."""
    return name.startswith("localhost/packrunner/")


def parse_reference(text: str) -> Suite:
    """The suite that `debian`, `debian:13` or `debian:trixie` names. Raises UsageError, slug `unknown-builder`."""
    distribution, _, name = text.partition(":")
    if distribution == "debian":
        for suite in SUITES:
            if name in {suite.version, suite.codename} or (":" not in text and suite is SUITES[0]):
                return suite
    raise unknown_builder(text)


def is_recipe(text: str) -> bool:
    """Whether a builder is one of ours by its name; all others are images."""
    return text.partition(":")[0] == "debian"


def unknown_builder(text: str, why: str = "") -> UsageError:
    """The error for a builder that is neither a recipe nor an image."""
    known = ", ".join(f"{suite.reference} (or debian:{suite.codename})" for suite in SUITES)
    return UsageError(
        f"no builder is named {text!r}",
        slug="unknown-builder",
        cause=f"{why}; known without an image are {known}" if why else f"known are {known}",
        tries=(f"packrunner build --builder {DEFAULT_REFERENCE}",),
    )
