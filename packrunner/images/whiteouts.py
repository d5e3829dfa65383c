"""What a layer removes from those below it: done to the tree at hand, or marked for the overlay file system.

Only lower layers are hidden, wherever among a layer's entries the marker is (ARC-16): what the layer itself brings
stays. Real paths, without links, are bytes relative to the root.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from packrunner.errors import StoreError

if TYPE_CHECKING:
    from packrunner.confined import Root
    from packrunner.images.resolve import Resolver

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_ATTRIBUTES = ("user.overlay.opaque", "trusted.overlay.opaque")


class Applied:
    """Removes at once, from a tree that holds the lower layers."""

    def __init__(self, tree: Root) -> None:
        self._tree = tree
        self._made: set[bytes] = set()

    def made(self, path: bytes, fd: int | None) -> None:  # noqa: ARG002 - the other kind needs it
        """The layer brings this entry; `fd` is of a new directory."""
        while path and path not in self._made:
            self._made.add(path)
            path = path.rpartition(b"/")[0]

    def remove(self, resolver: Resolver, parents: list[bytes], name: bytes) -> None:
        """Hide one name of the lower layers."""
        real = resolver.find(parents)
        if real is None:
            return
        if real + name in self._made:
            self._hide(real + name)
        else:
            self._tree.remove(os.fsdecode(real + name))
        resolver.forget()

    def opaque(self, resolver: Resolver, parts: list[bytes]) -> None:
        """Hide all that the lower layers have in a directory."""
        real = resolver.find(parts)
        if real is not None:
            self._hide(real.rstrip(b"/"))
            resolver.forget()

    def _hide(self, path: bytes) -> None:
        pending = [path]
        while pending:
            directory = pending.pop()
            rel = os.fsdecode(directory)
            if rel and self._tree.kind(rel) != "dir":
                continue
            for entry in self._tree.names(rel):
                below = os.fsencode(os.path.join(rel, entry.name))
                if below not in self._made:
                    self._tree.remove(os.fsdecode(below))
                elif entry.kind == "dir":
                    pending.append(below)


class Marked:
    """Leaves the marks of an overlay's layer: character devices 0:0, and directories that are opaque."""

    def __init__(self, tree: Root) -> None:
        self._tree = tree
        self._made: set[bytes] = set()
        self._hidden: set[bytes] = set()

    def made(self, path: bytes, fd: int | None) -> None:
        """The layer brings this entry; `fd` is of a new directory."""
        self._made.add(path)
        if fd is not None and path in self._hidden:
            _make_opaque(fd, self._tree.path)

    def remove(self, resolver: Resolver, parents: list[bytes], name: bytes) -> None:
        """Hide one name of the lower layers."""
        parent, real = resolver.parent([*parents, name])
        path = real + name
        self._hidden.add(path)
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                self.opaque(resolver, [*parents, name])
        except PermissionError as e:
            raise _no_overlay(self._tree.path, e) from e

    def opaque(self, resolver: Resolver, parts: list[bytes]) -> None:
        """Hide all that the lower layers have in a directory."""
        directory, _ = resolver.parent([*parts, b""])
        _make_opaque(directory, self._tree.path)


def _make_opaque(fd: int, shown: str) -> None:
    place = f"/proc/self/fd/{fd}"
    for name in _ATTRIBUTES:
        try:
            os.setxattr(place, name, b"y")
        except OSError as e:
            # Only root may set the second; overlays that an ordinary user mounts read the first.
            if name.startswith("user.") or e.errno not in {errno.EPERM, errno.ENOTSUP}:
                raise _no_overlay(shown, e) from e


def _no_overlay(shown: str, error: OSError) -> StoreError:
    return StoreError(
        f"the file system at {shown} cannot hold layers that remove files",
        slug="no-overlay",
        cause=os.strerror(error.errno or 0),
        tries=("PACKRUNNER_HOME=/path/on/another/file/system packrunner ...",),
    )
