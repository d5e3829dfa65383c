"""The local image store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from packrunner.images.image import Descriptor, Image
from packrunner.names import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """`name` is tagged; "" for an image found by digest that has none. `written_at`: seconds since 1970."""

    name: str
    digest: Digest
    image: Image
    written_at: float


class BlobWriter:
    """Context manager; leaving it without commit discards."""

    def write(self, data: bytes | memoryview) -> None: raise NotImplementedError
    def commit(self, media_type: str = "") -> Descriptor: raise NotImplementedError
    def __enter__(self) -> BlobWriter: raise NotImplementedError
    def __exit__(self, *_: object) -> None: raise NotImplementedError


class LocalStore:
    def __init__(self, root: str) -> None: raise NotImplementedError
    def read(self, reference: str) -> StoredImage | None: raise NotImplementedError
    def write(self, image: Image, names: Sequence[str] = ()) -> Digest: raise NotImplementedError
    def remove(self, name: str) -> bool: raise NotImplementedError
    def list(self) -> list[StoredImage]: raise NotImplementedError
    def has(self, digest: Digest, size: int | None = None) -> bool: raise NotImplementedError
    def open(self, digest: Digest) -> BinaryIO: raise NotImplementedError
    def blob_path(self, digest: Digest) -> str: raise NotImplementedError
    def add(self, data: bytes, media_type: str = "") -> Descriptor: raise NotImplementedError
    def new_blob(self) -> BlobWriter: raise NotImplementedError
    @contextmanager
    def lease(self) -> Iterator[None]: raise NotImplementedError
    def prune(self, *, keep: Callable[[], Iterable[str]] = tuple) -> int:
        """keep() is called under the lock: digests of blobs (diff ids of cached layers) to keep beside what images need."""
        raise NotImplementedError
