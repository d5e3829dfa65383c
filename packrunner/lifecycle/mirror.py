"""A copy of a directory in a place of our own: filled once, brought up to date by what its fingerprints say.

No sandbox may write to a mirror that is updated; then the recorded table of its source tells what it holds. Beside
the tree lie `<tree>.table` and, while the tree is being changed, `<tree>.changing`.
"""

from __future__ import annotations

import os
import stat

from packrunner import confined, fingerprint
from packrunner.disk import disk_error
from packrunner.errors import UsageError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Mirror:
    """The copy at `path`; `owner` is given to everything in it."""

    def __init__(self, path: str, *, owner: tuple[int, int] | None) -> None:
        self.path = path
        self._owner = owner
        self._table = path + ".table"
        self._changing = path + ".changing"

    def update(self, source: str, table: bytes) -> None:
        """Make the copy equal to `source`, whose fingerprint is `table`; touches only what has changed."""
        old = self._recorded()
        if old == table:
            return
        confined.write_atomic(self._changing, b"")
        if not old:
            self._clear()
            self.fill(source, table)
        else:
            self._change(source, old, table)
        confined.write_atomic(self._table, table)
        os.unlink(self._changing)

    def fill(self, source: str, table: bytes, *, without: frozenset[str] = frozenset()) -> None:
        """Copy everything into the empty tree, leaving out `without` and what is below it."""
        os.makedirs(self.path, exist_ok=True)
        hidden: str | None = None
        for path, _ in fingerprint.kinds(table):
            if hidden and path.startswith(hidden):
                continue
            if path in without:
                hidden = path + "/"
                continue
            self._put(source, path)
        self._directories(source, ["", *(path for path, is_dir in fingerprint.kinds(table) if is_dir)])

    def _recorded(self) -> bytes:
        if os.path.exists(self._changing) or not os.path.isdir(self.path):
            return b""
        try:
            with open(self._table, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def _clear(self) -> None:
        parent, name = os.path.split(self.path)
        with confined.Root.open(parent) as root:
            root.remove(name)

    def _change(self, source: str, old: bytes, table: bytes) -> None:
        gone, fresh = fingerprint.difference(old, table)
        # Deepest first, so that nothing is ever reached through a link that took a directory's place.
        with confined.Root.open(self.path) as root:
            for path in sorted(gone, reverse=True):
                if path and not _same_directory(os.path.join(source, path), os.path.join(self.path, path)):
                    root.remove(path)
        for path in sorted(fresh):
            if path:
                self._put(source, path)
        parents = {os.path.dirname(path) for path in (*gone, *fresh)}
        self._directories(source, sorted(parents | {path for path, is_dir in fresh.items() if is_dir} | {""}))

    def _put(self, source: str, path: str) -> None:
        origin, target = os.path.join(source, path), os.path.join(self.path, path)
        try:
            found = os.lstat(origin)
            if stat.S_ISDIR(found.st_mode):
                if not os.path.isdir(target):
                    os.mkdir(target)
            elif stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(origin), target)
            elif stat.S_ISREG(found.st_mode):
                self._copy(origin, target)
            else:
                raise UsageError(
                    f"{path} is not a file, a directory or a link, so it cannot be part of an image",
                    slug="special-file",
                    at=origin,
                    tries=("leave it out: add it to io.buildpacks.exclude in project.toml",),
                )
            if self._owner:
                os.chown(target, *self._owner, follow_symlinks=False)
        except FileNotFoundError as e:
            raise UsageError(f"{path} vanished while it was copied", slug="changed-while-read", at=origin) from e
        except OSError as e:
            raise disk_error(e, e.filename or target) from e

    def _copy(self, origin: str, target: str) -> None:
        reader = os.open(origin, _READ)
        try:
            writer = os.open(target, _WRITE, 0o600)
            try:
                found = os.fstat(reader)
                # In the kernel: a buffer of our own would cost more than most files.
                while os.sendfile(writer, reader, None, 1 << 30):
                    pass
                if self._owner:
                    os.fchown(writer, *self._owner)
                os.fchmod(writer, stat.S_IMODE(found.st_mode))
                os.utime(writer, ns=(found.st_atime_ns, found.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def _directories(self, source: str, paths: list[str]) -> None:
        """Modes and times of directories, once what is in them is there."""
        for path in reversed(paths):
            try:
                found = os.lstat(os.path.join(source, path))
            except (FileNotFoundError, NotADirectoryError):
                continue
            target = os.path.join(self.path, path)
            if stat.S_ISDIR(found.st_mode) and os.path.isdir(target):
                if self._owner:
                    os.chown(target, *self._owner)
                os.chmod(target, stat.S_IMODE(found.st_mode))
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _same_directory(source: str, copy: str) -> bool:
    return all(os.path.isdir(p) and not os.path.islink(p) for p in (source, copy))
