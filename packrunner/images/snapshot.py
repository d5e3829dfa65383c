"""Unpacked layers: one tree each, in the form in which the overlay file system stacks them.

    <diff id>/tree     what is mounted; read-only by agreement
    <diff id>/table    the tree's fingerprint when it was made; for `verify`, and after a crash of the machine
    <diff id>/made     written last: what the tree's top looked like, and since when the machine has been up
    locks/<diff id>    shared by those who use the tree, exclusive for those who remove it
    locks/<diff id>.making   held while it is made

A tree is made beside and renamed, so a killed process leaves only names that begin with `.packrunner-`; the next one
that makes the layer, or `prune`, removes them. Nothing is synced: a tree made before the machine last started is
looked at as a whole, once. Layers keep their owners and modes, set-id bits included, because the directory of all
trees is closed to other users, and sandboxes give set-id programs no rights.

More layers than one mount can take are merged: the lowest ones stay apart, the rest becomes one tree, named by the
digest of its layers' diff ids.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined, fingerprint
from packrunner.disk import LEFTOVER, FileLock, disk_error, write_atomic
from packrunner.errors import CorruptError, StoreError
from packrunner.images.extract import extract
from packrunner.images.treewrite import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

log = logging.getLogger(__name__)

VERSION = 1
STACK_BYTES = 3400
"""What the paths of an image's trees may have together: one page of mount options, less what else stands there."""

_PER_PATH = 10  # what the mount puts before and after each path
_BOOT = "/proc/sys/kernel/random/boot_id"


