"""The directory a build happens in: one per application and builder, kept between builds, locked during one.

    <cache>/apps/<name>-<hash>/
      layers/      shown at /layers; cached layers stay here between builds
      platform/    shown at /platform, read-only; env/ holds the user's variables, one file each (DET-06),
                   bindings/<name>/ what --binding and --secret gave; there only while a build runs
      plans/       shown at /cnb/plans; build plans going in and out
      app/         upper/ and work/ of the overlay over the source, or copy/ where overlays are refused
      lock, source (the application's path), cache.json

The source itself is never written to. For root everything that a sandbox writes belongs to the image's user.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined, disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

APP_DIR = "/workspace"
LAYERS_DIR = "/layers"
PLATFORM_DIR = "/platform"
BUILDPACKS_DIR = "/cnb/buildpacks"
EXTENSIONS_DIR = "/cnb/extensions"
PLANS_DIR = "/cnb/plans"

SOURCE = "source"
"""The file that holds the path of the application."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Paths as buildpacks and images see them; the phases' flags may name others than these defaults."""

    app: str = APP_DIR
    layers: str = LAYERS_DIR
    platform: str = PLATFORM_DIR
    buildpacks: str = BUILDPACKS_DIR
    plans: str = PLANS_DIR
    extensions: str = EXTENSIONS_DIR


PLACES = Places()


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """Host paths of one application's workspace; `owner` is set when root must give files to the image's user."""

    path: str
    owner: tuple[int, int] | None

    @property
    def layers(self) -> str:
        """Shown at /layers."""
        return os.path.join(self.path, "layers")

    @property
    def platform(self) -> str:
        """Shown at /platform."""
        return os.path.join(self.path, "platform")

    @property
    def plans(self) -> str:
        """Shown at /cnb/plans."""
        return os.path.join(self.path, "plans")

    @property
    def app(self) -> str:
        """Parent of the application's overlay or copy."""
        return os.path.join(self.path, "app")


def location(cache_dir: str, source: str, builder: str) -> str:
    """The workspace of an application: by its path and builder, never by the image's name."""
    name = re.sub(r"[^a-z0-9]+", "-", os.path.basename(source).lower()).strip("-")[:40] or "app"
    key = hashlib.sha256(os.fsencode(source) + b"\0" + builder.encode()).hexdigest()[:16]
    return os.path.join(cache_dir, "apps", f"{name}-{key}")


@contextmanager
def opened(
    path: str,
    source: str,
    *,
    owner: tuple[int, int] | None,
    env: Mapping[str, str],
    bindings: Mapping[str, Mapping[str, bytes]],
    waiting: Callable[[], None],
) -> Iterator[Workspace]:
    """Lock the workspace of `source`, making it if need be, and set out platform/env and platform/bindings.

    `waiting` is called when another build has held the lock for two seconds.
    """
    workspace = Workspace(path=path, owner=owner)
    os.makedirs(path, mode=0o700, exist_ok=True)
    with confined.FileLock(os.path.join(path, "lock"), notice=waiting):
        with confined.Root.open(path) as root:
            for name in ("layers", "app"):
                root.makedirs(name, mode=0o755, owner=owner)
            # A removal that was killed half-way is gone on with: it may have been of `platform`.
            left = [entry.name for entry in root.names() if entry.name.startswith(disk.LEFTOVER)]
            for name in (*left, "platform", "plans"):
                root.remove(name)
            root.makedirs("plans", mode=0o755, owner=owner)
            root.makedirs("platform/env", mode=0o755)
            # By this, prune knows when the application is gone.
            root.write(SOURCE, os.fsencode(source), mode=0o600)
        try:
            _set_out(path, env, bindings)
            yield workspace
        finally:
            # Values of variables and bindings do not stay on disk longer than they are used.
            with confined.Root.open(path) as root:
                root.remove("platform")


def _set_out(path: str, env: Mapping[str, str], bindings: Mapping[str, Mapping[str, bytes]]) -> None:
    with confined.Root.open(path) as root:
        for name, value in env.items():
            root.write(f"platform/env/{name}", os.fsencode(value))
        for name, files in bindings.items():
            for key, data in files.items():
                place = f"platform/bindings/{name}/{key}"
                root.makedirs(os.path.dirname(place), mode=0o755)
                root.write(place, data)


def remove(path: str) -> None:
    """Delete a workspace, whatever a buildpack left in it."""
    parent, name = os.path.split(path)
    if os.path.isdir(parent):
        with confined.Root.open(parent) as root:
            root.remove(name)


def free_bytes(path: str) -> int:
    """Free space of the file system that holds `path` or its nearest existing parent."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free
