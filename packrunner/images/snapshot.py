"""Layers unpacked once, one tree each, in the form of an overlay file system's layers.

    <diff id>/tree/     the layer; set-id bits are stripped (ARC-19)
    <diff id>/table     the tree's fingerprint from when it was made
    <diff id>/seal      since which start of the machine it is known to be whole, and how its top looked
    new-*               trees in the making, and on their way out
    unpack.lock         held while a layer is unpacked

Directories in use are locked (shared) by a descriptor that dies with its process; `prune` takes what nobody holds.
A tree made before this machine was last started is compared with its table once: after a power loss files may be
empty that were never synced. Later uses look at the top of the tree only.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from packrunner import fingerprint
from packrunner.confined import Root
from packrunner.disk import FileLock, disk_error, temporary, write_atomic
from packrunner.errors import StoreError
from packrunner.images.extract import extract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from packrunner.images.image import Image, Layer
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

log = logging.getLogger(__name__)

_NEW = "new-"
_WAIT = 600.0
_ROOT_MODE = 0o755  # of "/" in an image, whatever the umask


class Snapshots:
    """The trees below `root`. Those given out stay until `close`, or until this process ends.

    Raises StoreError (`disk`, `disk-full`, `locked`, `no-overlay`), and what extract and the store raise.
    """

    def __init__(self, root: str, store: LocalStore) -> None:
        self.root = root
        self._store = store
        self._held: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all trees."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def lowers(self, image: Image) -> tuple[str, ...]:
        """The image's root file system: one directory a layer, lowest first. Unpacks what is missing or damaged."""
        return tuple([self._layer(layer) for layer in image.layers])

    def adopt(self, diff_id: Digest, tree_path: str) -> str:
        """Take a ready tree, which must be on the same file system, as that layer's; gives its new path.

        When the layer has a good tree already, that one is kept and the given one removed.
        """
        with self._making():
            if self._hold(diff_id):
                _remove(tree_path)
                return self._tree(diff_id)
            with self._beside() as beside:
                try:
                    os.rename(tree_path, os.path.join(beside, "tree"))
                except OSError as e:
                    raise disk_error(e, tree_path) from e
                self._publish(diff_id, beside)
            self._hold(diff_id)
        return self._tree(diff_id)

    def verify(self, image: Image) -> tuple[str, ...]:
        """Paths in the image's trees that are not as they were when they were unpacked; trees not there are fine."""
        found: list[str] = []
        for layer in image.layers:
            tree = self._tree(layer.diff_id)
            table = _read(self._at(layer.diff_id, "table"))
            if table:
                found += [os.path.join(tree, path) for path in fingerprint.changed(table, _scan(tree))]
        return tuple(found)

    def prune(self, keep: frozenset[str] = frozenset(), *, dry_run: bool = False) -> int:
        """Remove trees of layers whose diff ids are not in `keep`, unless somebody uses them; gives the bytes."""
        freed = 0
        kept = {diff_id.rpartition(":")[2] for diff_id in keep}
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.root)):
                if name not in kept and (name.startswith(_NEW) or len(name) == 64):
                    freed += self._discard(name, dry_run=dry_run)
        return freed

    def _discard(self, name: str, *, dry_run: bool) -> int:
        """Remove one directory of ours unless somebody holds it."""
        path = os.path.join(self.root, name)
        fd = _open(path)
        if fd < 0:
            return 0
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = _size(path)
            if not dry_run:
                # Its name first, so that a sudden end leaves nothing that looks complete.
                doomed = os.path.join(self.root, _NEW + temporary("old").lstrip("."))
                os.rename(path, doomed)
                _remove(doomed)
        except BlockingIOError:
            return 0
        except OSError as e:
            raise disk_error(e, path) from e
        finally:
            os.close(fd)
        return size

    def _layer(self, layer: Layer) -> str:
        diff_id = layer.diff_id
        if not self._hold(diff_id):
            with self._making():
                if not self._hold(diff_id):
                    self._unpack(layer)
                    self._hold(diff_id)
        return self._tree(diff_id)

    def _unpack(self, layer: Layer) -> None:
        log.info("unpacking layer %s", layer.diff_id.short)
        with self._beside() as beside:
            tree = os.path.join(beside, "tree")
            os.mkdir(tree, 0o700)
            os.chmod(tree, _ROOT_MODE)
            with self._store.open(layer.blob.digest) as stream:
                extract(stream, tree, whiteouts="overlay", digest=layer.blob.digest, diff_id=layer.diff_id)
            self._publish(layer.diff_id, beside)

    def _publish(self, diff_id: Digest, beside: str) -> None:
        """Let a finished tree be the layer's; what had its place goes, at once or when nobody uses it any more."""
        final = self._at(diff_id)
        tree = os.path.join(beside, "tree")
        try:
            write_atomic(os.path.join(beside, "table"), fingerprint.scan(tree))
            write_atomic(os.path.join(beside, "seal"), _seal(tree))
            if os.path.lexists(final):
                os.rename(final, os.path.join(self.root, _NEW + temporary("old").lstrip(".")))
            os.rename(beside, final)
        except OSError as e:
            raise disk_error(e, final) from e

    def _hold(self, diff_id: Digest) -> bool:
        """Lock the layer's tree for our use; False when there is none that is whole."""
        if diff_id.hex in self._held:
            return True
        path = self._at(diff_id)
        fd = _open(path)
        if fd < 0:
            return False
        good = False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            here = os.fstat(fd)
            good = os.path.samestat(here, os.stat(path)) and self._good(diff_id)
        except FileNotFoundError:
            return False
        except OSError as e:
            raise disk_error(e, path) from e
        finally:
            if not good:
                os.close(fd)
        self._held[diff_id.hex] = fd
        return good

    def _good(self, diff_id: Digest) -> bool:
        """Whether the layer has a complete tree that looks untouched."""
        tree = self._tree(diff_id)
        seal = _read(self._at(diff_id, "seal"))
        try:
            now = _seal(tree)
        except OSError:
            return False
        if seal == now:
            return True
        # Made before this machine was started, or changed at the top: its table tells.
        table = _read(self._at(diff_id, "table"))
        if not table or fingerprint.changed(table, _scan(tree)):
            log.warning("the unpacked layer %s is not as it was made; unpacking it again", diff_id.short)
            return False
        with suppress(StoreError):
            write_atomic(self._at(diff_id, "seal"), now)
        return True

    def _at(self, diff_id: Digest, *parts: str) -> str:
        return os.path.join(self.root, diff_id.hex, *parts)

    def _tree(self, diff_id: Digest) -> str:
        return self._at(diff_id, "tree")

    def _making(self) -> FileLock:
        try:
            os.makedirs(self.root, 0o700, exist_ok=True)
        except OSError as e:
            raise disk_error(e, self.root) from e
        return FileLock(os.path.join(self.root, "unpack.lock"), timeout=_WAIT)

    @contextmanager
    def _beside(self) -> Iterator[str]:
        """A directory to make a tree in: ours until published, removed otherwise."""
        path = os.path.join(self.root, _NEW + temporary("tree").lstrip("."))
        try:
            os.mkdir(path, 0o700)
        except OSError as e:
            raise disk_error(e, path) from e
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield path
        except BaseException:
            _remove(path)
            raise
        finally:
            os.close(fd)


def _seal(tree: str) -> bytes:
    """Which start of the machine it is, and the entries of the top of a tree with their times."""
    lines = []
    with os.scandir(tree) as entries:
        for entry in entries:
            st = entry.stat(follow_symlinks=False)
            lines.append(f"{entry.name} {st.st_mode} {st.st_size} {st.st_mtime_ns} {st.st_ino}")
    digest = hashlib.sha256(os.fsencode("\0".join(sorted(lines)))).hexdigest()
    return _read("/proc/sys/kernel/random/boot_id") + digest.encode()


def _read(path: str) -> bytes:
    """A file's bytes; none where there is no file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _scan(tree: str) -> bytes:
    try:
        return fingerprint.scan(tree)
    except OSError:
        return fingerprint.join([], 0)


def _size(path: str) -> int:
    return sum(int(line.split(b" ", 2)[1]) for line in _scan(path).split(b"\n")[1:-1] if b" " in line)


def _open(path: str) -> int:
    """A directory, to lock; -1 where there is none."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as e:
        raise disk_error(e, path) from e


def _remove(path: str) -> None:
    with Root.open(os.path.dirname(path)) as parent:
        parent.remove(os.path.basename(path))