class _Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A tree to have: of one layer, or of several merged, lowest first."""

    hex: str
    layers: tuple[Layer, ...]


class Snapshots:
    """The trees below `root`. Those returned by `lowers` and `adopt` stay as they are until `close`, or the end.

    Raises StoreError: `disk`, `disk-full`, `locked`, `overlay-marks`, `snapshot-adopt`; CorruptError and
    UnsafeArchiveError for layers that cannot be unpacked.
    """

    def __init__(self, root: str, store: LocalStore) -> None:
        self.root = root
        self._store = store
        self._held = ExitStack()
        self._holding: set[str] = set()

    def lowers(self, image: Image) -> tuple[str, ...]:
        """The trees of the image's layers, lowest first; unpacked now where they are not yet."""
        with _translated(self.root):
            paths = [self._ready(tree) for tree in self._trees(image.layers)]
        # The overlay file system does not look for the mark at the root itself.
        first = max((number for number, path in enumerate(paths) if _is_opaque(path)), default=0)
        return _once(paths[first:])

    def adopt(self, diff_id: Digest, tree_path: str) -> str:
        """Make the directory `tree_path` the tree of a layer, by renaming; returns its new path.

        Its content is taken as given. Where the layer has a tree already, that one is kept and `tree_path` stays.
        """
        with _translated(self.root):
            return self._have(diff_id.hex, (diff_id,), lambda new: _move(tree_path, new))

    def verify(self, image: Image) -> list[str]:
        """Paths, below `root`, that differ from when they were unpacked; trees not there yet are not looked at."""
        differing: list[str] = []
        with _translated(self.root):
            for tree in self._trees(image.layers):
                place = os.path.join(self.root, tree.hex)
                if not os.path.isdir(place):
                    continue
                table = _read(os.path.join(place, "table"))
                found = _scan(os.path.join(place, "tree"))
                names = fingerprint.changed(table, found) if table and found else []
                if not names and not self._is_ready(tree.hex):
                    names = ["."]
                differing += [os.path.normpath(os.path.join(tree.hex, "tree", name)) for name in names]
        return differing

    def prune(self, keep: frozenset[str], *, dry_run: bool = False) -> int:
        """Remove trees of layers whose diff ids are not in `keep`, and leftovers; trees in use stay.

        Gives the bytes that went (or would, with `dry_run`). A merged tree is kept with all of its layers.
        """
        freed = 0
        with _translated(self.root):
            if not os.path.isdir(self.root):
                return 0
            for name in sorted(os.listdir(self.root)):
                hex_digits = name[-64:]
                if not _is_hex(hex_digits) or (name != hex_digits and not name.startswith(LEFTOVER)):
                    continue
                if name == hex_digits and keep.issuperset(self._layers_of(name)):
                    continue
                with self._alone(hex_digits) as alone:
                    if alone:
                        freed += _size(os.path.join(self.root, name)) if dry_run else self._remove(name)
        return freed

    def close(self) -> None:
        """Let go of the trees."""
        self._held.close()
        self._holding.clear()

    def _trees(self, layers: Sequence[Layer]) -> list[_Tree]:
        """How the layers are spread over trees; one mount cannot take more paths than fit into a page."""
        each = len(os.fsencode(os.path.join(self.root, "0" * 64, "tree"))) + _PER_PATH
        most = max(2, STACK_BYTES // each)
        if len(layers) <= most:
            return [_Tree(hex=layer.diff_id.hex, layers=(layer,)) for layer in layers]
        rest = tuple(layers[most - 1 :])
        chain = hashlib.sha256("\n".join(layer.diff_id for layer in rest).encode()).hexdigest()
        return [*self._trees(layers[: most - 1]), _Tree(hex=chain, layers=rest)]

    def _ready(self, tree: _Tree) -> str:
        return self._have(tree.hex, [layer.diff_id for layer in tree.layers], lambda new: self._unpack(tree, new))

    def _have(self, name: str, layers: Sequence[Digest], make: Callable[[str], None]) -> str:
        """The path of a tree that is in order and held, made by `make` at the path that it is given if need be."""
        self._hold(name)
        if not self._is_ready(name):
            with FileLock(self._lock(name, ".making"), timeout=None):
                if not self._is_ready(name):  # another process may have made it meanwhile
                    self._make(name, layers, make)
        return os.path.join(self.root, name, "tree")

    def _hold(self, name: str) -> None:
        if name not in self._holding:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(self.root, "locks"), mode=0o700, exist_ok=True)
            self._held.enter_context(FileLock(self._lock(name), shared=True))
            self._holding.add(name)

    def _lock(self, name: str, suffix: str = "") -> str:
        return os.path.join(self.root, "locks", name + suffix)

    def _make(self, name: str, layers: Sequence[Digest], make: Callable[[str], None]) -> None:
        """Make a tree beside, and put it in its place. The caller holds the lock for making it."""
        for leftover in os.listdir(self.root):
            if leftover.startswith(LEFTOVER) and leftover.endswith(f"-new-{name}"):
                self._remove(leftover)
        beside = f"{LEFTOVER}{os.urandom(6).hex()}-new-{name}"
        path, final = os.path.join(self.root, beside), os.path.join(self.root, name)
        os.mkdir(path, 0o700)
        try:
            make(os.path.join(path, "tree"))
            table = _scan(os.path.join(path, "tree"))
            write_atomic(os.path.join(path, "table"), table)
            self._mark(path, layers, table)
            if os.path.lexists(final):
                # Damaged; but somebody may have it mounted, so only prune removes it.
                log.warning("the unpacked layer %s is not what it was, and is made again", name[:12])
                os.rename(final, os.path.join(self.root, f"{LEFTOVER}{os.urandom(6).hex()}-old-{name}"))
            os.rename(path, final)
        except BaseException:
            with suppress(StoreError):
                self._remove(beside)
            raise

    def _unpack(self, tree: _Tree, path: str) -> None:
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)  # noqa: S103 - the root that sandboxes see, in a closed directory
        for layer in tree.layers:
            if not self._store.has(layer.blob.digest, layer.blob.size):
                with self._store.open(layer.blob.digest):  # says what is missing
                    raise CorruptError(
                        f"the layer {layer.diff_id.short} has another size than its image says",
                        slug="archive-digest",
                        cause=f"expected {layer.blob.size} bytes in {layer.blob.digest}",
                    )
            with self._store.open(layer.blob.digest) as stream:
                done = extract(stream, path, whiteouts="overlay", diff_id=layer.diff_id)
            for warning in done.warnings:
                log.info("layer %s: %s", layer.diff_id.short, warning)

    def _is_ready(self, name: str) -> bool:
        """Whether the tree is there, and looks as it did: its top always, all of it once after each start."""
        place = os.path.join(self.root, name)
        marked = _facts(place)
        if marked.get("version") != VERSION or marked.get("top") != _top(os.path.join(place, "tree")):
            return False
        if marked.get("boot") == _boot():
            return True
        table = _read(os.path.join(place, "table"))
        if not table or fingerprint.digest(table) != marked.get("table") or _scan(os.path.join(place, "tree")) != table:
            return False
        write_atomic(os.path.join(place, "made"), json.dumps({**marked, "boot": _boot()}).encode())
        return True

    def _mark(self, path: str, layers: Sequence[Digest], table: bytes) -> None:
        facts = {
            "version": VERSION,
            "layers": list(layers),
            "top": _top(os.path.join(path, "tree")),
            "table": fingerprint.digest(table),
            "boot": _boot(),
        }
        write_atomic(os.path.join(path, "made"), json.dumps(facts).encode())

    def _layers_of(self, name: str) -> list[str]:
        """The diff ids that a tree was made of."""
        layers = _facts(os.path.join(self.root, name)).get("layers")
        return [str(layer) for layer in layers] if isinstance(layers, list) and layers else [f"sha256:{name}"]

    @contextmanager
    def _alone(self, name: str) -> Iterator[bool]:
        """Whether nobody uses or makes the tree; then nobody starts to, meanwhile."""
        os.makedirs(os.path.join(self.root, "locks"), mode=0o700, exist_ok=True)
        with ExitStack() as stack:
            try:
                for suffix in ("", ".making"):
                    stack.enter_context(FileLock(self._lock(name, suffix), timeout=0))
            except StoreError as error:
                if error.slug != "locked":
                    raise
                yield False
                return
            yield True

    def _remove(self, name: str) -> int:
        """Remove a directory of ours; gives the bytes that it took."""
        size = _size(os.path.join(self.root, name))
        with confined.Root.open(self.root) as root:
            root.remove(name)
        return size


