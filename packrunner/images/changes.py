"""What commands changed in a root file system, as the tar of a layer: an overlay's upper tree, marks and all.

Like every layer it has a fixed order and time (EXP-07, EXP-09), but the owners that the commands gave. Removed names
become whiteouts, replaced directories opaque ones, as image layers have them.

The tree is hostile. It is walked by descriptors, no link is followed, and it may belong to ids that only a user
namespace gives a right to: then this module runs in one, as a program (`python -m packrunner.images.changes`).
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint
from packrunner.confined import Root
from packrunner.images import tar
from packrunner.images.merge import WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, BinaryIO, Self

    Owners = Callable[[int, int], tuple[int, int]]
    Write = Callable[[bytes], object]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK = 1 << 20
_OPAQUE = "user.overlay.opaque"
_ORIGIN = "user.overlay.origin"
_CAPABILITIES = "security.capability"


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """What stays out: `paths` whole, and files of `beginnings` that begin with these bytes."""

    paths: frozenset[str] = frozenset()
    beginnings: Mapping[str, bytes] = msgspec.field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """The same as JSON's own types."""
        return {"paths": sorted(self.paths), "beginnings": {p: data.hex() for p, data in self.beginnings.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_plain` made."""
        beginnings = {path: bytes.fromhex(text) for path, text in plain["beginnings"].items()}
        return cls(paths=frozenset(plain["paths"]), beginnings=beginnings)


Below = dict[str, tuple[int, int]]
"""By path, who files of the image below belong to where the trees that it was unpacked to could not say so."""


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries a layer got, and sentences about what it did not get."""

    entries: int
    warnings: tuple[str, ...] = ()


def pack(
    upper: str, write: Write, *, owners: Owners, withheld: Withheld = Withheld(), below: Below | None = None
) -> Packed:
    """Write the tar. `owners` turns the ids of files into those of the image. Raises OSError.

    A file of the image that was changed, and that is root's now, stays whose it was according to `below`.
    """
    packing = _Packing(write, owners, withheld, below or {})
    root = os.open(upper, _DIRECTORY)
    try:
        packing.directory(root, "")
    finally:
        os.close(root)
    write(tar.END)
    return Packed(entries=packing.entries, warnings=tuple(packing.warnings))


class _Packing:
    def __init__(self, write: Write, owners: Owners, withheld: Withheld, below: Below) -> None:
        self._write = write
        self._below = below
        self._owners = owners
        self._withheld = withheld
        self.entries = 0
        self.warnings: list[str] = []

    def directory(self, fd: int, base: str) -> None:
        """Everything in a directory, its subdirectories after their own entry."""
        if base.count("/") > fingerprint.DEEPEST:
            raise fingerprint.too_deep(base)
        if base and _has(fd, _OPAQUE):
            self._head(tar.FILE, base + ".wh..wh..opq", os.fstat(fd), mode=0o644)
        for name in reversed(fingerprint.ordered(os.listdir(fd))):
            path = base + name
            if name.startswith(WHITEOUT):
                self.warnings.append(f"/{path} is left out: such a name deletes files in images")
            elif path not in self._withheld.paths:
                self._entry(fd, name, path)

    def _entry(self, parent: int, name: str, path: str) -> None:
        found = os.lstat(name, dir_fd=parent)
        if stat.S_ISDIR(found.st_mode):
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                self._head(tar.DIRECTORY, path + "/", found, copied=path in self._below and _has(fd, _ORIGIN))
                self.directory(fd, path + "/")
            finally:
                os.close(fd)
        elif stat.S_ISLNK(found.st_mode):
            link = os.fsencode(os.readlink(name, dir_fd=parent))
            self._head(tar.LINK, path, found, mode=0o777, link=link)
        elif stat.S_ISREG(found.st_mode):
            self._file(parent, name, path)
        elif stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            above, slash, last = path.rpartition("/")
            self._head(tar.FILE, f"{above}{slash}{WHITEOUT}{last}", found, mode=0o644)
        elif not stat.S_ISSOCK(found.st_mode):
            self.warnings.append(f"/{path} is left out: it is no file, directory or link")

    def _file(self, parent: int, name: str, path: str) -> None:
        fd = os.open(name, _FILE, dir_fd=parent)
        try:
            found = os.fstat(fd)
            beginning = self._withheld.beginnings.get(path)
            if beginning and os.pread(fd, len(beginning), 0) == beginning:
                self.warnings.append(f"/{path} is left out: it begins with the certificates of this machine")
                return
            if _has(fd, _CAPABILITIES):
                self.warnings.append(f"/{path} loses its capabilities: layers keep none")
            copied = path in self._below and _has(fd, _ORIGIN)
            self._head(tar.FILE, path, found, size=found.st_size, copied=copied)
            left = found.st_size
            while left:
                data = os.read(fd, min(left, _CHUNK))
                if not data:
                    raise OSError(f"/{path} changed while it was read")
                self._write(data)
                left -= len(data)
            self._write(tar.PADDING[found.st_size % tar.BLOCK])
        finally:
            os.close(fd)

    def _head(
        self,
        kind: bytes,
        path: str,
        found: os.stat_result,
        *,
        mode: int = -1,
        size: int = 0,
        link: bytes = b"",
        copied: bool = False,
    ) -> None:
        uid, gid = self._owners(found.st_uid, found.st_gid)
        if copied and (uid, gid) == (0, 0):
            uid, gid = self._below[path.rstrip("/")]
        bits = stat.S_IMODE(found.st_mode) if mode < 0 else mode
        self._write(tar.header(kind, os.fsencode(path), mode=bits, uid=uid, gid=gid, size=size, link=link))
        self.entries += 1


def _has(fd: int, attribute: str) -> bool:
    try:
        return attribute in os.listxattr(fd)
    except OSError:
        return False


def main(order: bytes, output: BinaryIO) -> int:
    """What the program does with the order on its stdin: pack a tree to stdout, its report last; or remove one."""
    wanted = json.loads(order)
    if "remove" in wanted:
        above, name = os.path.split(wanted["remove"])
        with Root.open(above) as root:
            root.remove(name)
        return 0
    withheld = Withheld.from_plain(wanted)
    below = {path: (uid, gid) for path, (uid, gid) in wanted["below"].items()}
    packed = pack(wanted["pack"], output.write, owners=lambda uid, gid: (uid, gid), withheld=withheld, below=below)
    report = json.dumps({"entries": packed.entries, "warnings": packed.warnings}).encode()
    output.write(report + len(report).to_bytes(4, "big"))
    output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer.read(), sys.stdout.buffer))
