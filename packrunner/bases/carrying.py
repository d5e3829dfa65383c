"""Bases carried to machines without a network: the lock and every package that it names, in a directory.

    <directory>/bases/debian-13-amd64/lock.json
    <directory>/packages/<hexadecimal SHA-256>

What is taken from there is checked against the lock, byte by byte. The lock itself was made from signed package lists
where there was a network; from then on it is as good as the hands that carry it.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from packrunner.bases import debian, download
from packrunner.bases.blueprint import own
from packrunner.bases.lock import home, lock_path, read_lock
from packrunner.bases.recipes import RECIPES, is_recipe, parse_reference
from packrunner.disk import FileLock, disk_error, temporary, write_atomic
from packrunner.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packrunner.bases.base import BaseSettings, Tools
    from packrunner.bases.lock import Lock
    from packrunner.bases.recipes import Suite

_BASES, _PACKAGES, _LOCK = "bases", "packages", "lock.json"


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A base that was put into a directory, or taken from one; `size` is in bytes."""

    reference: str
    digest: str
    packages: int
    size: int


def put(suite: Suite, directory: str, settings: BaseSettings, tools: Tools) -> Carried:
    """Put a base into `directory`: the one that builds use here, or the newest where there is none.

    Raises NetworkError, CorruptError and StoreError; what was fetched until then is kept.
    """
    lock = debian.gather(own(suite), settings, tools)
    with FileLock(os.path.join(settings.directory, "lock")):
        _copy(lock, os.path.join(settings.directory, "downloads"), os.path.join(directory, _PACKAGES))
        place = os.path.join(directory, _BASES, os.path.basename(home("", lock.reference, lock.architecture)))
        _make(place)
        write_atomic(os.path.join(place, _LOCK), lock.to_json(), mode=0o644, sync=True)
    return _carried(lock)


def take(directory: str, settings: BaseSettings) -> Iterator[Carried]:
    """Take every base for this machine's processor from `directory`; builds use them from then on."""
    for lock in _locks(directory, settings.architecture):
        _make(settings.directory)
        with FileLock(os.path.join(settings.directory, "lock")):
            _copy(lock, os.path.join(directory, _PACKAGES), os.path.join(settings.directory, "downloads"))
            path = lock_path(settings.data_dir, lock.reference, lock.architecture)
            _make(os.path.dirname(path))
            # Last: a lock says that its packages are there.
            write_atomic(path, lock.to_json(), sync=True)
        yield _carried(lock)


def _carried(lock: Lock) -> Carried:
    size = sum(package.size for package in lock.packages)
    return Carried(reference=lock.reference, digest=lock.digest, packages=len(lock.packages), size=size)


def _locks(directory: str, architecture: str) -> Iterator[Lock]:
    parent = os.path.join(directory, _BASES)
    for name in sorted(os.listdir(parent)) if os.path.isdir(parent) else ():
        lock = read_lock(os.path.join(parent, name, _LOCK))
        if lock is None or lock.recipe or lock.architecture != architecture:
            continue
        # The reference becomes the name of a directory; only our own are written by us.
        if is_recipe(lock.reference) and parse_reference(lock.reference).reference == lock.reference:
            yield lock


def _copy(lock: Lock, source: str, target: str) -> None:
    """Copy the packages that are missing in `target`, each seen to be whole before it gets its name."""
    _make(target)
    for package in lock.of(*RECIPES):
        if download.is_whole(target, package.sha256, package.size):
            continue
        beside = os.path.join(target, temporary(package.sha256))
        try:
            shutil.copyfile(os.path.join(source, package.sha256), beside)
            os.chmod(beside, 0o644)
            if not download.is_whole(target, os.path.basename(beside), package.size, sha256=package.sha256):
                raise _damaged(package.name, source)
            os.rename(beside, os.path.join(target, package.sha256))
        except FileNotFoundError:
            raise _damaged(package.name, source) from None
        except OSError as error:
            raise disk_error(error, beside) from error
        finally:
            if os.path.exists(beside):
                os.unlink(beside)


def _damaged(name: str, source: str) -> CorruptError:
    return CorruptError(
        f"the package {name} in {source} is missing or damaged",
        slug="fetched",
        at=source,
        tries=("where there is a network, once more: packrunner builder fetch --to DIR",),
    )


def _make(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
