"""A buildpack whose whole program stands in project.toml (PRJ-06): written as a directory, then staged like any other.

<stage dir>/inline/<digest>/
  buildpack.toml   bin/detect   bin/build
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from packrunner.catalog.check import read_descriptor
from packrunner.catalog.tree import make_directory, make_once
from packrunner.disk import write_atomic
from packrunner.errors import UsageError
from packrunner.formats import toml

if TYPE_CHECKING:
    from packrunner.catalog.wanted import Wanted

DIRECTORY = "inline"


def write(stage_dir: str, wanted: Wanted) -> str:
    """The directory of the buildpack. Raises UsageError (`buildpack-descriptor`) and BuildpackApiError."""
    identity, _, version = wanted.text.partition("@")
    files = {
        "buildpack.toml": toml.encode({"api": wanted.api, "buildpack": {"id": identity, "version": version}}),
        # An empty program of whatever interpreter it is ends well, and the build image may have no other.
        "bin/detect": f"#!{wanted.shell}\n".encode(),
        "bin/build": f"#!{wanted.shell}\n{wanted.inline}\n".encode(),
    }
    name = hashlib.sha256(b"\0".join(files.values())).hexdigest()
    place = os.path.join(stage_dir, DIRECTORY, name)
    make_once(place, lambda tree: _fill(tree, files))
    try:
        read_descriptor(place, shown=place)
    except UsageError as error:
        error.at = f"project.toml, the script of {wanted.text}"
        raise
    return place


def _fill(tree: str, files: dict[str, bytes]) -> None:
    make_directory(os.path.join(tree, "bin"))
    for path, data in files.items():
        write_atomic(os.path.join(tree, path), data, mode=0o644)
