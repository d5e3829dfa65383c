"""Unpack a tar or zip archive into a directory, and nowhere else.

No entry is written outside of the directory or through a link, no link leads outside, devices are refused. Modes are
those of a program or of a file, owners and times are not kept: they are the same whoever packs and unpacks.
"""

from __future__ import annotations

import os
import stat

from . import zstd
from .report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from tarfile import TarFile, TarInfo
    from typing import IO
    from zipfile import ZipFile, ZipInfo

_CHUNK = 1 << 20
_LIMIT = 8 << 30
_ENTRIES = 1_000_000


class _Entry:
    """One member: a directory when it has neither content nor a link."""

    def __init__(
        self, name: str, *, content: IO[bytes] | None = None, program: bool = False, link: str = "", same: str = ""
    ) -> None:
        self.name = name
        self.content = content
        self.program = program
        self.link = link
        self.same = same


def unpack(archive: str, into: str, *, strip: int = 0, only: Sequence[str] = (), limit: int = _LIMIT) -> int:
    """Unpack `archive` (zip, or tar with gzip, bzip2, xz, zstd or nothing) into `into`; return how many files.

    `strip` is how many leading names to leave out of each path. `only` are paths as they are in the archive: they, and
    what is below them, are unpacked and nothing else. `limit` is how many bytes may come out of it. Raises Failure.
    """
    import tarfile
    import zipfile
    import zlib
    from lzma import LZMAError

    try:
        os.makedirs(into, exist_ok=True)
        return _unpack(archive, into, strip, only, limit)
    except OSError as error:
        # gzip's and bz2's errors are OSErrors without a number.
        raise Failure(f"could not unpack {os.path.basename(archive)}: {error.strerror or error}") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError) as error:
        raise Failure(f"could not unpack {os.path.basename(archive)}: {error}") from error


def _unpack(archive: str, into: str, strip: int, only: Sequence[str], limit: int) -> int:
    ground = _Ground(os.path.realpath(into), os.path.basename(archive), limit)
    wanted = [_names(one, archive) for one in only]
    files = 0
    for entries, one in enumerate(_entries(archive), start=1):
        if entries > _ENTRIES:
            raise Failure(f"could not unpack {ground.archive}: it has more than {_ENTRIES} entries")
        names = _names(one.name, archive)
        if only and not any(names[: len(first)] == first for first in wanted):
            continue
        if names[strip:]:
            ground.add(names[strip:], one, strip)
            files += one.content is not None or bool(one.link or one.same)
    if only and not files:
        raise Failure(f"found no {' or '.join(only)} in {ground.archive}")
    return files


class _Ground:
    """The directory that is unpacked into."""

    def __init__(self, root: str, archive: str, limit: int) -> None:
        self.archive = archive
        self._root = root
        self._left = limit

    def add(self, names: list[str], one: _Entry, strip: int) -> None:
        parent = self._directory(names[:-1])
        path = os.path.join(parent, names[-1])
        if one.content is None and not one.link and not one.same:
            self._directory(names)
            return
        if os.path.lexists(path):
            if os.path.isdir(path) and not os.path.islink(path):
                raise self.refusal(one.name, "is a directory and then something else")
            os.unlink(path)
        if one.link:
            self._check_link(one, depth=len(names) - 1)
            os.symlink(one.link, path)
        elif one.same:
            os.link(self._existing(one, strip), path, follow_symlinks=False)
        else:
            self._write(path, one)

    def _directory(self, names: list[str]) -> str:
        """The directory of these names, made where it is not there; a link in their place is none."""
        path = self._root
        for name in names:
            path = os.path.join(path, name)
            if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
                raise self.refusal("/".join(names), "leads through a link or a file")
            if not os.path.isdir(path):
                os.mkdir(path)
        return path

    def _check_link(self, one: _Entry, *, depth: int) -> None:
        names = [name for name in one.link.split("/") if name not in {"", "."}]
        ups = next((i for i, name in enumerate(names) if name != ".."), len(names))
        # `..` after a name could leave by way of another link.
        if one.link.startswith("/") or ups > depth or ".." in names[ups:]:
            raise self.refusal(one.name, f"is a link to {one.link}")

    def _existing(self, one: _Entry, strip: int) -> str:
        names = _names(one.same, self.archive)[strip:]
        path = os.path.join(self._directory(names[:-1]), names[-1]) if names else ""
        if not os.path.isfile(path) or os.path.islink(path):
            raise self.refusal(one.name, f"is another name of {one.same}, which is no file in it")
        return path

    def _write(self, path: str, one: _Entry) -> None:
        assert one.content is not None
        # Made by this call: what stands there was removed.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
            while chunk := one.content.read(_CHUNK):
                self._left -= len(chunk)
                if self._left < 0:
                    raise Failure(f"could not unpack {self.archive}: there is more in it than expected")
                file.write(chunk)
            os.fchmod(file.fileno(), 0o755 if one.program else 0o644)

    def refusal(self, name: str, why: str) -> Failure:
        return Failure(f"will not unpack {self.archive}: {name} {why}")


def _names(path: str, archive: str) -> list[str]:
    names = [name for name in path.split("/") if name not in {"", "."}]
    if path.startswith("/") or ".." in names or "\0" in path:
        raise Failure(f"will not unpack {os.path.basename(archive)}: {path!r} leads outside")
    return names


def _entries(archive: str) -> Iterator[_Entry]:
    import tarfile
    import zipfile

    with open(archive, "rb") as file:
        begins = file.read(4)
    if begins in {b"PK\3\4", b"PK\5\6"}:
        with zipfile.ZipFile(archive) as packed:
            yield from _of_zip(packed, archive)
    elif begins == zstd.MAGIC:
        with (
            open(archive, "rb") as file,
            zstd.reader(file, name=os.path.basename(archive)) as plain,
            tarfile.open(fileobj=plain, mode="r|") as stream,
        ):
            yield from _of_tape(stream, archive)
            while plain.read(_CHUNK):
                pass  # a file that was cut behind the tar's end is no whole one either
    else:
        with tarfile.open(archive, "r|*") as stream:
            yield from _of_tape(stream, archive)


def _of_tape(stream: TarFile, archive: str) -> Iterator[_Entry]:
    for member in stream:
        yield _of_tar(member, stream.extractfile(member) if member.isreg() else None, archive)


def _of_tar(member: TarInfo, content: IO[bytes] | None, archive: str) -> _Entry:
    if member.isdir():
        return _Entry(member.name)
    if member.issym():
        return _Entry(member.name, link=member.linkname or ".")
    if member.islnk():
        return _Entry(member.name, same=member.linkname)
    if content is None:
        raise Failure(f"will not unpack {os.path.basename(archive)}: {member.name} is a device")
    return _Entry(member.name, content=content, program=bool(member.mode & 0o111))


def _of_zip(packed: ZipFile, archive: str) -> Iterator[_Entry]:
    for info in packed.infolist():
        if info.flag_bits & 1:
            raise Failure(f"could not unpack {os.path.basename(archive)}: {info.filename} is encrypted")
        mode = info.external_attr >> 16
        if info.is_dir():
            yield _Entry(info.filename)
        elif stat.S_ISLNK(mode):
            yield _Entry(info.filename, link=_link_target(packed, info) or ".")
        elif stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise Failure(f"will not unpack {os.path.basename(archive)}: {info.filename} is a device")
        else:
            with packed.open(info) as content:
                yield _Entry(info.filename, content=content, program=bool(mode & 0o111))


def _link_target(packed: ZipFile, info: ZipInfo) -> str:
    with packed.open(info) as content:
        return os.fsdecode(content.read(4096))
