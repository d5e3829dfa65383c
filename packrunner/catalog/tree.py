"""One normalised copy of a directory that somebody else wrote, and the digest of what is in it.

Directories and programs become 0755, other files 0644, times are fixed, so that the same content has the same digest
and the same bytes in a layer wherever it came from (DST-07). Links must stay inside; anything else but files and
directories is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING

import msgspec

from packrunner.disk import disk_error, write_all
from packrunner.errors import UnsafeArchiveError
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MTIME_NS = 315532801 * 1_000_000_000
"""1980-01-01T00:00:01Z."""
MAX_ENTRIES = 100_000
MAX_BYTES = 4 << 30
MAX_DEPTH = 64

# What tools leave behind: part of no buildpack.
_SKIPPED = frozenset({"__pycache__", ".git", ".DS_Store"})
_DIR_MODE = 0o755
_DAY = 86400
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extra(msgspec.Struct, frozen=True):
    """A file that a copy has beyond its source."""

    path: str
    data: bytes
    mode: int = 0o644


def normalise(source: str, into: str, *, extra: Iterable[Extra] = (), shown: str = "") -> str:
    """Copy the tree at `source`, called `shown` in messages, into the new directory `into`, with `extra` files.

    Returns the digest, in hexadecimal.

    Raises UnsafeArchiveError, slug `buildpack-tree`, for what cannot be part of a buildpack, StoreError for what the
    operating system refuses.
    """
    copy = _Walk(source, into, shown or readable(source))
    try:
        make_directory(into)
        for file in extra:
            copy.add_file(file)
        copy.walk()
        return copy.digest()
    except OSError as error:
        raise disk_error(error, error.filename if isinstance(error.filename, str) else source) from error


def digest(root: str) -> str:
    """The digest of a tree that `normalise` made."""
    walk = _Walk(root, None, root)
    try:
        walk.walk()
        return walk.digest()
    except OSError as error:
        raise disk_error(error, root) from error


def table(root: str) -> bytes:
    """What a stat of every entry says of a staged tree: equal as long as nobody touched it.

    Unlike a fingerprint it leaves out ctimes and inodes, which hard links made elsewhere change.
    """
    lines: list[bytes] = []
    pending = [""]
    while pending:
        base = pending.pop()
        with os.scandir(os.path.join(root, base)) as found:
            for entry in found:
                st = entry.stat(follow_symlinks=False)
                path = base + entry.name
                if stat.S_ISDIR(st.st_mode):
                    pending.append(path + "/")
                    lines.append(os.fsencode(f"{st.st_mode:o} {path}"))
                else:
                    lines.append(os.fsencode(f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {path}"))
    return b"\0".join(sorted(lines))


class _Walk(msgspec.Struct):
    """Visits a tree by directory descriptors; with `into` it copies what it sees."""

    source: str
    into: str | None
    shown: str
    entries: dict[str, str] = msgspec.field(default_factory=dict)
    size: int = 0

    def digest(self) -> str:
        listing = "".join(f"{path}\0{what}\0" for path, what in sorted(self.entries.items()))
        return hashlib.sha256(os.fsencode(listing)).hexdigest()

    def add_file(self, extra: Extra) -> None:
        """One file that the source does not have, with the directories above it."""
        assert self.into is not None
        path = extra.path
        above = os.path.dirname(path)
        while above:
            self.entries[above] = "dir"
            above = os.path.dirname(above)
        parts = path.split("/")[:-1]
        for i in range(len(parts)):
            make_directory(os.path.join(self.into, *parts[: i + 1]))
        self.entries[path] = f"file {extra.mode:o} {hashlib.sha256(extra.data).hexdigest()}"
        target = os.open(os.path.join(self.into, path), _CREATE, 0o600)
        try:
            write_all(target, extra.data)
            _finish(target, extra.mode)
        finally:
            os.close(target)

    def walk(self) -> None:
        fd = os.open(self.source, _DIR)
        try:
            self._directory(fd, "", 0)
        finally:
            os.close(fd)

    def _directory(self, fd: int, base: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._refused(base, f"directories nested deeper than {MAX_DEPTH}")
        for name in sorted(os.listdir(fd)):
            if name in _SKIPPED:
                continue
            path = base + name
            mode = os.lstat(name, dir_fd=fd).st_mode
            if len(self.entries) >= MAX_ENTRIES:
                raise self._refused(path, f"a buildpack has at most {MAX_ENTRIES} files")
            if self.entries.get(path, "dir") != "dir" or (path in self.entries and not stat.S_ISDIR(mode)):
                raise self._refused(path, "packrunner puts its SDK and programs there")
            if stat.S_ISDIR(mode):
                self._subdirectory(fd, name, path, depth)
            elif stat.S_ISLNK(mode):
                self._link(fd, name, path)
            elif stat.S_ISREG(mode):
                self._file(fd, name, path)
            else:
                raise self._refused(path, "neither a file nor a directory")

    def _subdirectory(self, fd: int, name: str, path: str, depth: int) -> None:
        self.entries[path] = "dir"
        if self.into is not None:
            make_directory(os.path.join(self.into, path))
        child = os.open(name, _DIR, dir_fd=fd)
        try:
            self._directory(child, path + "/", depth + 1)
        finally:
            os.close(child)

    def _link(self, fd: int, name: str, path: str) -> None:
        target = os.readlink(name, dir_fd=fd)
        if not _stays_inside(path, target):
            raise self._refused(path, f"a link to {target}, which may leave the buildpack")
        self.entries[path] = f"link {target}"
        if self.into is not None:
            os.symlink(target, os.path.join(self.into, path))
            os.utime(os.path.join(self.into, path), ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)

    def _file(self, fd: int, name: str, path: str) -> None:
        source = -1
        try:
            source = os.open(name, _READ, dir_fd=fd)
            st = os.fstat(source)
            if not stat.S_ISREG(st.st_mode):
                raise self._refused(path, "it changed while it was read")
            mode = _DIR_MODE if st.st_mode & 0o111 or os.path.dirname(path) == "bin" else 0o644
            self.entries[path] = f"file {mode:o} {self._content(source, path, mode)}"
        except OSError as error:
            raise disk_error(error, os.path.join(self.source, path)) from error
        finally:
            if source >= 0:
                os.close(source)

    def _content(self, source: int, path: str, mode: int) -> str:
        target = -1 if self.into is None else os.open(os.path.join(self.into, path), _CREATE, 0o600)
        try:
            hashed = hashlib.sha256()
            while data := os.read(source, 1 << 20):
                self.size += len(data)
                if self.size > MAX_BYTES:
                    raise self._refused(path, f"a buildpack has at most {MAX_BYTES} bytes")
                hashed.update(data)
                if target >= 0:
                    write_all(target, data)
            if target >= 0:
                _finish(target, mode)
            return hashed.hexdigest()
        finally:
            if target >= 0:
                os.close(target)

    def _refused(self, path: str, cause: str) -> UnsafeArchiveError:
        return UnsafeArchiveError(
            f"{self.shown} cannot be used as a buildpack",
            slug="buildpack-tree",
            cause=cause,
            at=os.path.join(self.shown, path),
            tries=("remove it, or put the buildpack into a directory of its own",),
        )


def _stays_inside(path: str, target: str) -> bool:
    """Whether a link leads nowhere but into its own tree, whatever other links are on the way.

    So `..` is allowed at the beginning only, where it cannot come after a link, and not above the root.
    """
    if not target or target.startswith("/"):
        return False
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    return ups <= path.count("/") and ".." not in parts[ups:]


def make_directory(path: str) -> None:
    """A directory that everyone may read, whatever the umask; one that is there stays."""
    try:
        os.makedirs(path, exist_ok=True)
        if os.lstat(path).st_mode & 0o777 != _DIR_MODE:
            os.chmod(path, _DIR_MODE)
    except OSError as error:
        raise disk_error(error, path) from error


def make_once(place: str, fill: Callable[[str], None]) -> None:
    """Fill a new directory beside `place` and move it there: of two commands that do this at once, one wins.

    One that is there counts as used now. Raises StoreError, and what `fill` raises.
    """
    try:
        if os.path.isdir(place):
            if time.time() - os.stat(place).st_mtime > _DAY:
                os.utime(place)  # prune goes by this; more often, and the tree would look changed
            return
        # Most of the time everything is there.
        import tempfile

        above = os.path.dirname(place)
        make_directory(above)
        with tempfile.TemporaryDirectory(prefix=".packrunner-", dir=above, ignore_cleanup_errors=True) as new:
            made = os.path.join(new, "tree")
            make_directory(made)
            fill(made)
            try:
                os.rename(made, place)
            except OSError:
                if not os.path.isdir(place):
                    raise
    except OSError as error:
        raise disk_error(error, place) from error


def _finish(fd: int, mode: int) -> None:
    os.fchmod(fd, mode)
    os.utime(fd, ns=(MTIME_NS, MTIME_NS))
