"""The few files by which the image store knows itself: its version, and the index with a copy."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from packrunner.disk import FileLock, disk_error
from packrunner.errors import CorruptError, StoreError
from packrunner.images.files import replace_file, sync_directory
from packrunner.images.index import Index, decode

if TYPE_CHECKING:
    from packrunner.images.files import Files

log = logging.getLogger(__name__)

VERSION = 1
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_FOLDERS = ((), ("blobs", "sha256"), ("tables",), ("tmp",))


class Ledger:
    """Index and version of the store at `root`. Change the index under `lock` only."""

    def __init__(self, root: str, files: Files) -> None:
        self.root = root
        self._files = files
        self._ready = False

    @property
    def path(self) -> str:
        """The index."""
        return os.path.join(self.root, "index.json")

    @property
    def _copy(self) -> str:
        return os.path.join(self.root, "index.backup")

    def prepare(self) -> None:
        """Make the store, or see that it is one that this version understands (STO-19)."""
        if self._ready:
            return
        self._check_version()
        try:
            # Only its owner may look inside: images hold set-id programs (STO-23).
            for parts in _FOLDERS:
                self._files.mkdir(os.path.join(self.root, *parts))
        except OSError as e:
            raise disk_error(e, self.root) from e
        for name, data in (("oci-layout", _LAYOUT), ("version", b"%d\n" % VERSION)):
            path = os.path.join(self.root, name)
            if not os.path.exists(path):
                replace_file(self._files, path, data)
        self._ready = True

    def lock(self, timeout: float) -> FileLock:
        """For changing the index (STO-05)."""
        return FileLock(os.path.join(self.root, "index.lock"), timeout=timeout)

    def load(self) -> Index:
        """The index, or its copy where it is damaged (STO-04)."""
        self._check_version()
        index = self._parsed(self.path)
        if index is None:
            index = self._parsed(self._copy)
            if index is not None:
                log.warning("%s is damaged; its copy is used", self.path)
        if index is None:
            raise CorruptError(
                f"{self.path} is damaged",
                slug="store-index",
                cause="it and its copy, index.backup, are not the JSON that they should be; blobs are intact",
                at=self.path,
                tries=(f"rm {self.path}", "packrunner build"),
            )
        return index

    def save(self, index: Index) -> None:
        """Replace the index, once everything that it refers to is on the disk (STO-02)."""
        data = index.encode()
        blobs = os.path.join(self.root, "blobs", "sha256")
        try:
            # Names of blobs, ours and those that other processes just gave.
            sync_directory(self._files, blobs)
        except OSError as e:
            raise disk_error(e, blobs) from e
        replace_file(self._files, self.path, data)
        try:
            replace_file(self._files, self._copy, data, sync=False)
        except StoreError as e:
            log.warning("%s: %s", self._copy, e)

    def repair(self) -> tuple[str, ...]:
        """Replace an unreadable index by its copy, or by an empty one; says what was done."""
        try:
            index = self.load()
            if not index.bad and self._parsed(self.path) is not None:
                return ()
            done = f"{self.path}: written again with {len(index.refs)} names"
        except CorruptError as e:
            if e.slug != "store-index":
                raise
            index = Index()
            done = f"{self.path}: could not be saved; names are lost, blobs are kept"
        self.save(index)
        return (done,)

    def _parsed(self, path: str) -> Index | None:
        """The index in a file; empty where there is no file; None where it is damaged."""
        try:
            with open(path, "rb") as file:
                index = decode(file.read())
        except FileNotFoundError:
            return Index()
        except ValueError as e:
            log.warning("%s: %s", path, e)
            return None
        except OSError as e:
            raise disk_error(e, path) from e
        if index.bad:
            log.warning("%s: %d entries cannot be read and are ignored", path, index.bad)
        return index

    def _check_version(self) -> None:
        path = os.path.join(self.root, "version")
        try:
            with open(path, "rb") as file:
                text = file.read(100)
        except FileNotFoundError:
            return
        except OSError as e:
            raise disk_error(e, path) from e
        if not text.strip().isdigit():
            raise CorruptError(
                f"{path} does not say which version the image store has", slug="store-version", tries=(f"rm {path}",)
            )
        if int(text) > VERSION:
            raise StoreError(
                "the image store was made by a newer packrunner",
                slug="store-version",
                cause=f"it has version {int(text)}, this packrunner knows {VERSION}",
                at=self.root,
                tries=("pip install --upgrade packrunner",),
            )
