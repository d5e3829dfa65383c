"""API versions meet the code here and nowhere else: a version in, named capabilities out (BPD-01, EXC-03)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import msgspec

from packrunner.errors import PlatformApiError

BUILDPACK_APIS = ("0.7", "0.8", "0.9", "0.10", "0.11", "0.12")
PLATFORM_APIS = ("0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14", "0.15")
PLATFORM_API = "0.15"
PRODUCTION = "production"
"""The execution environment where none is named."""

_VERSION = re.compile(r"(?P<major>[0-9]{1,9})(\.(?P<minor>[0-9]{1,9}))?")


@functools.cache
def parse(version: str) -> tuple[int, int]:
    """`major` or `major.minor` as numbers; (-1, -1) for anything else."""
    found = _VERSION.fullmatch(version)
    return (int(found["major"]), int(found["minor"] or 0)) if found else (-1, -1)


def supports_buildpack(version: str, supported: Iterable[str] = BUILDPACK_APIS) -> bool:
    """Whether buildpacks of this API run here (BPD-01).

    Below 1.0 only an equal version is compatible, from then on the same major with a minor that is not newer.
    """
    major, minor = parse(version)
    return (
        any(
            (major, minor) == known or (major >= 1 and major == known[0] and minor <= known[1])
            for known in map(parse, supported)
        )
        and major >= 0
    )


def highest_platform(theirs: Iterable[str], *, of: str) -> str:
    """The highest Platform API that we and `of` have (IMG-13); ours where it names none. Raises PlatformApiError."""
    named = tuple(theirs)
    known = {parse(version) for version in named}
    common = [version for version in PLATFORM_APIS if parse(version) in known]
    if named and not common:
        raise PlatformApiError(
            f"{of} and packrunner have no Platform API in common",
            slug="platform-api",
            cause=f"it supports {', '.join(named)}; packrunner supports {', '.join(PLATFORM_APIS)}",
            tries=("--builder with a newer one",),
        )
    return max(common, key=parse) if common else PLATFORM_API


def rebases_by_target(version: str) -> bool:
    """Whether an image that says it was built at this Platform API is compared by target, not by stack (RBS-07)."""
    return parse(version) >= (0, 12)


class BuildpackFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What a buildpack of some API is given, and what its files mean."""

    env_paths: bool
    """CNB_PLATFORM_DIR and its siblings are set (0.8)."""
    working_dir: bool
    """`working-dir` of a process counts (0.8)."""
    command_list: bool
    """A process's command is a list and `direct` is an error (0.9)."""
    targets: bool
    """CNB_TARGET_* are set (0.10)."""
    exec_env: bool
    """CNB_EXEC_ENV is set, exec-env lists count (0.12)."""


@functools.cache
def buildpack_features(version: str) -> BuildpackFeatures:
    """The features of a supported Buildpack API version."""
    v = parse(version)
    return BuildpackFeatures(
        env_paths=v >= (0, 8),
        working_dir=v >= (0, 8),
        command_list=v >= (0, 9),
        targets=v >= (0, 10),
        exec_env=v >= (0, 12),
    )


class PlatformFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform of some API hands over, and what it finds afterwards."""

    sboms: bool
    """SBOM files are collected and restored (0.8)."""
    source_date_epoch: bool
    """SOURCE_DATE_EPOCH is the time of the image (0.9, EXP-28)."""
    bom_files: bool
    """A legacy `[[bom]]` goes into files below <layers>/sbom, and no longer into the label (0.9, BLD-28)."""
    command_list: bool
    """A process's command is written as a list, which user arguments leave alone (0.10, BLD-15, LAU-06)."""
    launcher_sbom: bool
    """SBOMs of the lifecycle itself join those of buildpacks (0.11, EXP-11)."""
    run_toml: bool
    """Run images are listed in run.toml; in stack.toml before (0.12, IMG-07)."""
    targets: bool
    """Buildpacks are checked against the run image's target (0.12, TGT-05)."""
    history: bool
    """The image's history says what each layer is (0.12, EXP-29)."""
    run_image_kept: bool
    """An extension that chooses the run image that is chosen already changes nothing (0.12, EXT-08)."""
    layout: bool
    """Images are read from and written to OCI layouts (0.12, EXC-05)."""
    extensions_stable: bool
    """Image extensions are no experiment (0.13, EXC-05)."""
    generated_flat: bool
    """<layers>/generated/<extension>/<kind>.Dockerfile; <kind>/<extension>/Dockerfile before (0.13, EXT-06)."""
    cached_launch: bool
    """A launch layer that only the cache knows comes back (0.14, RES-13)."""
    system: bool
    """system.toml has buildpacks that join every group (0.15, BPD-11)."""
    exec_env: bool
    """Execution environments count: in detection, in labels, at launch (0.15, DET-26, EXP-27, LAU-08)."""


def platform_features(version: str) -> PlatformFeatures:
    """The features of a supported Platform API version. Raises PlatformApiError for another (EXC-03)."""
    v = parse(version)
    if v not in {parse(supported) for supported in PLATFORM_APIS}:
        raise PlatformApiError(
            f"Platform API {version[:20]} is not supported" if version else "the Platform API is not set",
            slug="platform-api",
            cause=f"packrunner supports {', '.join(PLATFORM_APIS)}",
            tries=(f"CNB_PLATFORM_API={PLATFORM_API}",),
        )
    return PlatformFeatures(
        sboms=v >= (0, 8),
        source_date_epoch=v >= (0, 9),
        bom_files=v >= (0, 9),
        command_list=v >= (0, 10),
        launcher_sbom=v >= (0, 11),
        run_toml=v >= (0, 12),
        targets=v >= (0, 12),
        history=v >= (0, 12),
        run_image_kept=v >= (0, 12),
        layout=v >= (0, 12),
        extensions_stable=v >= (0, 13),
        generated_flat=v >= (0, 13),
        cached_launch=v >= (0, 14),
        system=v >= (0, 15),
        exec_env=v >= (0, 15),
    )
