"""Hostile zip archives to trees: the form in which GitHub and others hand out a repository at a commit.

As of tar archives (`images/extract.py`) every path is checked, nothing is written through a link, devices are refused,
and what may come out is bounded; so is the directory at the end, which is read as a whole.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, NoReturn

from packrunner.disk import disk_error
from packrunner.errors import CorruptError, UnsafeArchiveError
from packrunner.images.treewrite import Attributes, TreeWriter

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from packrunner.images.extract import Limits
    from packrunner.images.treewrite import Parts

_WHAT = "the archive"
_STARTS = (b"PK\3\4", b"PK\5\6")
_END, _END_SIZE = b"PK\5\6", 22
_LARGE = b"PK\6\7"
_COMMENT = 0xFFFF
_DIRECTORY = 8 << 20
"""Bytes of the directory at the end: more than 100,000 entries of usual names have."""
_SLACK = 32 << 20
"""Bytes that any archive may unpack to, whatever its ratio."""
_LINK = 4096
_CHUNK = 1 << 20


def is_zip(path: str) -> bool:
    """Whether a file begins as zip archives do."""
    with open(path, "rb") as file:
        return file.read(4) in _STARTS


def unzip(path: str, into: str, *, owner: tuple[int, int] | None, limits: Limits) -> None:
    """Unpack a zip archive over the directory `into`; for root, `owner` owns everything.

    Raises CorruptError (`archive-corrupt`), UnsafeArchiveError (`unsafe-archive`, `archive-limit`), StoreError. What
    was written until then is left for the caller to remove.
    """
    import zipfile
    import zlib
    from lzma import LZMAError

    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive, TreeWriter(into, _WHAT, overlay=False, strict=True) as writer:
            writer.owner = owner
            _Unzipping(archive, writer, owner, limits, os.stat(path).st_size).run()
            writer.finish()
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, struct.error) as error:
        raise _corrupt(str(error) or type(error).__name__) from error
    except (NotImplementedError, RuntimeError) as error:
        # What Python has no words of its own for: another compression, a password.
        raise _corrupt(str(error)) from error
    except OSError as error:
        # bzip2's errors are no system's; and a place before the file's beginning is none.
        if error.errno in {None, errno.EINVAL}:
            raise _corrupt(error.strerror or str(error)) from error
        raise disk_error(error, into) from error


def _check_end(path: str) -> None:
    """Refuse an archive whose directory would fill the memory, before anybody reads it."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _COMMENT - 2 * _END_SIZE))
        tail = file.read()
    if _LARGE in tail:
        _too_much("it is in the form for archives of more than 65,535 entries or 4 GB")
    at = tail.find(_END)
    while at >= 0:
        end = tail[at : at + _END_SIZE]
        if len(end) == _END_SIZE and struct.unpack_from("<L", end, 12)[0] > _DIRECTORY:
            _too_much(f"the list of its entries has more than {_DIRECTORY} bytes")
        at = tail.find(_END, at + 1)


class _Unzipping:
    """One archive on its way into a tree."""

    def __init__(
        self, archive: ZipFile, writer: TreeWriter, owner: tuple[int, int] | None, limits: Limits, size: int
    ) -> None:
        self._archive, self._writer, self._owner, self._limits = archive, writer, owner, limits
        self._left = min(limits.bytes, max(_SLACK, size * limits.ratio))

    def run(self) -> None:
        entries = self._archive.infolist()
        if len(entries) > self._limits.entries:
            _too_much(f"it has more than {self._limits.entries} entries")
        for entry in entries:
            name = os.fsencode(entry.filename)
            if len(name) > self._limits.name:
                self._writer.refuse(name, f"its name has more than {self._limits.name} bytes")
            try:
                self._entry(entry, name)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                self._writer.refuse(name, error.strerror or "")

    def _entry(self, entry: ZipInfo, name: bytes) -> None:
        parts = self._split(name)
        # Systems without modes leave them 0: nothing of theirs is a program.
        mode = entry.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if entry.is_dir():
            if parts:
                self._writer.directory(parts, Attributes(0o755, self._owner, None))
            return
        if not parts:
            self._writer.refuse(name, "a file cannot take the place of the root")
        if kind == stat.S_IFLNK:
            self._link(entry, name, parts)
        elif kind in {0, stat.S_IFREG}:
            self._file(entry, parts, 0o755 if mode & 0o111 else 0o644)
        else:
            self._writer.refuse(name, "it is no file, directory or link")

    def _split(self, name: bytes) -> Parts:
        parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
        if b".." in parts:
            self._writer.refuse(name, "its name climbs out of a directory with ..")
        if name.startswith(b"/"):
            self._writer.refuse(name, "its name is absolute")
        return parts

    def _file(self, entry: ZipInfo, parts: Parts, mode: int) -> None:
        with self._archive.open(entry) as content:

            def some() -> memoryview:
                data = content.read(_CHUNK)
                self._left -= len(data)
                if self._left < 0:
                    _too_much("its files have more bytes than an archive of this size may have")
                return memoryview(data)

            self._writer.file(parts, Attributes(mode, self._owner, None), some)

    def _link(self, entry: ZipInfo, name: bytes, parts: Parts) -> None:
        with self._archive.open(entry) as content:
            target = content.read(_LINK + 1)
        if not target or len(target) > _LINK or b"\0" in target:
            self._writer.refuse(name, "it is a link to nowhere")
        self._writer.link(parts, Attributes(0o777, self._owner, None), target)


def _corrupt(why: str) -> CorruptError:
    return CorruptError(f"{_WHAT} cannot be read", slug="archive-corrupt", cause=why)


def _too_much(why: str) -> NoReturn:
    raise UnsafeArchiveError(f"{_WHAT} is too large", slug="archive-limit", cause=why)
