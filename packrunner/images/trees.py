"""Writing one tree of a layer: in full, with a helper process where it is large, or against what is known of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from packrunner.images.merge import Folder, Names, Walk
from packrunner.images.pack import Packer, changed
from packrunner.images.splice import Segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.images.helping import Helper
    from packrunner.images.output import Output
    from packrunner.images.parts import Tree

_STRETCH = 1000  # entries that one process does before the other may have the next ones
_LARGE = 4000  # entries after which starting a helper pays


def write_new(tree: Tree, target: str, walk: Walk, output: Output, *, helped: bool) -> list[Segment]:
    """Write every entry. The segments are complete once `output` has finished."""
    return _New(tree, target, walk, output, helped=helped).run()


class _New:
    def __init__(self, tree: Tree, target: str, walk: Walk, output: Output, *, helped: bool) -> None:
        self._tree = tree
        self._target = target
        self._walk = walk
        self._output = output
        self._helped = helped
        self._helper: Helper | None = None
        self._segments: list[Segment] = []
        self._packer = self._new_packer()
        # What is collected for the helper; None while the stretch is our own.
        self._given: list[tuple[int, tuple[Any, ...]]] | None = None

    def run(self) -> list[Segment]:
        total = count = 0
        for item in self._walk:
            if self._given is None:
                self._pack(item)
            elif isinstance(item, Folder):
                self._given.append((0, (item.path, item.mode)))
            else:
                self._given.append((item.side, (item.base, item.names, item.special)))
            count += 1 if isinstance(item, Folder) else len(item.names)
            if count >= _STRETCH:
                self._end_stretch()
                total, count = total + count, 0
                self._next_stretch(total)
        self._end_stretch()
        return self._segments

    def _pack(self, item: Folder | Names) -> None:
        if isinstance(item, Folder):
            self._packer.directory(item.path, item.mode)
        else:
            self._packer.files(item.fd, item.base, item.names, item.special)

    def _end_stretch(self) -> None:
        if self._given is None:
            packer = self._packer
            packer.flush()
            self._segments.append(Segment(packer.text(), packer.sizes, packer.newest, packer.warnings))
            self._packer = self._new_packer()
            return
        assert self._helper
        segment = Segment()
        self._segments.append(segment)
        self._output.call(self._helper.submit(self._given, segment))

    def _next_stretch(self, total: int) -> None:
        if self._helped and self._helper is None and total >= _LARGE:
            from packrunner.images.helping import Helper  # a start in itself: small trees do without

            owner = (self._tree.uid, self._tree.gid)
            self._helper = Helper(self._walk.roots, self._target, owner, self._tree.owners)
            self._output.resources.callback(self._helper.close)
        self._given = [] if self._helper and self._helper.ready else None

    def _new_packer(self) -> Packer:
        return Packer(self._output, self._target, (self._tree.uid, self._tree.gid), self._tree.owners)


def write_known(
    tree: Tree, target: str, walk: Walk, output: Output, known: Mapping[str, int]
) -> tuple[list[Segment], int]:
    """Write what differs from the `known` lines and keep the rest; says how many entries were written."""
    packer = Packer(output, target, (tree.uid, tree.gid), tree.owners)
    written = 0
    for item in walk:
        if isinstance(item, Names):
            written += _names(item, packer, output, known)
            continue
        number = known.get(f"{item.mode:o} 0 0 0 0 {item.path}".replace("\n", "\0"))
        if number is None:
            packer.directory(item.path, item.mode)
            written += 1
        else:
            packer.flush()
            packer.lines.append(f"{item.mode:o} 0 0 0 0 {item.path}")
            packer.sizes.append(output.size_of(number))
            output.keep(number)
    packer.flush()
    return [Segment(packer.text(), packer.sizes, packer.newest, packer.warnings)], written


def _names(item: Names, packer: Packer, output: Output, known: Mapping[str, int]) -> int:
    fd, base, special = item.fd, item.base, item.special
    lines, sizes, newest = packer.lines, packer.sizes, packer.newest
    get, keep, size_of, lstat = known.get, output.keep, output.size_of, os.stat
    different: list[str] = []
    written = 0
    packer.flush()
    for name in item.names:
        try:
            st = lstat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError as e:
            raise changed(base + name) from e
        ctime = st.st_ctime_ns
        line = f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {ctime} {st.st_ino} {base}{name}"
        number = get(line if "\n" not in line else line.replace("\n", "\0"))
        if number is None or st.st_mode & 0o170000 == 0o140000:  # a socket's warning is repeated
            different.append(name)
            continue
        if different:
            packer.newest = newest
            packer.files(fd, base, different, special)
            newest = packer.newest
            written += len(different)
            different = []
            packer.flush()
        if ctime > newest:  # noqa: PLR1730 - max() costs a call for each file
            newest = ctime
        lines.append(line)
        sizes.append(size_of(number))
        keep(number)
    packer.newest = newest
    if different:
        packer.files(fd, base, different, special)
        written += len(different)
    return written
