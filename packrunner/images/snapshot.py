"""Unpacked layers."""

from __future__ import annotations

from packrunner.images.image import Image
from packrunner.images.store import LocalStore
from packrunner.names import Digest


class Snapshots:
    """Trees returned by lowers()/adopt() stay locked against prune() until close() (or the process's end)."""

    def __init__(self, root: str, store: LocalStore) -> None:
        raise NotImplementedError

    def lowers(self, image: Image) -> tuple[str, ...]:
        raise NotImplementedError  # lowest first

    def adopt(self, diff_id: Digest, tree_path: str) -> str:
        raise NotImplementedError  # renames the tree in; returns its new path

    def verify(self, image: Image) -> list[str]:
        raise NotImplementedError  # paths that differ from when it was unpacked

    def prune(self, keep: frozenset[str]) -> int:
        raise NotImplementedError  # keep: diff ids; bytes freed

    def close(self) -> None:
        raise NotImplementedError
