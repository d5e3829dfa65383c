"""What a package's own script would do at its installation, as far as it can be told without running it.

Scripts are programs, and run nowhere here. Links of update-alternatives mostly stand in them as they are meant, and are
made; of what is only known while a script runs, and of accounts, it is said that they are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CALL = re.compile(r"(?m)^[^#\n]*\bupdate-alternatives\b(.*)$")
_LINK = re.compile(r"--(?:install|slave)\s+(\S+)\s+\S+\s+(\S+)(?:\s+(-?\d+))?")
_PATH = re.compile(r"/[A-Za-z0-9._+/-]*")
_ACCOUNT = re.compile(r"(?m)^[^#\n]*\b(?:adduser|useradd|addgroup|groupadd|systemd-sysusers)\s+-")


def links(postinsts: Iterable[bytes]) -> dict[str, str]:
    """The links that update-alternatives would make, by their paths, with their targets: of several the best one."""
    best: dict[str, tuple[int, str]] = {}
    for postinst in postinsts:
        for call in _calls(postinst):
            priority = 0
            for link, target, number in _LINK.findall(call):
                # What is a slave has the priority of the link that it goes with.
                priority = int(number) if number else priority
                plain = all(_PATH.fullmatch(path) and ".." not in path for path in (link, target))
                if plain and (link not in best or best[link][0] < priority):
                    best[link] = (priority, target)
    return {link: target for link, (_, target) in sorted(best.items())}


def undone(postinst: bytes) -> tuple[str, ...]:
    """What is missing without it: "accounts", "links"."""
    text = postinst.decode("utf-8", "replace")
    found = ["accounts"] if _ACCOUNT.search(text) else []
    # A name that a loop gives; what a `$(...)` adds to a plain call are slaves of many languages, or of none.
    computed = any("$" in link for call in _calls(postinst) for link, _, _ in _LINK.findall(call)[:1])
    return tuple([*found, "links"] if computed else found)


def _calls(postinst: bytes) -> list[str]:
    return _CALL.findall(postinst.decode("utf-8", "replace").replace("\\\n", " "))
