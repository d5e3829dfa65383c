"""The one reproducible layer writer: the same facts give the same bytes, and what did not change is not read again.

Names have no leading slash; order, times and owners are those of the reference (EXP-02, EXP-07 to EXP-09): parents
first, names as bytes, one fixed time, the given owner. Hard links become files, extended attributes are dropped.
How it is made fast: docs/explanation/decisions/0005-layer-writer-and-splice.md.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import CorruptError, ExportError, StoreError
from packrunner.images import splice, tar
from packrunner.images.image import Layer
from packrunner.images.merge import Walk
from packrunner.images.output import Output
from packrunner.images.pack import HelperLostError, PackError
from packrunner.images.parts import Dir, File, Link, Part, Tree, check, relative
from packrunner.images.scanned import write_scanned
from packrunner.images.single import SECTION, write_single
from packrunner.images.trees import write_known, write_new

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

__all__ = ["ChangedWhileReadError", "Dir", "File", "Link", "Part", "Tree", "WrittenLayer", "write_layer"]

log = logging.getLogger(__name__)


class WrittenLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer as written, and how.

    `changed` counts the entries that were written anew. `tables` has, by source, what fingerprint.scan gives for each
    tree that was written whole and unmerged: the second fingerprint, to compare with an earlier one.
    """

    layer: Layer
    spliced: bool
    unchanged: bool
    changed: int
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class ChangedWhileReadError(ExportError):
    """A file changed while its layer was written; the next try may find it quiet (SBX-06)."""

    transient = True


def write_layer(
    store: LocalStore, parts: Sequence[Part], *, created_by: str, previous: Digest | None = None
) -> WrittenLayer:
    """Write the parts, in their order, as one layer into the store.

    With `previous`, an earlier layer's diff id, entries that did not change are taken from its stored tar; when
    nothing changed at all, that layer is given back and no content is read. Raises ExportError for what cannot be in
    a layer (`changed-while-read`, `special-file`, `whiteout-name`, `unreadable`, `duplicate-entry`) and StoreError.
    """
    check(parts)
    known = _previous(store, previous)
    helped = len(os.sched_getaffinity(0)) > 1
    while True:
        try:
            return _Job(store, parts, known).run(created_by, helped=helped)
        except HelperLostError:
            log.warning("the layer writer's helper process ended early; writing without it")
            helped = False
        except CorruptError as e:
            if known is None or e.slug != "store-corrupt":
                raise
            log.warning("the stored layer %s is damaged; writing it anew", previous)
            known = None


def _previous(store: LocalStore, diff_id: Digest | None) -> tuple[Digest, splice.Previous] | None:
    """The earlier layer's table, when its tar is there too."""
    data = store.read_table(diff_id) if diff_id else None
    if diff_id is None or data is None:
        return None
    table = splice.decode(data)
    if table is None or not store.has(diff_id, table.tar_size):
        return None
    return diff_id, table


class _Written(msgspec.Struct):
    """A section, what will be in it once everything is written, and the tree it came from."""

    section: splice.Section
    segments: list[splice.Segment]
    tree: Tree | None = None
    merged: bool = False
    new: bool = False


