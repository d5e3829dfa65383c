"""Single files out of an image's layers, without unpacking them: the last layer that has one counts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.images.inflate import Inflow
from packrunner.images.tarread import Tape, TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import FileIO

    from packrunner.images.image import Layer
    from packrunner.images.store import LocalStore
    from packrunner.names import Digest

FILE_LIMIT = 64 << 20
"""Bytes of one file; of a longer one there is only the beginning."""

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_MAGIC = 257
_STEP = 1 << 20
_LARGEST = 64 << 30
_RATIO = 1000


def read_files(layers: Sequence[Layer], wanted: Callable[[bytes], bool], store: LocalStore) -> dict[bytes, bytes]:
    """The regular files whose names, such as `etc/os-release`, are `wanted`, as the layers together have them.

    Digests are not compared: a layer's bytes are when it is unpacked, sent or copied. What is read here is only shown.
    Raises CorruptError for a layer that cannot be read.
    """
    found: dict[bytes, bytes] = {}
    for layer in layers:
        hidden, fresh = _look(layer.blob.digest, wanted, store)
        found = {name: data for name, data in found.items() if not any(_under(name, gone) for gone in hidden)} | fresh
    return found


def _look(digest: Digest, wanted: Callable[[bytes], bool], store: LocalStore) -> tuple[list[bytes], dict[bytes, bytes]]:
    """What one layer hides of those below it, and what it has."""
    hidden: list[bytes] = []
    found: dict[bytes, bytes] = {}
    what = f"the layer {digest.short}"
    with open(store.blob_path(digest), "rb", buffering=0) as stream:
        reader = TarReader(_tape(stream, what), what)
        for member in reader:
            name = member.name.removeprefix(b"./").lstrip(b"/")
            if _WHITEOUT in name:
                hidden += _hides(name)
            elif member.kind == "file" and wanted(name):
                found[name] = _content(reader)
    return hidden, found


def _tape(stream: FileIO, what: str) -> Tape:
    if os.pread(stream.fileno(), 6, _MAGIC) == b"ustar\0":
        return _Skipping(stream.fileno())
    return Tape(Inflow(stream, what, limit=_LARGEST, ratio=_RATIO, digest=None, diff_id=None).pieces())


class _Skipping(Tape):
    """An uncompressed tar in a file: what is passed over is not read."""

    def __init__(self, fd: int) -> None:
        super().__init__(())
        self._fd = fd
        self._offset = 0
        self._size = os.fstat(fd).st_size

    def read(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        return data

    def some(self, size: int) -> memoryview:
        return memoryview(self.read(min(size, _STEP)))

    def skip(self, size: int) -> bool:
        self._offset += size
        return self._offset <= self._size


def _content(reader: TarReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < FILE_LIMIT and (view := reader.content()):
        parts.append(bytes(view))
        size += len(view)
    return b"".join(parts)[:FILE_LIMIT]


def _hides(name: bytes) -> list[bytes]:
    directory, _, last = name.rpartition(b"/")
    if last == _OPAQUE:
        return [directory]
    return [directory + b"/" * bool(directory) + last.removeprefix(_WHITEOUT)] if last.startswith(_WHITEOUT) else []


def _under(name: bytes, place: bytes) -> bool:
    return not place or name == place or name.startswith(place + b"/")
