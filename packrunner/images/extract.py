"""Hostile tar archives to trees.

What is unpacked may have been made by anybody, to reach out of the tree it is unpacked into, to fill the disk, or to
read differently here than elsewhere (ARC-01 to ARC-42). tarread.py reads it strictly, treewrite.py writes without
ever following what was written, and this module decides what an entry means.

Not unpacked, with one warning a kind: devices and FIFOs, extended attributes, times out of range. Set-id bits come
alive only where no other user of this machine can reach them; the layer in the store has them all (ARC-18, ARC-19).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec

from packrunner.disk import disk_error
from packrunner.errors import UnsafeArchiveError
from packrunner.images.inflate import Ahead, Inflow
from packrunner.images.tarread import Tape, TarReader, shown
from packrunner.images.treewrite import Attributes, TreeWriter

if TYPE_CHECKING:
    from packrunner.images.tarread import Member
    from packrunner.images.treewrite import Parts
    from packrunner.names import Digest

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_LATEST = (1 << 33) - 1
_NANO = 1_000_000_000

Whiteouts = Literal["apply", "overlay", "reject"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive may have: entries, uncompressed bytes, of those for each stored one, bytes of a name."""

    entries: int = 2_000_000
    bytes: int = 64 << 30
    ratio: int = 400
    name: int = 4096


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries and bytes of files were read, and what was left out, a line each."""

    entries: int
    bytes: int
    warnings: tuple[str, ...] = ()


def extract(
    stream: BinaryIO,
    root_path: str,
    *,
    uid_gid: tuple[int, int] | None = None,
    whiteouts: Whiteouts = "apply",
    limits: Limits = Limits(),
    prefix: str = "",
    digest: Digest | None = None,
    diff_id: Digest | None = None,
) -> Extracted:
    """Unpack `stream`, a tar or gzipped tar, over the directory `root_path`, and read it to its very end.

    `prefix` ("layers/x/y"): only what is below is written, with the prefix taken off. `digest` is of the bytes as
    stored, `diff_id` of the uncompressed tar; both are verified. For root, `uid_gid` owns everything; without it the
    header's owners do. For others there is nothing to choose.

    `whiteouts`: "apply" removes what was in the tree before, "overlay" also marks it as the overlay file system does,
    "reject" is for archives that are no layers: absolute names, whiteouts, devices and parents that are links are
    refused too. An entry for the root itself counts only for "overlay".

    Raises CorruptError (`archive-corrupt`, `archive-digest`, `archive-compression`), UnsafeArchiveError
    (`unsafe-archive`, `archive-limit`), StoreError (`disk`, `disk-full`, `overlay-marks`), and what `stream` raises.
    What was written until then is left for the caller to remove.
    """
    known = diff_id or digest
    what = f"the layer {known.short}" if known else "the archive"
    inflow = Inflow(stream, what, limit=limits.bytes, ratio=limits.ratio, digest=digest, diff_id=diff_id)
    try:
        with (
            Ahead(inflow.pieces()) as pieces,
            TreeWriter(root_path, what, overlay=whiteouts == "overlay", strict=whiteouts == "reject") as writer,
        ):
            owners = _owners(uid_gid)
            writer.owner = None if isinstance(owners, bool) else owners
            tape = Tape(pieces)
            reader = TarReader(tape, what)
            unpacking = _Unpacking(reader, writer, what, whiteouts=whiteouts, limits=limits)
            unpacking.prefix = unpacking.split(os.fsencode(prefix))
            unpacking.owners = owners
            unpacking.mode_mask = 0o7777 if _is_private(root_path) else 0o1777
            unpacking.run()
            writer.finish()
            while tape.some(1 << 20):
                pass  # what follows the end is not ours, but the digests are of everything (ARC-28)
            if not reader.ended and known is None:
                reader.refuse("its end is not marked: it may have been cut")
    except OSError as error:
        raise disk_error(error, root_path) from error
    if inflow.trailing:
        unpacking.warn("something follows the compressed data, and is ignored")
    return Extracted(entries=unpacking.entries, bytes=unpacking.bytes, warnings=tuple(unpacking.warnings))


class _Unpacking:
    """One archive on its way into a tree."""

    def __init__(
        self, reader: TarReader, writer: TreeWriter, what: str, *, whiteouts: Whiteouts, limits: Limits
    ) -> None:
        self.entries = self.bytes = 0
        self.warnings: list[str] = []
        self.prefix: Parts = []
        self.owners: tuple[int, int] | bool = False
        self.mode_mask = 0o1777
        self._reader, self._writer, self._what = reader, writer, what
        self._whiteouts = whiteouts
        self._limits = limits

    def run(self) -> None:
        """Unpack every entry."""
        for member in self._reader:
            self.entries += 1
            self.bytes += member.size
            if self.entries > self._limits.entries:
                self._too_much(f"it has more than {self._limits.entries} entries")
            if self.bytes > self._limits.bytes:
                self._too_much(f"its files have more than {self._limits.bytes} bytes")
            if len(member.name) > self._limits.name:
                self._writer.refuse(member.name, f"its name has more than {self._limits.name} bytes")
            try:
                self._entry(member)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                self._writer.refuse(member.name, error.strerror or "")

    def split(self, name: bytes) -> Parts:
        """A name as plain components. Climbing out is refused, not repaired (ARC-02); leading slashes are dropped."""
        parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
        if b".." in parts:
            self._writer.refuse(name, "its name climbs out of a directory with ..")
        if self._whiteouts == "reject" and name.startswith(b"/"):
            self._writer.refuse(name, "its name is absolute")
        return parts

    def warn(self, text: str) -> None:
        """Note something, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _entry(self, member: Member) -> None:
        parts = self.split(member.name)
        hides = b".wh." in member.name and self._hides(member, parts)
        if not parts and member.kind != "dir":
            self._writer.refuse(member.name, f"a {member.kind} cannot take the place of the root")
        if self.prefix:
            if parts[: len(self.prefix)] != self.prefix:
                return
            parts = parts[len(self.prefix) :]
        if hides:
            self._hide(parts)
        elif parts:
            self._place(member, parts)
        elif member.kind != "dir":
            self._writer.refuse(member.name, f"a {member.kind} cannot take the place of the root")
        elif self._whiteouts == "overlay":
            # Not even a hostile layer may close its root to those who mount and remove it.
            self._writer.directory(parts, self._attributes(member, least=0o700))

    def _place(self, member: Member, parts: Parts) -> None:
        kind = member.kind
        if kind == "file":
            self._writer.file(parts, self._attributes(member), self._reader.content)
        elif kind == "dir":
            self._writer.directory(parts, self._attributes(member))
        elif kind == "link":
            if not member.target:
                self._writer.refuse(member.name, "it is a link to nowhere")
            self._writer.link(parts, self._attributes(member), member.target)
        elif kind == "hardlink":
            self._hard_link(member, parts)
        elif self._whiteouts == "reject":
            self._writer.refuse(member.name, f"it is a {kind}")
        else:
            self.warn("devices and FIFOs are not unpacked")

    def _hard_link(self, member: Member, parts: Parts) -> None:
        target = self.split(member.target)
        n = len(self.prefix)
        if target[:n] != self.prefix or len(target) <= n:
            self._writer.refuse(member.name, f"it is linked to {shown(member.target)}, which is not unpacked")
        self._writer.hard_link(parts, target[n:])

    def _hides(self, member: Member, parts: Parts) -> bool:
        """Whether an entry is a whiteout; names that could be mistaken for one are refused (ARC-14)."""
        if not any(part.startswith(_WHITEOUT) for part in parts):
            return False
        leaf = parts[-1]
        hidden = leaf.removeprefix(_WHITEOUT)
        if self._whiteouts == "reject":
            self._writer.refuse(member.name, "only layers of images have whiteouts")
        if any(part.startswith(_WHITEOUT) for part in parts[:-1]) or member.kind not in {"file", "hardlink"}:
            self._writer.refuse(member.name, "a whiteout is no directory or link")
        if leaf != _OPAQUE and (hidden in {b"", b".", b".."} or hidden.startswith(_WHITEOUT)):
            self._writer.refuse(member.name, "it is a whiteout of nothing that may be hidden")
        return True

    def _hide(self, parts: Parts) -> None:
        if parts[-1] == _OPAQUE:
            self._writer.opaque(parts[:-1])
        else:
            self._writer.whiteout([*parts[:-1], parts[-1][len(_WHITEOUT) :]])

    def _attributes(self, member: Member, *, least: int = 0) -> Attributes:
        if member.attributes:
            self.warn("extended attributes are not unpacked")
        mtime = member.mtime
        if mtime is None or not 0 <= mtime <= _LATEST * _NANO:
            self.warn("times before 1970, after 2242, or that are none are changed to the nearest possible one")
            mtime = min(max(mtime or 0, 0), _LATEST * _NANO)
        owner = (member.uid, member.gid) if self.owners is True else self.owners or None
        return Attributes(member.mode & self.mode_mask | least, owner, mtime)

    def _too_much(self, why: str) -> None:
        raise UnsafeArchiveError(f"{self._what} is too large", slug="archive-limit", cause=why)


def _owners(uid_gid: tuple[int, int] | None) -> tuple[int, int] | bool:
    """Who everything belongs to; True for the header's owners, False for us, who may not give files away."""
    if os.geteuid() != 0:
        return False
    return uid_gid or True


def _is_private(path: str) -> bool:
    """Whether a directory above `path` is ours and closed to everybody else, so that no program below runs for them."""
    above = os.path.dirname(os.path.realpath(path))
    while True:
        found = os.stat(above)
        if found.st_uid == os.geteuid() and not found.st_mode & 0o011:
            return True
        if above == os.path.dirname(above):
            return False
        above = os.path.dirname(above)
