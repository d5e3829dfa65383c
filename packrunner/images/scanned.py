"""Writing a tree whose fingerprint was just taken: against the last layer's table, nothing that is equal is looked at.

Both are the same lines in the same order, so what changed lies between their first and their last difference. The
paths of changed lines are looked at again before anything is written: a tree that is being changed at this moment, and
whatever else is not plain, is left to the walk (trees.py).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from packrunner import fingerprint
from packrunner.images.helper import open_beneath
from packrunner.images.merge import WHITEOUT
from packrunner.images.pack import Packer, PackError
from packrunner.images.splice import Segment

if TYPE_CHECKING:
    from array import array

    from packrunner.images.output import Output
    from packrunner.images.parts import Tree
    from packrunner.images.splice import Previous, Stretch

_MOST = 5000
"""Changed entries; from here on the walk, which looks at each only once, is as fast."""
_SOCKET = b"\n14"  # the mode of a socket in octal: it warns each time


def write_scanned(tree: Tree, target: str, output: Output, key: str) -> tuple[Segment, int] | None:
    """Write what differs from the section `key` of the last layer, as trees.write_known does; None where it must."""
    previous = output.previous
    last = previous.whole(key) if previous else None
    if previous is None or last is None or tree.table is None or tree.only is not None or tree.exclude:
        return None
    lines = fingerprint.body(tree.table)
    if _SOCKET in lines:
        return None
    return _Scanned(tree, target, output, previous, last).write(lines, fingerprint.newest(tree.table))


class _Scanned:
    def __init__(self, tree: Tree, target: str, output: Output, previous: Previous, last: Stretch) -> None:
        self._tree = tree
        self._output = output
        self._previous = previous
        self._last = last
        self._packer = Packer(output, target, (tree.uid, tree.gid), tree.owners)

    def write(self, lines: bytes, newest: int) -> tuple[Segment, int] | None:
        old = self._last.text + b"\n"
        head, tail = fingerprint.common(old, lines)
        first, end = self._last.first, self._last.first + self._last.count
        upto, since = first + old.count(b"\n", 0, head), end - old.count(b"\n", len(old) - tail)
        known = dict(zip(old[head : len(old) - tail].split(b"\n")[:-1], range(upto, since), strict=True))
        middle = lines[head : len(lines) - tail].split(b"\n")[:-1]
        fresh = [line for line in middle if line not in known]
        if len(fresh) > _MOST:
            return None
        root = os.open(self._tree.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not all(_still(root, line) for line in fresh):
                return None
            self._output.keep_all(first, upto)
            for line in middle:
                self._line(root, line, known.get(line))
        finally:
            os.close(root)
        self._packer.flush()
        self._output.keep_all(since, end)
        text = [os.fsdecode(lines[: max(head - 1, 0)]), self._packer.text(), os.fsdecode(lines[len(lines) - tail : -1])]
        return (
            Segment(
                "\n".join(filter(None, text)),
                self._sizes(first, upto, since, end),
                max(newest, self._packer.newest),
                self._packer.warnings,
            ),
            len(fresh),
        )

    def _line(self, root: int, line: bytes, number: int | None) -> None:
        packer = self._packer
        if number is not None:
            packer.flush()
            packer.lines.append(os.fsdecode(line))
            packer.sizes.append(self._previous.sizes[number])
            self._output.keep_all(number, number + 1)
            return
        mode, path = _parted(line)
        if stat.S_ISDIR(mode):
            packer.directory(path, mode)
            return
        base, _, name = path.rpartition("/")
        base += "/" if base else ""
        special = frozenset() if stat.S_ISREG(mode) else frozenset({name})
        try:
            fd = open_beneath(root, base)
        except OSError as e:
            raise PackError("changed-while-read", base, os.strerror(e.errno or 0)) from e
        try:
            packer.files(fd, base, [name], special)
        finally:
            os.close(fd)

    def _sizes(self, first: int, upto: int, since: int, end: int) -> array[int]:
        return self._previous.sizes[first:upto] + self._packer.sizes + self._previous.sizes[since:end]


def _still(root: int, line: bytes) -> bool:
    """Whether an entry is what its line says, and of a name that can be in a layer."""
    mode, path = _parted(line)
    base, _, name = path.rpartition("/")
    if name.startswith(WHITEOUT):
        return False
    try:
        fd = open_beneath(root, base + "/" if base else "")
        try:
            st = os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        return st.st_mode == mode
    now = f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {st.st_ctime_ns} {st.st_ino} {path}"
    return os.fsencode(now.replace("\n", "\0")) == line


def _parted(line: bytes) -> tuple[int, str]:
    fields = line.split(b" ", 5)
    return int(fields[0], 8), os.fsdecode(fields[5].replace(b"\0", b"\n"))
