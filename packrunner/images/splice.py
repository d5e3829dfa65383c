"""The table beside a stored layer: what each entry looked like on disk, and how many bytes of the tar it became.

With it the next version of the layer takes unchanged entries from the stored tar and opens changed files only.

    magic, version      16 bytes
    sections, tar size  u32, u64
    for each section    u32 length of its key, u64 length of its lines, u64 number of lines
    keys, then lines    UTF-8 by os.fsencode; lines as in fingerprint.py, joined by line feeds
    sizes               u64 for each line: bytes in the tar
    SHA-256             of all before it
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from array import array
from itertools import accumulate

import msgspec

from packrunner import fingerprint

_MAGIC = b"packrunner-lay-1"
_HEAD = struct.Struct("<16sIQ")
_SECTION = struct.Struct("<IQQ")
_SUM = 32
_LITTLE = sys.byteorder == "little"


class Segment(msgspec.Struct):
    """A stretch of a tree: its joined lines, their sizes in the tar, the latest ctime, and warnings."""

    text: str = ""
    sizes: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    newest: int = 0
    warnings: list[str] = msgspec.field(default_factory=list)


class Section(msgspec.Struct):
    """The entries of one tree, or of the single entries between trees: their joined lines and sizes in the tar."""

    key: str
    text: list[str] = msgspec.field(default_factory=list)
    count: int = 0
    sizes: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    newest: int = 0
    _data: bytes | None = None

    def add(self, segment: Segment) -> None:
        """Add a stretch."""
        if segment.sizes:
            self.text.append(segment.text)
            self.sizes += segment.sizes
            self.count += len(segment.sizes)
            self.newest = max(self.newest, segment.newest)

    def data(self) -> bytes:
        """All lines, as stored."""
        if self._data is None:
            self._data = os.fsencode("\n".join(self.text))
        return self._data

    def table(self) -> bytes:
        """What fingerprint.scan would give."""
        return fingerprint.table(self.data(), self.count, self.newest)


class Stretch(msgspec.Struct, frozen=True):
    """The lines of one section of a stored table, and the number of the first."""

    first: int
    count: int
    text: bytes


class Previous(msgspec.Struct, frozen=True):
    """A table as read: where each known line is in the stored tar.

    Lines are numbered through all sections; `starts` maps a number to its offset (and has one more), `sizes` to its
    bytes in the tar.
    """

    sections: dict[str, list[Stretch]]
    starts: list[int]
    sizes: array[int]
    tar_size: int

    def known(self, key: str) -> dict[str, int] | None:
        """The lines of a section, and their numbers; None where there is none of that key."""
        found: dict[str, int] = {}
        for one in self.sections.get(key, ()):
            lines = os.fsdecode(one.text).split("\n")
            found.update(zip(lines, range(one.first, one.first + one.count), strict=True))
        return found or None

    def whole(self, key: str) -> Stretch | None:
        """The lines of a section that is in one piece."""
        found = self.sections.get(key, ())
        return found[0] if len(found) == 1 else None


def encode(sections: list[Section], tar_size: int, began_ns: int) -> bytes:
    """The table as stored. Lines as new as `began_ns` are spoilt, so that they count as changed next time."""
    texts = [_trusted(section.data(), section.newest, began_ns) for section in sections]
    keys = [os.fsencode(section.key) for section in sections]
    sizes = array("Q")
    for section in sections:
        sizes += section.sizes
    if not _LITTLE:
        sizes.byteswap()
    parts = [
        _HEAD.pack(_MAGIC, len(sections), tar_size),
        *(
            _SECTION.pack(len(key), len(text), section.count)
            for section, key, text in zip(sections, keys, texts, strict=True)
        ),
        *keys,
        *texts,
        sizes.tobytes(),
    ]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    return b"".join((*parts, checksum.digest()))


def decode(data: bytes) -> Previous | None:
    """Read a table; None when it is damaged or of another version, which costs a full write and nothing else."""
    if hashlib.sha256(memoryview(data)[:-_SUM]).digest() != data[-_SUM:] or data[:16] != _MAGIC:
        return None
    _, number, tar_size = _HEAD.unpack_from(data)
    heads = [_SECTION.unpack_from(data, _HEAD.size + i * _SECTION.size) for i in range(number)]
    at = _HEAD.size + number * _SECTION.size
    keys: list[str] = []
    for length, _, _ in heads:
        keys.append(os.fsdecode(data[at : at + length]))
        at += length
    sections: dict[str, list[Stretch]] = {}
    first = 0
    for key, (_, length, count) in zip(keys, heads, strict=True):
        if count:
            sections.setdefault(key, []).append(Stretch(first, count, data[at : at + length]))
        at += length
        first += count
    sizes = array("Q", data[at:-_SUM])
    if not _LITTLE:
        sizes.byteswap()
    return Previous(sections, [0, *accumulate(sizes)], sizes, tar_size)


def _trusted(data: bytes, newest: int, began_ns: int) -> bytes:
    if not fingerprint.fresh(newest, began_ns):
        return data
    return b"\n".join([b"!" + line if _fresh(line, began_ns) else line for line in data.split(b"\n")])


def _fresh(line: bytes, began_ns: int) -> bool:
    fields = line.split(b" ", 4)
    return len(fields) == 5 and fields[3].isdigit() and fingerprint.fresh(int(fields[3]), began_ns)
