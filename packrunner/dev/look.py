"""One look at the disk: what is there compared with the model, which is made like it on the way."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from packrunner import fingerprint
from packrunner.dev.changes import Change
from packrunner.dev.node import Node, kind_of, stamp_of
from packrunner.dev.parcel import digest_of
from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.dev.inodes import Inodes
    from packrunner.dev.node import NodeKind
    from packrunner.dev.seams import Ignored, Watching
    from packrunner.dev.source import Cursor

_NO_DIRECTORY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_HASHED = 8 << 20
"""Larger files are not read for having been written just before we began."""


class Look:
    """Paths are looked at in order; `changes` is what came out.

    `touched` is more than that: what is again as it was, too. `dropped` is ignored from now on.
    """

    def __init__(
        self,
        top: Node,
        cursor: Cursor,
        ignored: Ignored,
        *,
        inodes: Inodes,
        watching: Watching | None,
        notice: Callable[[Warned], None],
        now: int,
        adopt: bool,
    ) -> None:
        self.changes: list[Change] = []
        self.touched: dict[str, None] = {}
        self.dropped: set[str] = set()
        self._top = top
        self._cursor = cursor
        self._ignored = ignored
        self._inodes = inodes
        self._watching = watching
        self._notice = notice
        self._now = now
        self._adopt = adopt
        self._pending: list[tuple[str, Node]] = []
        self._listed: set[str] = set()
        self._again: set[str] = set()
        self._namesakes: dict[str, None] = {}

    def at(self, path: str, *, deep: bool) -> None:
        """Compare what is at the path, and below it where that is asked for or news."""
        if not path:
            self._pending.append(("", self._top))
            self._descend()
            return
        above, _, name = path.rpartition("/")
        if above in self._listed and not deep:
            return
        parent = self._top.find(above)
        if parent is None or parent.kind != "dir":
            # Its directory is news itself (or ignored): what is in it comes along.
            self._first_unknown(above)
            return
        try:
            found = self._cursor.stat(path)
        except OSError as error:
            self._lost(above, error)
            return
        if found is None:
            self._gone(parent, path)
        else:
            self._entry(parent, path, name, found, deep=deep)
        self._descend()

    def finish(self) -> None:
        """Look at other names of files that changed; where a `.gitignore` did, once more by the new one."""
        looked: set[str] = set()
        while self._namesakes:
            path = next(iter(self._namesakes))
            del self._namesakes[path]
            if path not in looked:
                looked.add(path)
                self.at(path, deep=False)
        again, self._again = self._again, set()
        for directory in sorted(again):
            self.at(directory, deep=True)
        if again:
            latest = {c.path: c for c in self.changes}.values()
            self.changes = [c for c in latest if c.kind == "gone" or self._top.find(c.path)]

    def _first_unknown(self, path: str) -> None:
        parts = path.split("/")
        node = self._top
        for depth, name in enumerate(parts, 1):
            child = node.children.get(name)
            here = "/".join(parts[:depth])
            if self._ignored.below(here):
                return
            if child is None or child.kind != "dir":
                self.at(here, deep=True)
                return
            node = child

    def _lost(self, directory: str, error: OSError) -> None:
        """The directory of a path cannot be entered now."""
        if error.errno in _NO_DIRECTORY:
            self.at(directory, deep=True)
        else:
            self._refused(directory, error)

    def _descend(self) -> None:
        while self._pending:
            path, node = self._pending.pop()
            try:
                directory = self._cursor.at(path)
                if self._watching is not None:
                    self._watching.enter(path, directory)
                with os.scandir(directory) as found:
                    entries = {entry.name: entry for entry in found}
            except OSError as error:
                # One that is gone again has its own event.
                if error.errno not in _NO_DIRECTORY:
                    self._refused(path, error)
                continue
            self._listed.add(path)
            self._list(path, node, entries)

    def _list(self, path: str, node: Node, entries: dict[str, os.DirEntry[str]]) -> None:
        base = path + "/" if path else ""
        for name in sorted(node.children.keys() - entries.keys()):
            self._gone(node, base + name)
        inner = len(self._pending)
        for name in sorted(entries):
            try:
                found = entries[name].stat(follow_symlinks=False)
            except OSError:
                continue
            self._entry(node, base + name, name, found, deep=True)
        self._pending[inner:] = self._pending[inner:][::-1]

    def _entry(self, parent: Node, path: str, name: str, found: os.stat_result, *, deep: bool) -> None:
        known = parent.children.get(name)
        kind = kind_of(found)
        if self._out(path, kind):
            if known:
                self._forget(parent, path, drop=True)
            elif kind == "dir" and self._watching is not None:
                self._watching.leave(path)
        elif kind is None:
            self._gone(parent, path)
        elif kind == "dir":
            self._directory(parent, path, name, found, deep=deep)
        else:
            if known and known.kind == "dir":
                self._forget(parent, path)
                known = None
            self._content(parent, path, name, kind, found)

    def _out(self, path: str, kind: NodeKind | None) -> bool:
        if kind == "dir":
            return self._ignored.below(path) or self._unfit(path)
        return self._ignored(path, False) or self._unfit(path)

    def _unfit(self, path: str) -> bool:
        if path.isascii():
            pass
        else:
            try:
                path.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(path).decode(errors="replace")
                self._notice(Warned(text=f"{shown} is not sent: its name is not UTF-8"))
                return True
        if path.count("/") >= fingerprint.DEEPEST:
            self._notice(
                Warned(text=f"{path[:80]}... is not watched: more than {fingerprint.DEEPEST} directories deep")
            )
            return True
        return False

    def _directory(self, parent: Node, path: str, name: str, found: os.stat_result, *, deep: bool) -> None:
        known = parent.children.get(name)
        mode = stat.S_IMODE(found.st_mode) & 0o777
        if known is None or known.kind != "dir":
            self._forget(parent, path)
            known = parent.children[name] = Node(kind="dir")
        if known.mode != mode or not known.stamp:
            known.mode, known.stamp = mode, (mode,)
            deep = True
            self.touched[path] = None
            if not self._ignored(path, True):
                self.changes.append(known.change(path))
        if deep:
            self._pending.append((path, known))

    def _content(self, parent: Node, path: str, name: str, kind: NodeKind, found: os.stat_result) -> None:
        known = parent.children.get(name)
        stamp = stamp_of(found)
        if known and known.kind == kind and known.stamp == stamp and known.sure:
            return
        if name == ".gitignore" and not self._adopt:
            self._other_ignored(path)
        node = Node(
            kind=kind,
            mode=stat.S_IMODE(found.st_mode) & 0o777,
            size=found.st_size if kind == "file" else 0,
            mtime_ns=found.st_mtime_ns,
            stamp=stamp,
            sure=not fingerprint.fresh(found.st_ctime_ns, self._now),
        )
        try:
            if kind == "link":
                node.target = self._cursor.link(path)
            elif self._only_bytes_tell(known, node):
                node.digest = digest_of(self._cursor, path)
        except OSError as error:
            node.stamp = ()
            self.touched[path] = None
            if error.errno not in _NO_DIRECTORY:
                self._refused(path, error)
            if known is None or known.kind != kind:
                parent.children[name] = node
            return
        parent.children[name] = node
        self._named(path, known, node, shared=found.st_nlink > 1)
        alike = known is not None and bool(known.stamp) and _alike(known, node)
        if not alike:
            self.changes.append(node.change(path))
        if not alike or (known and known.stamp != stamp):
            self.touched[path] = None

    def _named(self, path: str, known: Node | None, node: Node, *, shared: bool) -> None:
        """The path is a name of another file now, or this file is another: its other names are to be looked at."""
        if known and known.stamp:
            self._inodes.remove(path, known.stamp)
            self._namesakes.update(dict.fromkeys(self._inodes.paths(known.stamp)))
        # A file with one name that had another was moved: at the old name may be one that is just being written.
        if shared and not self._adopt:
            self._namesakes.update(dict.fromkeys(self._inodes.paths(node.stamp)))
        self._inodes.add(path, node.stamp)

    def _only_bytes_tell(self, known: Node | None, found: Node) -> bool:
        """Whether all else is as it was; other files are read once, when they are sent."""
        if self._adopt:
            return not found.sure and found.size <= _HASHED
        if known is None or known.kind != "file" or not known.digest or not known.stamp:
            return False
        return known.size == found.size and known.mode == found.mode

    def _gone(self, parent: Node, path: str) -> None:
        if self._forget(parent, path):
            self.changes.append(Change(path=path, kind="gone"))

    def _forget(self, parent: Node, path: str, *, drop: bool = False) -> bool:
        node = parent.children.pop(path.rpartition("/")[2], None)
        if node is None:
            return False
        if path.rpartition("/")[2] == ".gitignore":
            self._other_ignored(path)
        for below, inner in ((path, node), *node.below(path)):
            if drop:
                self.touched.pop(below, None)
                self.dropped.add(below)
            else:
                self.touched[below] = None
            if inner.kind != "dir":
                self._inodes.remove(below, inner.stamp)
                self._namesakes.update(dict.fromkeys(self._inodes.paths(inner.stamp)))
        if node.kind == "dir" and self._watching is not None:
            self._watching.leave(path)
        return True

    def _other_ignored(self, path: str) -> None:
        above = path.rpartition("/")[0]
        self._ignored.forget(above)
        self._again.add(above)

    def _refused(self, path: str, error: OSError) -> None:
        self._notice(Warned(text=f"{path or 'the application'} cannot be read: {os.strerror(error.errno or 0)}"))


def _alike(old: Node, new: Node) -> bool:
    """Whether the other side would notice no difference."""
    if old.kind != new.kind or old.mode != new.mode or old.size != new.size or old.target != new.target:
        return False
    return new.kind == "link" or bool(old.digest and old.digest == new.digest)
