"""A buildpack whose whole program stands in project.toml (PRJ-06): written as a directory, then staged like any other.

<stage dir>/inline/<digest>/
  buildpack.toml   bin/detect   bin/build
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

from packrunner.catalog.check import read_descriptor
from packrunner.catalog.tree import make_directory
from packrunner.disk import disk_error, write_atomic
from packrunner.errors import UsageError
from packrunner.formats import toml

if TYPE_CHECKING:
    from packrunner.catalog.wanted import Wanted

DIRECTORY = "inline"
_DAY = 86400


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
    try:
        if not os.path.isdir(place):
            _make(place, files)
        elif time.time() - os.stat(place).st_mtime > _DAY:
            os.utime(place)  # prune goes by this; more often, and the tree would look changed
    except OSError as error:
        raise disk_error(error, place) from error
    try:
        read_descriptor(place, shown=place)
    except UsageError as error:
        error.at = f"project.toml, the script of {wanted.text}"
        raise
    return place


def _make(place: str, files: dict[str, bytes]) -> None:
    """Make it beside and move it into place: of two builds that do this at once, one wins."""
    above = os.path.dirname(place)
    make_directory(above)
    with tempfile.TemporaryDirectory(prefix=".packrunner-", dir=above, ignore_cleanup_errors=True) as new:
        tree = os.path.join(new, "tree")
        make_directory(os.path.join(tree, "bin"))
        for path, data in files.items():
            write_atomic(os.path.join(tree, path), data, mode=0o644)
        try:
            os.rename(tree, place)
        except OSError:
            if not os.path.isdir(place):
                raise
