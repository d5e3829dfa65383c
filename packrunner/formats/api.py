"""API versions meet the code here and nowhere else: a version in, named capabilities out (BPD-01, EXC-03)."""

from __future__ import annotations

from dataclasses import dataclass

BUILDPACK_APIS = ("0.7", "0.8", "0.9", "0.10", "0.11", "0.12")
PLATFORM_APIS = ("0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14", "0.15")
PLATFORM_API = "0.15"


def parse(version: str) -> tuple[int, int]:
    """`major` or `major.minor` as numbers; (-1, -1) for anything else."""
    major, _, minor = version.partition(".")
    if not (major.isascii() and major.isdigit()) or (minor and not (minor.isascii() and minor.isdigit())):
        return (-1, -1)
    return (int(major), int(minor or 0))


def supports_buildpack(version: str) -> bool:
    """Whether buildpacks of this API run here; below 1.0 only an equal version is compatible (BPD-01)."""
    return parse(version) in {parse(v) for v in BUILDPACK_APIS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildpackFeatures:
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
