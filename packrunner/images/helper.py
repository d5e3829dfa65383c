"""A second process that reads every other stretch of a large tree, for the layer writer.

One interpreter cannot use two processors for this work. The helper is this file, run by the same interpreter with
nothing of site-packages; it gets directories and names on its standard input, gives pieces of tar back on its standard
output, and ends with its input. Messages are marshalled values behind their length: both ends are the same program.

Request:  (number of the root, [directory or files, ...]) where a directory is (path, mode) and files are
          (base, names, special). Answer: any number of DATA frames, then one DONE or FAILED frame.
"""

from __future__ import annotations

import marshal
import os
import sys

_HEAD = 5
DATA, DONE, FAILED = b"d", b"e", b"f"


def frame(kind: bytes, data: bytes | memoryview) -> bytes:
    """The beginning of a message."""
    return kind + len(data).to_bytes(_HEAD - 1, "little")


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


def fill(fd: int, view: memoryview) -> None:
    """Read until `view` is full; raises EOFError when there is less."""
    while view:
        got = os.readv(fd, [view])
        if not got:
            raise EOFError
        view = view[got:]


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
    """The sink of the helper: frames on a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def put(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        # In one call: the other end waits for the head of every message.
        sent = os.writev(self._fd, (frame(DATA, data), data)) - _HEAD
        write_all(self._fd, memoryview(data)[sent:])

    def send(self, kind: bytes, data: bytes | memoryview) -> None:
        write_all(self._fd, frame(kind, data))
        write_all(self._fd, data)

    def content(self, fd: int, size: int, path: str) -> None:
        from packrunner.images.pipeline import copy_content

        try:
            copy_content(fd, size, path, lambda view: self.send(DATA, view))
        finally:
            os.close(fd)


def serve(requests: int, answers: int, roots: list[int]) -> None:
    """Answer requests until there are no more."""
    from packrunner.images.pack import Packer, PackError, unreadable

    out = _Out(answers)
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
            out.send(FAILED, marshal.dumps((e.kind, e.path, e.cause)))
            return
        text = packer.text()
        done = (text, packer.sizes.tobytes(), packer.newest, packer.warnings)
        out.send(DONE, marshal.dumps(done))


def main() -> None:
    """Run as a program: the package's parent directory, then the descriptors of the roots."""
    sys.path.insert(0, sys.argv[1])
    serve(0, 1, [int(fd) for fd in sys.argv[2:]])


if __name__ == "__main__":
    main()
