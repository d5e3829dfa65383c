"""Directories held by a descriptor: listed, made and removed one name at a time, never through a link.

What confined.py offers for whole paths is made of these.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.disk import temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["file", "dir", "link", "other"]

# O_PATH needs no right to read, and so passes the directories of mode 000 that sandboxes leave behind.
STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a directory; `kind` is of the entry itself, links are not followed."""

    name: str
    kind: Kind


def entries(directory: int) -> list[Entry]:
    fd = os.open(".", LIST, dir_fd=directory)
    try:
        with os.scandir(fd) as entries:
            return [Entry(name=entry.name, kind=_entry_kind(entry)) for entry in entries]
    finally:
        os.close(fd)


def _entry_kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "dir"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def enter(here: int, name: str, mode: int, owner: tuple[int, int] | None) -> int:
    """Make and open one directory."""
    try:
        os.mkdir(name, 0o700, dir_fd=here)
    except FileExistsError:
        return os.open(name, STEP, dir_fd=here)
    fd = os.open(name, LIST, dir_fd=here)
    try:
        if owner:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode & 0o777)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def writable(directory: int) -> Iterator[None]:
    """Names may be changed in `directory`, even where its owner took that right away; put back afterwards."""
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if mode & 0o300 == 0o300:
        yield
        return
    os.chmod(f"/proc/self/fd/{directory}", mode | 0o700)
    try:
        yield
    finally:
        os.chmod(f"/proc/self/fd/{directory}", mode)


def remove(parent: int, name: str) -> None:
    """Move the entry into a directory of our own, then empty that.

    Every directory found is moved up beside the first one before it is emptied, so any depth needs three
    descriptors and no recursion, and a directory swapped for a link is only ever unlinked.
    """
    if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    grave_name = temporary("removed")
    os.mkdir(grave_name, 0o700, dir_fd=parent)
    grave = os.open(grave_name, LIST, dir_fd=parent)
    try:
        _bury(parent, name, grave, "0")
        count = 1
        pending = ["0"]
        while pending:
            doomed = pending.pop()
            for moved in _empty(grave, doomed, count):
                pending.append(moved)
                count += 1
    finally:
        os.close(grave)
    os.rmdir(grave_name, dir_fd=parent)


def _bury(directory: int, name: str, grave: int, new: str) -> None:
    """Move a directory; the kernel wants it writable, as its `..` changes."""
    try:
        fd = os.open(name, STEP, dir_fd=directory)
    except NotADirectoryError:
        os.unlink(name, dir_fd=directory)
        return
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=grave)
    finally:
        os.close(fd)


def _empty(grave: int, name: str, count: int) -> list[str]:
    """Delete the directory `name` of the grave; what it held of directories is now in the grave too."""
    try:
        fd = os.open(name, LIST, dir_fd=grave)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        os.unlink(name, dir_fd=grave)
        return []
    moved: list[str] = []
    try:
        for entry in entries(fd):
            if entry.kind != "dir":
                unlink(fd, entry.name)
                continue
            new = str(count + len(moved))
            _bury(fd, entry.name, grave, new)
            moved.append(new)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=grave)
    return moved


def unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
