"""The lock of a base: exactly which packages its images are made of, until somebody asks for newer ones.

    <data>/bases/debian-13-amd64/lock.json

Addresses are relative to an archive, so that a lock says nothing of the mirror it was made with. Loaded by every
build: imports next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from packrunner.bases.recipes import FORMAT
from packrunner.errors import CorruptError, StoreError, UsageError
from packrunner.names import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.bases.apt_sources import Archive

VERSION = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One package: `path` is relative to the root of `archive`, `size` in bytes, `sha256` in hexadecimal."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    path: str
    archive: Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedIndex:
    """A package list that the lock was made from; `date` is its Release's, in seconds since the epoch."""

    archive: Archive
    suite: str
    sha256: str
    date: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """`images` names the packages of each image; `resolved_at` is in seconds since the epoch."""

    reference: str
    architecture: str
    resolved_at: float
    indexes: tuple[LockedIndex, ...]
    packages: tuple[LockedPackage, ...]
    images: Mapping[str, tuple[str, ...]]
    recipe: str = ""
    """Of which team's recipe it is, in hexadecimal; "" for packrunner's own."""

    @property
    def digest(self) -> Digest:
        """What identifies the base: everything that decides its images, and nothing of when and where it was found."""
        sums = {package.name: [package.version, package.sha256] for package in self.packages}
        content = {
            "format": FORMAT,
            "reference": self.reference,
            "architecture": self.architecture,
            "images": {image: [[name, *sums[name]] for name in names] for image, names in self.images.items()},
        } | ({"recipe": self.recipe} if self.recipe else {})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return Digest.parse("sha256:" + hashlib.sha256(text.encode()).hexdigest())

    def of(self, *images: str) -> tuple[LockedPackage, ...]:
        """The packages of the images together, by name."""
        wanted = {name for image in images for name in self.images[image]}
        return tuple(package for package in self.packages if package.name in wanted)

    def to_json(self) -> bytes:
        """The lock file's content."""
        return (json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()


def read_lock(path: str, *, fix: str = "packrunner builder update") -> Lock | None:
    """The lock at `path`; None when there is none yet. Raises CorruptError, slug `base-lock`, naming the `fix`."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}", slug="disk", cause=str(error.strerror), at=path) from error
    try:
        return _parse(json.loads(data))
    except (UsageError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError(
            "the lock of the base image cannot be read",
            slug="base-lock",
            cause=f"{type(error).__name__}: {str(error)[:200]}",
            at=path,
            tries=(fix,),
        ) from error


def _parse(raw: Any) -> Lock:
    if raw["version"] != VERSION:
        raise ValueError(f"it is of version {raw['version']!r}, this packrunner reads version {VERSION}")
    packages = tuple(LockedPackage(**one) for one in raw["packages"])
    names = {package.name for package in packages}
    images = {str(image): tuple(listed) for image, listed in raw["images"].items()}
    if any(name not in names for listed in images.values() for name in listed):
        raise ValueError("an image names a package that is not listed")
    for package in packages:
        # The digest and the name become names of files, the path part of an address.
        if not _NAME.fullmatch(package.name):
            raise ValueError(f"{package.name[:100]!r} is no name of a package")
        Digest.parse(f"sha256:{package.sha256}")
        if int(package.size) < 0 or not package.path.startswith("pool/") or ".." in package.path:
            raise ValueError(f"the entry of {package.name} is not sound")
        if package.archive not in {"main", "security"}:
            raise ValueError(f"{package.name} is of an unknown archive")
    return Lock(
        reference=cast("str", raw["reference"]),
        architecture=cast("str", raw["architecture"]),
        resolved_at=float(raw["resolved_at"]),
        indexes=tuple(LockedIndex(**one) for one in raw["indexes"]),
        packages=packages,
        images=images,
        recipe=str(raw.get("recipe", "")),
    )


def home(data_dir: str, key: str, architecture: str) -> str:
    """The directory of one base's lock and what is known of its images; `key` is a Blueprint's."""
    return os.path.join(data_dir, "bases", f"{key.replace(':', '-')}-{architecture}")


def lock_path(data_dir: str, key: str, architecture: str) -> str:
    """The lock file of a base, whether it exists or not."""
    return os.path.join(home(data_dir, key, architecture), "lock.json")
