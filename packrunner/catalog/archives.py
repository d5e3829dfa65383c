"""Archives and git repositories to directories that can be staged; each is unpacked once for its content."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from packrunner import process
from packrunner.catalog import zips
from packrunner.catalog.places import plain
from packrunner.catalog.tree import MAX_BYTES, MAX_ENTRIES, make_once
from packrunner.disk import disk_error
from packrunner.errors import CorruptError, NetworkError, PackrunnerError, UsageError
from packrunner.images.extract import Limits, extract
from packrunner.images.tarfiles import Archive
from packrunner.paths import readable

if TYPE_CHECKING:
    from packrunner.catalog.places import Place

UNPACKED, GIT = "unpacked", "git"
_STEP = 1 << 20
_DESCRIPTORS = ("buildpack.toml", "extension.toml")
_LIMITS = Limits(entries=MAX_ENTRIES, bytes=MAX_BYTES)


def is_image(path: str) -> bool:
    """Whether a file is an archived image, as packages are (DST-01); false for what is no plain tar."""
    try:
        with Archive(path) as archive:
            return archive.has("index.json") and archive.has("oci-layout")
    except CorruptError:
        return False


def unpack(path: str, stage_dir: str, *, shown: str) -> str:
    """The directory of the buildpack in a zip or tar archive, gzipped or not: at its top, or in its only directory.

    Raises what `unpack_any` raises, and UsageError (`unknown-buildpack`) where there is none.
    """
    return _top(unpack_any(path, stage_dir, shown=shown), shown)


def unpack_any(path: str, stage_dir: str, *, shown: str) -> str:
    """The directory of everything in a zip or tar archive. Raises CorruptError, UnsafeArchiveError, StoreError."""
    place = os.path.join(stage_dir, UNPACKED, _digest(path))

    def fill(new: str) -> None:
        owner = (0, 0) if os.geteuid() == 0 else None
        try:
            if zips.is_zip(path):
                zips.unzip(path, new, owner=owner, limits=_LIMITS)
                return
            with open(path, "rb") as file:
                extract(file, new, uid_gid=owner, whiteouts="reject", limits=_LIMITS)
        except PackrunnerError as error:
            error.at = error.at or shown
            raise

    make_once(place, fill)
    return place


def checkout(place: Place, stage_dir: str) -> str:
    """The directory of a git repository at a commit. Raises UsageError (`unknown-buildpack`), NetworkError (`git`)."""
    name = hashlib.sha256(os.fsencode(f"{place.path} {place.commit}")).hexdigest()
    root = os.path.join(stage_dir, GIT, name)
    make_once(root, lambda new: _fetch(place, new))
    return _top(os.path.join(root, place.below) if place.below else root, place.text)


def _top(place: str, shown: str) -> str:
    """Where the descriptor is."""
    with suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(os.listdir(place))
        inner = os.path.join(place, names[0]) if len(names) == 1 else place
        for directory in (place, inner):
            if not os.path.islink(directory) and any(_is_file(directory, name) for name in _DESCRIPTORS):
                return directory
    raise UsageError(
        f"{shown} holds no buildpack",
        slug="unknown-buildpack",
        cause="there is no buildpack.toml or extension.toml at its top",
    )


def _is_file(directory: str, name: str) -> bool:
    path = os.path.join(directory, name)
    return os.path.isfile(path) and not os.path.islink(path)


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise disk_error(error, readable(path)) from error


def _fetch(place: Place, new: str) -> None:
    """The commit's tree, without history; where the server gives no single commits, all of it is fetched."""
    said: list[str] = []
    _git(new, said, "init", "--quiet", "--template=")
    if _git(new, said, "fetch", "--quiet", "--depth=1", "--", place.path, place.commit) != 0:
        _git(new, said, "fetch", "--quiet", "--", place.path, "+refs/*:refs/fetched/*")
    if _git(new, said, "checkout", "--quiet", "--detach", place.commit) != 0:
        raise NetworkError(
            f"{plain(place.path)} cannot be fetched at {place.commit[:12]}",
            slug="git",
            cause=re.sub(r"//[^/@\s]*@", "//", said[-1]) if said else None,
            tries=(f"git fetch {plain(place.path)} {place.commit}",),
        )


def _git(directory: str, said: list[str], *words: str) -> int:
    """Run git; nothing of the repository runs here: no hooks, no filters but built-in ones, no question is asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_ASKPASS": "true", "LC_ALL": "C"}
    options = ("-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "advice.detachedHead=false")
    ended = process.run(
        ("git", "-C", directory, *options, *words),
        env=env,
        output=lambda _, line: said.append(line.decode(errors="replace").strip()),
    )
    if ended.error:
        raise UsageError(
            "git is needed for a buildpack of a git repository",
            slug="buildpack-locator",
            cause=f"git: {ended.error}",
            tries=("apt install git",),
        )
    return ended.code