def _move(source: str, target: str) -> None:
    """Move a ready tree in. Raises StoreError, slug `snapshot-adopt`."""
    try:
        if not stat.S_ISDIR(os.lstat(source).st_mode):
            raise NotADirectoryError
        os.rename(source, target)
    except OSError as error:
        raise StoreError(
            f"{source} cannot become the tree of a layer",
            slug="snapshot-adopt",
            cause=f"{os.strerror(error.errno) if error.errno else 'it is no directory'}; it is moved, not copied",
            at=target,
        ) from error


def _facts(place: str) -> Mapping[str, object]:
    """What the marker says; nothing where there is none, or a damaged one: the tree is then made again."""
    try:
        facts = json.loads(_read(os.path.join(place, "made")))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _boot() -> str:
    """What is another string after each start of the machine."""
    return _read(_BOOT).decode("ascii", "replace").strip()


def _top(tree: str) -> str:
    """A digest of a tree's uppermost entries with their times; "" where there is no tree."""
    lines = []
    try:
        if not stat.S_ISDIR(os.lstat(tree).st_mode):
            return ""
        with os.scandir(tree) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                lines.append(f"{entry.name!a} {found.st_mode:o} {found.st_ino} {found.st_mtime_ns}")
    except OSError:
        return ""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _once(paths: list[str]) -> tuple[str, ...]:
    """Of a layer that an image has twice only the upper one shows, and an overlay takes no directory twice."""
    return tuple(reversed(dict.fromkeys(reversed(paths))))


def _is_opaque(tree: str) -> bool:
    try:
        return os.getxattr(tree, OPAQUE) == b"y"
    except OSError as error:
        if error.errno not in {errno.ENODATA, errno.ENOTSUP}:
            raise
        return False


def _scan(tree: str) -> bytes:
    """The tree's fingerprint; nothing where an ordinary user cannot see all of it, as its modes forbid."""
    try:
        return fingerprint.scan(tree)
    except PermissionError as error:
        log.debug("%s: %s", tree, error)
        return b""


def _size(path: str) -> int:
    """The bytes a tree takes on the disk, as far as it can be seen."""
    total = 0
    for _, _, files, fd in os.fwalk(path, follow_symlinks=False):
        for name in files:
            with suppress(OSError):
                total += os.lstat(name, dir_fd=fd).st_blocks * 512
    return total


def _is_hex(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


@contextmanager
def _translated(root: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, error.filename if isinstance(error.filename, str) else root) from error
