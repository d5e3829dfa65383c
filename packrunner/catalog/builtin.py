"""The buildpacks that come with packrunner: one directory each, its name the buildpack's short name.

Beside them `order.toml` names the groups that are tried when nobody asks for a buildpack, and `system.toml` the ones
that join every group; both as the specification has them (IMG-05, IMG-08).
"""

from __future__ import annotations

import os

NAMESPACE = "packrunner/"


def builtin_dir() -> str:
    """Where they are: beside the package in a source checkout, inside it when installed."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "_buildpacks")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "buildpacks")


def sdk_dir() -> str:
    """The authoring SDK, copied into staged buildpacks that ask for it."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "sdk")


def programs_dir() -> str:
    """The programs that go into sandboxes and images, in one directory for each architecture."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_bin")


def short_names(directory: str) -> list[str]:
    """The short names of the built-in buildpacks, sorted; nothing when the directory is not there."""
    try:
        found = os.listdir(directory)
    except OSError:
        return []
    return sorted(name for name in found if os.path.isfile(os.path.join(directory, name, "buildpack.toml")))