class _Job:
    """One layer in the making."""

    def __init__(self, store: LocalStore, parts: Sequence[Part], known: tuple[Digest, splice.Previous] | None) -> None:
        self._store = store
        self._parts = parts
        self._output = Output(store, known)
        self._written: list[_Written] = []
        self._changed = 0
        self._began = time.time_ns()
        self._known_singles = (known[1].known(SECTION) if known else None) or {}

    def run(self, created_by: str, *, helped: bool) -> WrittenLayer:
        with self._output as output:
            for part in self._parts:
                if isinstance(part, Tree):
                    with _translated(part):
                        self._tree(part, helped=helped)
                else:
                    with _translated(None):
                        self._single(part)
            with _translated(self._only_tree()):
                blob = output.finish()
        sections = [self._complete(written) for written in self._written]
        if not output.unchanged:
            tar_size = sum(sum(section.sizes) for section in sections) + len(tar.END)
            assert tar_size == blob.size
            self._store.write_table(blob.digest, splice.encode(sections, tar_size, self._began))
        return WrittenLayer(
            layer=Layer(diff_id=blob.digest, blob=blob, created_by=created_by),
            spliced=output.spliced,
            unchanged=output.unchanged,
            changed=self._changed,
            warnings=tuple(self._warnings()),
            tables=dict(self._tables()),
        )

    def _tree(self, tree: Tree, *, helped: bool) -> None:
        upper = tree.upper if tree.upper and os.listdir(tree.upper) else None
        target = relative(tree.target)
        written = _Written(splice.Section(_key(tree, merged=bool(upper))), [], tree, merged=bool(upper))
        self._written.append(written)
        previous = self._output.previous
        if previous and not upper and (found := write_scanned(tree, target, self._output, written.section.key)):
            written.segments = [found[0]]
            self._changed += found[1]
            return
        known = previous.known(written.section.key) if previous else None
        walk = Walk(tree.source, upper, skip=tree.skip, only=tree.only, exclude=tree.exclude)
        try:
            if known is None:
                written.segments = write_new(tree, target, walk, self._output, helped=helped)
            else:
                written.segments, changed = write_known(tree, target, walk, self._output, known)
                self._changed += changed
        finally:
            walk.close()
        written.new = known is None

    def _single(self, part: Dir | File | Link) -> None:
        written = _Written(splice.Section(SECTION), [])
        self._written.append(written)
        segment, changed = write_single(part, self._output, self._known_singles)
        written.segments.append(segment)
        self._changed += changed

    def _complete(self, written: _Written) -> splice.Section:
        for segment in written.segments:
            written.section.add(segment)
        if written.new:
            self._changed += written.section.count
        return written.section

    def _warnings(self) -> Iterator[str]:
        for written in self._written:
            for segment in written.segments:
                for warning in segment.warnings:
                    yield f"{written.tree.source}: {warning}" if written.tree else warning

    def _tables(self) -> Iterator[tuple[str, bytes]]:
        for written in self._written:
            tree = written.tree
            # Else what was walked is not the source, or not all of it.
            if tree and tree.only is None and not written.merged and not tree.exclude:
                yield tree.source, written.section.table()

    def _only_tree(self) -> Tree | None:
        trees = [part for part in self._parts if isinstance(part, Tree)]
        return trees[0] if len(trees) == 1 else None


def _key(tree: Tree, *, merged: bool) -> str:
    """All that, beside an entry itself, decides its bytes in the tar."""
    owners = sorted(tree.owners.items())
    return repr((tree.source, merged and tree.upper, relative(tree.target), tree.uid, tree.gid, owners))


@contextmanager
def _translated(tree: Tree | None) -> Iterator[None]:
    """Errors of the inner parts as the user's: of a path in `tree`, the tree in hand, by its name in the image."""
    source = tree.source if tree else ""
    try:
        yield
    except PackError as e:
        path = shown(os.path.join(source, e.path))
        name = shown(os.path.join("/", tree.target, e.path)) if tree else path
        error = ChangedWhileReadError if e.kind == "changed-while-read" else ExportError
        raise error(f"{name} cannot be put into a layer", slug=e.kind, cause=e.cause, at=path) from e
    except StoreError:
        raise
    except OSError as e:
        name = e.filename if isinstance(e.filename, str) else ""
        path = shown(os.path.join(source, name))
        raise ExportError(f"{path} cannot be read", slug="unreadable", cause=os.strerror(e.errno or 0), at=path) from e


def shown(path: str) -> str:
    """A path for people: what could move a terminal's cursor is escaped (ARC-33)."""
    return path if path.isprintable() else ascii(path)[1:-1]
