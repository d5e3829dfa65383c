"""InRelease files: the signature first, and after it only the bytes that were signed."""

from __future__ import annotations

import logging
import os
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import CorruptError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOG = logging.getLogger(__name__)

KEYRING = os.path.join(os.path.dirname(__file__), "keyring")


class IndexFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a Release lists: `path` below the suite's directory, its SHA-256 in hexadecimal, its size."""

    path: str
    sha256: str
    size: int


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What a signed Release says; times in seconds since the epoch."""

    origin: str
    codename: str
    date: float
    valid_until: float | None
    by_hash: bool
    files: Mapping[str, IndexFile]


def verify(signed: bytes, *, keyring: str = KEYRING, at: str) -> bytes:
    """The signed part of an InRelease file; one good signature by a key of `keyring` is enough.

    `at` names the file in messages. Raises CorruptError, slug `debian-signature`.
    """
    import pysequoia

    certificates = [
        certificate
        for name in sorted(os.listdir(keyring))
        if name.endswith((".asc", ".pgp"))
        for certificate in pysequoia.Cert.split_file(os.path.join(keyring, name))
    ]
    try:
        result = pysequoia.verify(bytes=signed, store=lambda _: certificates)
    # The library raises several classes of its own and of Python's; each means that the file is not believed.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise CorruptError(
            f"{at} is not signed by Debian",
            slug="debian-signature",
            cause=reason,
            tries=("check the clock of this machine, and that the mirror is one of Debian's",),
        ) from error
    if not result.bytes:
        raise CorruptError(f"{at} is empty", slug="debian-signature")
    verified: bytes = result.bytes
    return verified


def parse(verified: bytes, *, at: str) -> Release:
    """Read the fields that are needed. Raises CorruptError, slug `debian-release`."""
    head, _, tail = verified.partition(b"\nSHA256:")
    fields = dict(re.findall(r"(?m)^([A-Za-z-]+): *(.*?)\s*$", head.decode("utf-8", "replace")))
    fields.update(re.findall(r"(?m)^(Valid-Until): *(.*?)\s*$", tail.decode("utf-8", "replace")))
    listed = re.match(rb"(?:\s*\n [^\n]*)*", tail)
    lines = re.findall(rb"(?m)^ ([0-9a-f]{64}) +([0-9]{1,12}) +([\x21-\x7e]+)$", listed[0] if listed else b"")
    files = {
        path.decode(): IndexFile(path=path.decode(), sha256=sha256.decode(), size=int(size))
        for sha256, size, path in lines
    }
    date = _seconds(fields.get("Date"))
    if date is None or not files or "Codename" not in fields:
        raise CorruptError(f"{at} has no date, no code name or no SHA-256 sums", slug="debian-release")
    return Release(
        origin=fields.get("Origin", ""),
        codename=fields["Codename"],
        date=date,
        valid_until=_seconds(fields.get("Valid-Until")),
        by_hash=fields.get("Acquire-By-Hash") == "yes",
        files=files,
    )


def check(release: Release, suite: str, *, now: float, seen: float, at: str) -> None:
    """Refuse another suite than the one asked for, one no longer valid at `now`, and one older than was `seen`.

    An old but well-signed file is how known holes are kept open. Raises CorruptError `debian-release` for another
    suite, NetworkError `debian-stale` for an old one: a mirror that lags behind catches up.
    """
    if release.origin != "Debian" or release.codename != suite:
        found = f"{release.origin or 'no origin'} {release.codename}"
        raise CorruptError(f"{at} is not Debian's {suite}", slug="debian-release", cause=f"it says {found}")
    if release.valid_until is not None and release.valid_until < now:
        raise _stale(at, f"it was valid until {_day(release.valid_until)}, and the clock here says {_day(now)}")
    if release.date < seen:
        raise _stale(at, f"it is of {_day(release.date)}, but one of {_day(seen)} was seen before")


def _stale(at: str, cause: str) -> NetworkError:
    return NetworkError(
        f"{at} is out of date",
        slug="debian-stale",
        cause=cause,
        tries=("check the clock of this machine; use another mirror, or wait until this one has caught up",),
    )


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        _LOG.debug("not a date: %r", text)
        return None


def _day(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def packages_index(release: Release, architecture: str) -> IndexFile:
    """The list of main's packages; the smallest form that can be read. Includes architecture `all`.

    Security's component is called `updates/main` in the Release, but its paths say `main`.
    """
    names: Sequence[str] = (f"main/binary-{architecture}/Packages.xz", f"main/binary-{architecture}/Packages.gz")
    for name in names:
        if name in release.files:
            return release.files[name]
    raise CorruptError(
        f"Debian {release.codename} has no packages for {architecture}",
        slug="debian-release",
        cause=f"its Release lists none of {', '.join(names)}",
    )
