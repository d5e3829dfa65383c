"""Layers out of registries: from the first place that has the right bytes, mirrors before the registry itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from packrunner.errors import CorruptError
from packrunner.images.layout import import_layer
from packrunner.images.registry.failures import Failure
from packrunner.images.registry.fetch import BlobReader, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.images.image import Descriptor, Layer
    from packrunner.images.registry.client import Client
    from packrunner.images.store import LocalStore

_STEP = 1 << 20


class Held(msgspec.Struct, frozen=True):
    """A blob of an image that was read, and the places that may have it, in turn: registry and repository."""

    blob: Descriptor
    places: tuple[tuple[Client, str], ...]


def fetch_layer(held: Held, layer: Layer, store: LocalStore, heard: Callable[[int], None]) -> None:
    """A layer into the store; both of its digests are checked on the way. Raises Failure, CorruptError, StoreError."""
    # Wrong bytes may be an accident of the line, once; after that the next place is asked (REG-02, NET-09).
    turns = [place for place in held.places for _ in range(2)]
    failed: set[tuple[Client, str]] = set()
    for number, place in enumerate(turns, 1):
        if place in failed:
            continue
        try:
            _from(place, held.blob, layer, store, heard)
        except Failure as failure:
            if failure.kind != "corrupt":
                failed.add(place)
            if number == len(turns) or all(one in failed for one in turns[number:]):
                raise
        else:
            return


def _from(
    place: tuple[Client, str], blob: Descriptor, layer: Layer, store: LocalStore, heard: Callable[[int], None]
) -> None:
    source = _Source(place, blob, heard)
    try:
        import_layer(source, "", layer, store)
    except CorruptError:
        # If not all bytes are what they should be, that is what is wrong; else the image itself is.
        source.finish()
        raise


class _Source:
    """One place of one blob, as import_layer reads it."""

    def __init__(self, place: tuple[Client, str], blob: Descriptor, heard: Callable[[int], None]) -> None:
        self.path = f"{place[0].registry}/{place[1]}"
        self._heard = heard
        self._stream = pieces(*place, blob)

    def open(self, name: str) -> BinaryIO:
        del name
        return reader(self._counted())

    def finish(self) -> None:
        for _ in self._stream:
            pass

    def _counted(self) -> Iterator[bytes]:
        while piece := next(self._stream, b""):
            self._heard(len(piece))
            yield piece


def held_pieces(held: Held) -> Iterator[bytes]:
    """A blob from the first place that begins to give it. Raises PackrunnerError."""
    try:
        for place in held.places[:-1]:
            stream = pieces(*place, held.blob)
            try:
                first = next(stream, b"")
            except Failure:
                continue
            yield first
            yield from stream
            return
        yield from pieces(*held.places[-1], held.blob)
    except Failure as failure:
        raise failure.error() from failure


def reader(stream: Iterator[bytes]) -> BinaryIO:
    """Pieces as a file."""
    return cast("BinaryIO", io.BufferedReader(BlobReader(stream), _STEP))
