"""Single entries of a layer: directories, files and links that are no part of a tree."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from typing import TYPE_CHECKING

from packrunner.images import tar
from packrunner.images.pack import OPEN_FILE, PackError, unreadable
from packrunner.images.parts import Dir, File, Link, relative
from packrunner.images.splice import Segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.images.output import Output

SECTION = "single"
"""The section of the table that single entries share."""


def write_single(part: Dir | File | Link, output: Output, known: Mapping[str, int]) -> tuple[Segment, bool]:
    """Write one entry, or keep it; says whether it was written."""
    path = os.fsencode(relative(part.target))
    match part:
        case Dir():
            line = f"dir {part.mode:o} {part.uid} {part.gid} {part.target}"
            head = tar.header(tar.DIRECTORY, path + b"/", mode=part.mode, uid=part.uid, gid=part.gid)
            return _add(output, known, line, head, b"")
        case Link():
            line = f"link {part.uid} {part.gid} {part.target} -> {part.to}"
            link = os.fsencode(part.to)
            return _add(
                output, known, line, tar.header(tar.LINK, path, mode=0o777, uid=part.uid, gid=part.gid, link=link), b""
            )
        case File(data=bytes(data)):
            digest = hashlib.sha256(data).hexdigest()
            line = f"data {part.mode:o} {part.uid} {part.gid} {digest} {part.target}"
            return _add(output, known, line, _head(part, path, len(data)), data)
        case File(source=str(source)):
            return _from_source(part, source, path, output, known)
        case File():
            raise ValueError(f"{part.target} has neither data nor a source")


def _head(part: File, path: bytes, size: int) -> bytes:
    return tar.header(tar.FILE, path, mode=part.mode & 0o7777, uid=part.uid, gid=part.gid, size=size)


def _add(output: Output, known: Mapping[str, int], line: str, head: bytes, data: bytes) -> tuple[Segment, bool]:
    line = line.replace("\n", "\0")
    pieces = [head, data, tar.PADDING[len(data) % tar.BLOCK]]
    segment = Segment(line, array("Q", [sum(map(len, pieces))]))
    number = known.get(line)
    if number is None:
        output.put(pieces)
    else:
        output.keep(number)
    return segment, number is None


def _from_source(
    part: File, source: str, path: bytes, output: Output, known: Mapping[str, int]
) -> tuple[Segment, bool]:
    try:
        fd = os.open(source, OPEN_FILE)
    except OSError as e:
        raise unreadable(e, source) from e
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            raise PackError("special-file", source, "it is no regular file")
        about = f"{part.mode:o} {part.uid} {part.gid} {part.target} {source}"
        line = f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {st.st_ctime_ns} {st.st_ino} {about}".replace("\n", "\0")
        size = st.st_size
        head, padding = _head(part, path, size), tar.PADDING[size % tar.BLOCK]
        segment = Segment(line, array("Q", [len(head) + size + len(padding)]), st.st_ctime_ns)
        number = known.get(line)
        if number is not None:
            output.keep(number)
            return segment, False
        output.put([head])
        handed, fd = fd, -1
        output.content(handed, size, source)
        output.put([padding])
        return segment, True
    finally:
        if fd >= 0:
            os.close(fd)
