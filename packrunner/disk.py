"""Files in packrunner's own trees: whole or absent, under locks that die with their holder.

Trees that somebody else wrote are the business of confined.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from packrunner import paths
from packrunner.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LOCKLESS = frozenset({errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS})
_NOTICE_AFTER = 2.0
UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP})
"""How file systems answer that have no way to sync a directory."""


def disk_error(error: OSError, path: str) -> StoreError:
    """The StoreError for an OSError at `path`: slug `disk-full` where space ran out, else `disk` (STO-07, STO-15)."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return StoreError(
            f"no space is left for {path}",
            slug="disk-full",
            cause=cause,
            tries=("packrunner prune", f"df -h -i {os.path.dirname(path) or '.'}"),
        )
    tries: tuple[str, ...] = ()
    if error.errno in _DENIED:
        cause += _owner(path)
        if paths.is_ours(path):
            tries = ("PACKRUNNER_HOME=DIR, with a directory of yours, keeps images and caches there",)
    return StoreError(f"cannot use {path}", slug="disk", cause=cause, at=path, tries=tries)


def _owner(path: str) -> str:
    for candidate in (path, os.path.dirname(path)):
        try:
            return f" ({candidate or '.'} belongs to user {os.lstat(candidate or '.').st_uid}, you are {os.geteuid()})"
        except OSError:
            continue
    return ""


LEFTOVER = ".packrunner-"
"""What temporary names begin with, and so those that a killed process leaves."""


def temporary(name: str) -> str:
    """A name beside `name` that nothing else uses; a leftover one is recognised by its prefix."""
    return f"{LEFTOVER}{os.urandom(6).hex()}-{os.path.basename(name)[:64]}"


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, however the kernel cuts them."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Write `path` beside and rename it into place: readers see the old or the new bytes, never a part.

    With `sync` the bytes and the name outlive a power loss. Raises StoreError; the old file is then intact.
    """
    beside = os.path.join(os.path.dirname(path), temporary(path))
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.fchmod(fd, mode)
                write_all(fd, data)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(beside, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(beside)
            raise
        if sync:
            sync_directory(os.path.dirname(path) or ".")
    except OSError as error:
        raise disk_error(error, path) from error


def sync_directory(path: str) -> None:
    """Make the names in a directory outlive a power loss, where its file system can (STO-18)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in UNSYNCABLE:
            raise
    finally:
        os.close(fd)


def _no_locks(error: OSError, path: str) -> StoreError:
    """The error for a file system without locks, on which two builds could harm each other (STO-18)."""
    return StoreError(
        f"the file system of {path} has no locks",
        slug="disk",
        cause=os.strerror(error.errno or 0),
        at=path,
        tries=("PACKRUNNER_HOME=DIR, on a local disk", "mount the network file system with locks"),
    )


class FileLock:
    """A lock between processes and threads that the kernel frees when its holder dies (STO-10).

    `notice` is called once after two seconds of waiting; `timeout` is in seconds, None waits for ever (STO-11).
    Raises StoreError, slug `locked` when the time is over. The file stays behind on purpose: removing a lock
    file lets two holders in.
    """

    def __init__(
        self,
        path: str,
        *,
        shared: bool = False,
        timeout: float | None = None,
        notice: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._timeout = timeout
        self._notice = notice
        self._fd = -1

    def __enter__(self) -> Self:
        """Wait for the lock; Ctrl-C ends the wait."""
        fd = self._open()
        try:
            self._wait(fd)
        except OSError as error:
            os.close(fd)
            if error.errno in _LOCKLESS:
                raise _no_locks(error, self.path) from error
            raise disk_error(error, self.path) from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        self._fd = -1

    def _open(self) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(self.path, flags | os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                if error.errno not in _DENIED:
                    raise
                # A store that may only be read can still be locked, by the file that its owner made.
                return os.open(self.path, flags | os.O_RDONLY)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def _wait(self, fd: int) -> None:
        began = time.monotonic()
        pause = 0.005
        notice = self._notice
        while not self._try(fd):
            waited = time.monotonic() - began
            if self._timeout is not None and waited >= self._timeout:
                raise StoreError(
                    f"{self.path} is still held by another packrunner after {waited:.0f} s",
                    slug="locked",
                    tries=(f"fuser -v {self.path}",),
                )
            if notice and waited >= _NOTICE_AFTER:
                notice()
                notice = None
            time.sleep(pause)
            pause = min(pause * 2, 0.1)

    def _try(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, self._operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
