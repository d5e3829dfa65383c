"""Every call by which the store changes the file system, in one place: tests fail or kill the n-th of them."""

from __future__ import annotations

import os
from contextlib import suppress

from packrunner.disk import UNSYNCABLE, disk_error, temporary

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Files:
    """The file system."""

    def create(self, path: str) -> int:
        """A new file, open for writing and reading, for its owner only."""
        return os.open(path, _CREATE, 0o600)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; says how much."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """Put a file's bytes, or a directory's names, on the disk."""
        os.fsync(fd)

    def rename(self, old: str, new: str) -> None:
        """Give a file its final name, over what has it."""
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """Make a directory for its owner only, and its parents; fine when it is there."""
        above = os.path.dirname(path)
        if above and not os.path.isdir(above):
            self.mkdir(above)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def replace_file(files: Files, path: str, data: bytes, *, sync: bool = True) -> None:
    """Write a file as a whole: at any moment the old or the new bytes are there. Raises StoreError."""
    beside = os.path.join(os.path.dirname(path), temporary(path))
    try:
        fd = files.create(beside)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[files.write(fd, view) :]
                if sync:
                    files.sync(fd)
            finally:
                os.close(fd)
            files.rename(beside, path)
        except BaseException:
            with suppress(OSError):
                files.unlink(beside)
            raise
        if sync:
            sync_directory(files, os.path.dirname(path))
    except OSError as e:
        raise disk_error(e, path) from e


def sync_directory(files: Files, path: str) -> None:
    """Put a directory's names on the disk, where its file system can (STO-18)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.sync(fd)
    except OSError as e:
        if e.errno not in UNSYNCABLE:
            raise
    finally:
        os.close(fd)
