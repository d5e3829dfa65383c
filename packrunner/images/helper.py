"""A second process that reads every other stretch of a large tree, for the layer writer.

One interpreter cannot use two processors for this work. The helper is this file, run by the same interpreter with
nothing of site-packages; it gets directories and names on its standard input, gives pieces of tar back on its standard
output, and ends with its input. Messages are marshalled values behind their length: both ends are the same program.

Request: a list of (number of the root, item), where an item is a directory (path, mode) or files (base, names,
special). Answer: any number of DATA messages, then DONE or FAILED. The bytes of DATA are in memory that both share, in
the slot that the message names; the other end gives slots back through a pipe of their numbers.
"""

from __future__ import annotations

import marshal
import mmap
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_HEAD = 5
DATA, DONE, FAILED = b"d", b"e", b"f"
SLOT = (1 << 20) + (1 << 17)
"""Bytes of a slot: what the packer hands over at once, which is a little more than a megabyte."""
SLOTS = 6


def frame(kind: bytes, size: int) -> bytes:
    """The beginning of a message."""
    return kind + size.to_bytes(_HEAD - 1, "little")


def open_beneath(root: int, base: str) -> int:
    """The directory `base` (ending in "/", or empty) below `root`, no link followed."""
    fd = os.dup(root)
    for name in base.split("/")[:-1]:
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def read_exactly(fd: int, size: int) -> bytes:
    """The next `size` bytes; raises EOFError when there are fewer."""
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_head(fd: int) -> tuple[bytes, int]:
    """The next message's kind and size."""
    head = read_exactly(fd, _HEAD)
    return head[:1], int.from_bytes(head[1:], "little")


def read_frame(fd: int) -> tuple[bytes, bytes]:
    """The next message: its kind and its bytes."""
    kind, size = read_head(fd)
    return kind, read_exactly(fd, size)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte to a pipe."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _Out:
    """The sink of the helper: slots of shared memory, and messages on a pipe."""

    def __init__(self, answers: int, memory: int, slots: int) -> None:
        self._answers = answers
        self._slots = slots
        self._memory = memoryview(mmap.mmap(memory, SLOT * SLOTS))

    def put(self, pieces: list[bytes]) -> None:
        self.data(memoryview(b"".join(pieces)))

    def data(self, view: memoryview) -> None:
        while view:
            size = min(len(view), SLOT)
            slot = read_exactly(self._slots, 1)
            self._memory[slot[0] * SLOT :][:size] = view[:size]
            write_all(self._answers, frame(DATA, size) + slot)
            view = view[size:]

    def end(self, kind: bytes, value: tuple[Any, ...]) -> None:
        data = marshal.dumps(value)
        write_all(self._answers, frame(kind, len(data)) + data)

    def content(self, fd: int, size: int, path: str) -> None:
        from packrunner.images.pipeline import copy_content  # threads and queues, for large files only

        try:
            copy_content(fd, size, path, self.data)
        finally:
            os.close(fd)


def serve(requests: int, out: _Out, roots: list[int]) -> None:
    """Answer requests until there are no more."""
    from packrunner.images.pack import Packer, PackError, unreadable

    _, first = read_frame(requests)
    target, owner, owners = marshal.loads(first)  # noqa: S302 - from our own parent
    while True:
        try:
            _, data = read_frame(requests)
        except EOFError:
            return
        packer = Packer(out, target, owner, owners)
        try:
            for number, item in marshal.loads(data):  # noqa: S302
                if len(item) == 2:
                    packer.directory(*item)
                    continue
                base, names, special = item
                try:
                    fd = open_beneath(roots[number], base)
                except OSError as e:
                    raise unreadable(e, base) from e
                try:
                    packer.files(fd, base, names, special)
                finally:
                    os.close(fd)
            packer.flush()
        except PackError as e:
            out.end(FAILED, (e.kind, e.path, e.cause))
            return
        out.end(DONE, (packer.text(), packer.sizes.tobytes(), packer.newest, packer.warnings))


def main() -> None:
    """Run as a program: the package's parent directory, then descriptors: shared memory, free slots, the roots."""
    sys.path.insert(0, sys.argv[1])
    memory, slots, *roots = (int(fd) for fd in sys.argv[2:])
    serve(0, _Out(1, memory, slots), roots)


if __name__ == "__main__":
    main()
