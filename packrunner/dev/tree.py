"""What the running application has been given of its source: the model that each look at the disk is compared with.

    tree = Tree(source, ignored, notice=report)
    tree.look({"": True}, adopt=True)       at first: everything is taken as what the image was built from
    mark = tree.mark()                      a build begins: what is touched from here on, its image may not have
    changes = tree.look({"a/b.py": False})  what is at these paths (True: and below), where it is news there
    parcel = tree.parcel(changes)           the same, with the bytes: see parcel.py
    tree.since(mark)                        all that was touched since, as it is now: for who has that build's image
    tree.now(paths)                         these, as they are now: to be sent once more
    tree.failed(paths)                      the other side could not take these: the next touch sends them again
    tree.reconcile(manifest)                what the other side says that it has: the changes that correct it

A file is told by its stamp (size, times, inode, mode); where that cannot tell, by its bytes, so a touch sends nothing
(LIV-11). Times are compared for being equal, and only with those of the same file system (LIV-12). Any thread may call.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.dev.changes import Change, Kind
from packrunner.dev.inodes import Inodes
from packrunner.dev.look import Look
from packrunner.dev.node import Node
from packrunner.dev.parcel import Parcel, Reader, digest_of
from packrunner.dev.source import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from packrunner.dev.seams import Ignored, Watching
    from packrunner.events import Warned


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the other side's manifest."""

    path: str
    kind: Kind
    mode: int = 0
    size: int = 0
    sha256: str = ""
    target: str = ""


class Tree:
    """The model; `ignored` says what is no part of it, `notice` takes what the user should know."""

    def __init__(
        self,
        root: str,
        ignored: Ignored,
        *,
        notice: Callable[[Warned], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.root = root
        self._ignored = ignored
        self._notice = notice
        self._clock = clock
        self._top = Node(kind="dir", children={})
        self._inodes = Inodes()
        self._count = 0
        self._touched: dict[str, int] = {}
        self._lock = threading.Lock()

    def look(
        self, paths: Mapping[str, bool], watching: Watching | None = None, *, adopt: bool = False
    ) -> tuple[Change, ...]:
        """Compare these paths with the model, and make the model like the disk; parents come before what is in them.

        With True also what is below a path is compared; what is below a new directory always is. `watching` is told of
        each directory before it is listed, and of each that is gone; `adopt` takes what is news as known to the other
        side, without reading it. OSError: the root itself cannot be used.
        """
        with self._lock, Cursor(self.root) as cursor:
            self._count += 1
            look = Look(
                self._top,
                cursor,
                self._ignored,
                inodes=self._inodes,
                watching=watching,
                notice=self._notice,
                now=self._clock(),
                adopt=adopt,
            )
            for path in sorted(paths, key=_parts):
                look.at(path, deep=paths[path])
            look.finish()
            for path in look.dropped:
                self._touched.pop(path, None)
            self._touched.update(dict.fromkeys(look.touched, self._count))
            return tuple(look.changes)

    def mark(self) -> int:
        """Now, for `since`."""
        return self._count

    def since(self, mark: int) -> tuple[Change, ...]:
        """Every path that was touched after the mark, as it is now, whether it was sent or not (LIV-14)."""
        with self._lock:
            return self._described(path for path, count in self._touched.items() if count > mark)

    def now(self, paths: Iterable[str]) -> tuple[Change, ...]:
        """These paths as they are now."""
        with self._lock:
            return self._described(paths)

    def knows(self, path: str) -> bool:
        """Whether the other side was given something at this path."""
        with self._lock:
            return self._top.find(path) is not None

    def names(self, inode: int) -> tuple[str, ...]:
        """The paths that were names of a file at the last look."""
        with self._lock:
            return self._inodes.of(inode)

    def everything(self) -> tuple[Change, ...]:
        """All of the model."""
        with self._lock:
            return tuple(node.change(path) for path, node in self._top.below())

    def parcel(self, changes: Iterable[Change]) -> Parcel:
        """The changes with their bytes; a file that cannot be read now is left out, and said or looked at again."""
        return Parcel.of(changes, Reader(self.root, self._sent, self._unread))

    def reconcile(self, manifest: Iterable[Entry]) -> tuple[Change, ...]:
        """What the other side lacks, or has otherwise; what the application made there by itself stays.

        Files are read where their size does not tell already.
        """
        theirs = {entry.path: entry for entry in manifest}
        with self._lock, Cursor(self.root) as cursor:
            wrong = [path for path, node in self._top.below() if not _same(node, theirs.get(path), path, cursor)]
            wrong += [path for path in theirs.keys() & self._touched.keys() if not self._top.find(path)]
            return self._described(wrong)

    def failed(self, paths: Iterable[str]) -> None:
        """Forget that the other side has these."""
        with self._lock:
            for path in paths:
                if node := self._top.find(path):
                    self._inodes.remove(path, node.stamp)
                    node.stamp, node.digest = (), b""

    def _sent(self, path: str, stamp: tuple[int, ...], digest: bytes) -> None:
        with self._lock:
            node = self._top.find(path)
            if node and node.kind == "file":
                self._inodes.remove(path, node.stamp)
                self._inodes.add(path, stamp)
                node.stamp, node.digest, node.sure = stamp, digest, False
                if stamp:
                    node.size, node.mtime_ns = stamp[:2]

    def _unread(self, path: str, why: Warned | None) -> None:
        self.failed([path])
        if why:
            self._notice(why)

    def _described(self, paths: Iterable[str]) -> tuple[Change, ...]:
        changes: list[Change] = []
        gone = ""
        for path in sorted(paths, key=_parts):
            if gone and path.startswith(gone):
                continue
            node = self._top.find(path)
            if node is None:
                gone = path + "/"
            changes.append(node.change(path) if node else Change(path=path, kind="gone"))
        return tuple(changes)


def _same(node: Node, entry: Entry | None, path: str, cursor: Cursor) -> bool:
    if entry is None or entry.kind != node.kind or entry.target != node.target:
        return False
    # The other side keeps itself the right to write.
    if node.kind != "link" and (entry.mode ^ node.mode) & ~0o700:
        return False
    if node.kind != "file":
        return True
    try:
        return entry.size == node.size and entry.sha256 == digest_of(cursor, path).hex()
    except OSError:
        return True


def _parts(path: str) -> list[str]:
    return path.split("/")
