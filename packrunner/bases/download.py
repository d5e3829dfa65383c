"""Fetching files that are known by their digest: several at once, continued where a killed run left off.

A download is kept under the hexadecimal SHA-256 of its content, and beside that as `<hex>.part` while it is incomplete.
What a partial file begins with is not believed: the digest of the whole decides, over old and new bytes alike (STO-17).
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec

from packrunner.bases.transport import IDLE_SECONDS, NO_SUCH_RANGE, TransferError, Transport
from packrunner.disk import disk_error, write_all
from packrunner.errors import CorruptError, NetworkError, PackrunnerError, RefusedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from packrunner.bases.transport import Body
    from packrunner.proxies import Proxies

_T = TypeVar("_T")

CONNECTIONS = 8
_ATTEMPTS = 5
_NAMED = 8
_CHUNK = 1 << 17
# Not an HTTP status: the transfer went well, and the bytes are wrong.
_CORRUPT = -1


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file to fetch: what it is called in messages, its digest and size, and the addresses that may have it."""

    name: str
    sha256: str
    size: int
    urls: tuple[str, ...]


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the world; `sleep` and the times in seconds are for tests to change.

    `context` gives what TLS believes; with `offline` nothing is reached.
    """

    proxies: Proxies
    context: Callable[[], ssl.SSLContext] | None = None
    offline: bool = False
    idle: float = IDLE_SECONDS
    connections: int = CONNECTIONS
    sleep: Callable[[float], None] = msgspec.field(default=time.sleep)

    def transport(self) -> Transport:
        """What opens addresses, for one thread."""
        return Transport(self.proxies, idle=self.idle, context=self.context)


def read_text(network: Network, urls: Sequence[str], *, name: str, limit: int) -> tuple[bytes, str] | None:
    """A small file of at most `limit` bytes and the address that had it; None where none has. Raises NetworkError."""
    if network.offline and not urls[0].startswith("file:"):
        raise offline([name])
    transport = network.transport()

    def attempt(url: str) -> tuple[bytes, str]:
        with transport.open(url) as body:
            data = bytearray()
            while chunk := body.stream.read(_CHUNK):
                data += chunk
                if len(data) > limit:
                    raise TransferError(body.host, "reading the answer", f"more than {limit} bytes came", retry=False)
        return bytes(data), url

    try:
        return _retried(urls, attempt, network.sleep)
    except TransferError as error:
        if error.status == 404:
            return None
        raise _failure(name, error) from error
    finally:
        transport.close()


def fetch(wanted: Sequence[Wanted], directory: str, network: Network, progress: Callable[[int, int], None]) -> None:
    """Make every file present in `directory` and right; `progress(files, bytes)` hears of what there is, now and then.

    The caller holds the lock that makes this the only process writing there. Raises NetworkError (slug `download`,
    or `download-gone` where no server has a file any more), CorruptError (`download-corrupt`), StoreError (`disk`,
    `disk-full`); what was fetched until then is kept.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise disk_error(error, directory) from error
    if network.offline:
        missing = [one.name for one in wanted if not one.urls[0].startswith("file:")]
        if missing:
            raise offline(missing)
    _Batch(wanted, directory, network).run(progress)


