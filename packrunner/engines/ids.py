"""Which of this host's ids stand for the users inside a workbench, and writing that map.

Root writes it alone: ids that mean nothing on this host, so that neither uid 0 inside nor any other is somebody here.
An ordinary user is root inside, and the ids that /etc/subuid and /etc/subgid give him are the others; newuidmap and
newgidmap, which are set-uid, write them. Without any, root is the only user there is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner import process
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIRST = 2_000_000_000
"""The host's id for uid and gid 0 inside, when root is the caller; below 2^31, above what systems give away."""
COUNT = 65_536

Range = tuple[int, int, int]
"""The first id inside, the first one outside, and how many."""

_SUBUID, _SUBGID = "/etc/subuid", "/etc/subgid"
_PLACES = ("/usr/bin", "/usr/local/bin", "/bin")


class IdMap(msgspec.Struct, frozen=True, kw_only=True):
    """The map of a workbench: `shifted` for root's, `tools` are newuidmap and newgidmap for users who need them."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]
    shifted: bool = False
    tools: tuple[str, str] | None = None

    @property
    def count(self) -> int:
        """How many users there are inside."""
        return min(sum(r[2] for r in self.uids), sum(r[2] for r in self.gids))

    def inner(self, uid: int, gid: int) -> tuple[int, int]:
        """The ids inside that a file's owner and group on this host stand for; 65534 where they stand for none."""
        return _inner(self.uids, uid), _inner(self.gids, gid)

    def write(self, pid: int) -> None:
        """Give a process's new user namespace the map. Raises EngineError, slug `subordinate-ids`."""
        if self.tools:
            for tool, ranges in zip(self.tools, (self.uids, self.gids), strict=True):
                _run(tool, pid, ranges)
            return
        for name, ranges in (("uid_map", self.uids), ("gid_map", self.gids)):
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write("".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges))


def id_map(environ: Mapping[str, str], *, subuid: str = _SUBUID, subgid: str = _SUBGID) -> IdMap:
    """The map that the calling user can have."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        whole = ((0, FIRST, COUNT),)
        return IdMap(uids=whole, gids=whole, shifted=True)
    own = IdMap(uids=((0, uid, 1),), gids=((0, gid, 1),))
    tools = _tool("newuidmap", environ), _tool("newgidmap", environ)
    names = _names(uid)
    uids, gids = _granted(subuid, names), _granted(subgid, names)
    if not (tools[0] and tools[1] and uids and gids):
        return own
    return IdMap(uids=(*own.uids, uids), gids=(*own.gids, gids), tools=(tools[0], tools[1]))


def lacking(environ: Mapping[str, str], *, subuid: str = _SUBUID, subgid: str = _SUBGID) -> tuple[str, str]:
    """Why a user has no further ids, and what gives him some; two empty texts where he has."""
    if id_map(environ, subuid=subuid, subgid=subgid).count > 1:
        return "", ""
    if not (_tool("newuidmap", environ) and _tool("newgidmap", environ)):
        return "newuidmap and newgidmap are not installed", "sudo apt-get install uidmap"
    return (
        f"{subuid} and {subgid} give you no subordinate ids",
        "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER",
    )


def _inner(ranges: Sequence[Range], number: int) -> int:
    return next((inside + number - outside for inside, outside, n in ranges if 0 <= number - outside < n), 65534)


def _granted(path: str, names: frozenset[str]) -> Range | None:
    """The largest range that a file of `name:first:count` lines gives to one of the names."""
    mine = (fields for fields in _lines(path) if len(fields) == 3 and fields[0] in names)
    found = [(int(count), int(first)) for _, first, count in mine if first.isdecimal() and count.isdecimal()]
    count, first = max(found, default=(0, 0))
    return (1, first, min(count, COUNT - 1)) if count and first else None


def _names(uid: int) -> frozenset[str]:
    """What a user may be called in those files."""
    return frozenset({str(uid), *(fields[0] for fields in _lines("/etc/passwd") if fields[2:3] == [str(uid)])})


def _lines(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                yield line.strip().split(":")
    except OSError:
        return


def _tool(name: str, environ: Mapping[str, str]) -> str | None:
    directories = [*environ.get("PATH", "").split(":"), *_PLACES]
    paths = (os.path.join(d, name) for d in directories if d.startswith("/"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _run(tool: str, pid: int, ranges: Sequence[Range]) -> None:
    said: list[bytes] = []
    words = [str(number) for found in ranges for number in found]
    ended = process.run([tool, str(pid), *words], env={}, output=lambda _, line: said.append(line), timeout=10)
    if ended.code:
        raise EngineError(
            "your subordinate ids could not be used",
            slug="subordinate-ids",
            cause=ended.error or f"{os.path.basename(tool)} ended with {ended.code}",
            tries=("packrunner doctor",),
            foreign=tuple(line.decode(errors="replace").rstrip() for line in said[:20]),
        )
