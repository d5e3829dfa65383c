"""The kernel's own account of what happens in directories: inotify(7), by ctypes.

A library was looked at first: see docs/explanation/decisions (watching).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_DIR = 0x40000000

_ONLY_DIR = 0x01000000
_NO_UNLINKED = 0x04000000
# Neither reading nor opening is among them: what we read ourselves must not wake us (LIV-07).
_MASK = (MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF) | (
    _ONLY_DIR | _NO_UNLINKED
)
_HEAD = struct.Struct("iIII")
_BUFFER = 1 << 18


class Inotify:
    """One queue of events; a context manager. OSError is the kernel's: EMFILE and ENOSPC are its limits (LIV-08)."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = _checked(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def add(self, directory: int) -> int:
        """Watch the directory behind a descriptor; the same number again where it is watched already."""
        path = b"/proc/self/fd/%d" % directory
        return _checked(_libc().inotify_add_watch(self.fd, path, _MASK), "inotify_add_watch")

    def remove(self, watch: int) -> None:
        """Stop watching; a watch that ended by itself is fine."""
        _libc().inotify_rm_watch(self.fd, watch)

    def read(self) -> Iterator[tuple[int, int, str]]:
        """What has happened until now: watch, mask, name in the directory."""
        while True:
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                yield watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length

    def close(self) -> None:
        """End all watches."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "inotify_init1")
    libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)
    return libc


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