class _Batch:
    """Some threads that take files from one list, largest first."""

    def __init__(self, wanted: Sequence[Wanted], directory: str, network: Network) -> None:
        self._items = sorted(wanted, key=lambda item: (-item.size, item.sha256))
        self._counts = [0] * len(self._items)
        self._finished = 0
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._directory = directory
        self._network = network
        self._transports: list[Transport] = []

    def run(self, progress: Callable[[int, int], None]) -> None:
        threads = [
            # Daemons: a read that hangs must not keep an interrupted process alive.
            threading.Thread(target=self._work, name=f"download-{number}", daemon=True)
            for number in range(min(self._network.connections, len(self._items)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    progress(self._finished, sum(self._counts))
        finally:
            self._stop.set()
            for transport in self._transports:
                transport.close()
        if self._failure:
            raise self._failure
        progress(self._finished, sum(self._counts))

    def _work(self) -> None:
        transport = self._network.transport()
        self._transports.append(transport)
        try:
            while not self._stop.is_set():
                with self._lock:
                    number, self._next = self._next, self._next + 1
                if number >= len(self._items):
                    return
                self._fetch(number, transport)
                with self._lock:
                    self._finished += 1
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits (PRO-15)
            with self._lock:
                if not self._failure and not self._stop.is_set():
                    self._failure = error
            self._stop.set()
        finally:
            transport.close()

    def _fetch(self, number: int, transport: Transport) -> None:
        item = self._items[number]
        path = os.path.join(self._directory, item.sha256)

        def received(count: int) -> None:
            if self._stop.is_set():
                raise TransferError("", "reading the answer", "stopped", retry=False)
            self._counts[number] = count

        try:
            if is_whole(self._directory, item.sha256, item.size):
                self._counts[number] = item.size
                return
            with suppress(FileNotFoundError):
                os.unlink(path)  # not what its name says: a damaged disk (STO-13)
            _retried(item.urls, lambda url: _continue(path, item, transport, url, received), self._network.sleep)
        except TransferError as error:
            raise _failure(item.name, error) from error
        except OSError as error:
            raise disk_error(error, path) from error


def offline(missing: Sequence[str]) -> RefusedError:
    """What --offline lacks (NET-02)."""
    named = ", ".join(missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return RefusedError(
        f"{len(missing)} {'file is' if len(missing) == 1 else 'files are'} missing, and --offline allows no download",
        slug="offline",
        cause=f"not here: {named}{more}",
        tries=(
            "where there is a network: packrunner builder fetch --to DIR",
            "then here: packrunner builder fetch --from DIR",
        ),
    )


def _retried(urls: Sequence[str], attempt: Callable[[str], _T], sleep: Callable[[float], None]) -> _T:
    """Try the addresses in turn, a bounded number of times, waiting a little longer each time around."""
    left = list(urls)
    corrupt = 0
    for turn in range(_ATTEMPTS * len(urls)):
        url = left[turn % len(left)]
        try:
            return attempt(url)
        except TransferError as error:
            # Wrong bytes may be an accident of the line, once; after that they are what this mirror has (REG-02).
            corrupt += error.status == _CORRUPT
            last = turn == _ATTEMPTS * len(urls) - 1 or corrupt > len(urls)
            if not error.retry and len(left) > 1:
                left.remove(url)
                continue
            if not error.retry or last:
                raise
            if turn % len(left) == len(left) - 1:
                pause = 0.25 * 2 ** (turn // len(left))
                sleep(max(error.wait, pause * random.uniform(0.75, 1.25)))  # noqa: S311 - spreads clients, no secret
    raise AssertionError(urls)


def is_whole(directory: str, name: str, size: int, *, sha256: str = "") -> bool:
    """Is the download in `directory`, with every byte of it right? It is read and hashed; `name` is its digest."""
    path = os.path.join(directory, name)
    try:
        if os.stat(path).st_size != size:
            return False
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, path) from error
    return digest.hexdigest() == (sha256 or name)


def _continue(path: str, item: Wanted, transport: Transport, url: str, received: Callable[[int], None]) -> None:
    """One attempt: the rest of the file, checked as a whole, then renamed into place."""
    part = f"{path}.part"
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        digest, have = _hashed(fd)
        if have != item.size or digest.hexdigest() != item.sha256:  # else killed just before it got its name
            if have >= item.size:
                digest, have = _emptied(fd)
            _receive(fd, (digest, have), item, transport.open(url, start=have), received)
        os.rename(part, path)
    except TransferError as error:
        if error.status in {NO_SUCH_RANGE, _CORRUPT}:  # from the beginning, the next time
            os.unlink(part)
        raise
    finally:
        os.close(fd)


def _receive(
    fd: int,
    begun: tuple[hashlib._Hash, int],
    item: Wanted,
    answer: AbstractContextManager[Body],
    received: Callable[[int], None],
) -> None:
    """Add what comes to what is there; `begun` is its hash and size."""
    digest, have = begun
    received(have)
    with answer as body:
        if body.size not in {None, item.size}:
            # Its beginning is not one of ours, and must not be continued: a page that a network shows to strangers.
            why = f"it has {body.size} bytes instead of {item.size}"
            raise TransferError(body.host, "reading the answer", why, status=_CORRUPT)
        if body.start != have:
            digest, have = _emptied(fd)
        os.lseek(fd, have, os.SEEK_SET)
        while chunk := body.stream.read(_CHUNK):
            have += len(chunk)
            if have > item.size:
                raise TransferError(body.host, "reading the answer", "it is longer than it should be", status=_CORRUPT)
            write_all(fd, chunk)
            digest.update(chunk)
            received(have)
    if have < item.size:
        raise TransferError(body.host, "reading the answer", f"it ended at byte {have} of {item.size}")
    if digest.hexdigest() != item.sha256:
        why = f"SHA-256 {digest.hexdigest()} instead of {item.sha256}"
        raise TransferError(body.host, "checking its digest", why, status=_CORRUPT)


def _hashed(fd: int) -> tuple[hashlib._Hash, int]:
    digest, have = hashlib.sha256(), 0
    os.lseek(fd, 0, os.SEEK_SET)
    while chunk := os.read(fd, 1 << 20):
        digest.update(chunk)
        have += len(chunk)
    return digest, have


def _emptied(fd: int) -> tuple[hashlib._Hash, int]:
    os.ftruncate(fd, 0)
    return hashlib.sha256(), 0


def _failure(name: str, error: TransferError) -> PackrunnerError:
    cause = f"{error.why} (while {error.phase})"
    if error.status == _CORRUPT:
        return CorruptError(
            f"{error.host} sends another {name} than the signed package lists name",
            slug="download-corrupt",
            cause=cause,
            tries=("use another mirror: something changes files on the way from this one",),
        )
    if error.status in {404, 410}:
        return NetworkError(f"{error.host} no longer has {name}", slug="download-gone", cause=cause)
    if error.refused:
        brief = f"{name} could not be downloaded from {error.host}"
        return RefusedError(brief, slug="certificate", cause=cause, tries=error.tries)
    return NetworkError(
        f"{name} could not be downloaded from {error.host}",
        slug="download",
        cause=cause,
        tries=("check the network and the proxy settings, then repeat the command: it continues where it stopped",),
    )
