"""Where Debian packages come from on this machine: its own apt configuration, or the `debian-mirror` setting.

apt's entries are used on Debian hosts only (/etc/os-release says ID=debian), and only those of the Debian archive:
a Debian suite with component main, bound to no other key than Debian's. Their suites are replaced by the one asked
for. What is fetched from them is believed because of its signature, never because of its address.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Archive = Literal["main", "security"]

_SUITES = frozenset(
    "stable oldstable oldoldstable testing unstable sid bullseye bookworm trixie forky duke".split()  # noqa: SIM905 - reads better
)
_SCHEMES = ("http://", "https://", "file:")
_TRUE = frozenset({"yes", "true", "with", "on", "enable", "1"})


class Archives(msgspec.Struct, frozen=True, kw_only=True):
    """Roots of the archive (what `dists/` and `pool/` are below), best first; `security` may be empty.

    `origin` says where they were found, for messages.
    """

    main: tuple[str, ...]
    security: tuple[str, ...]
    origin: str

    def of(self, archive: Archive) -> tuple[str, ...]:
        """The roots of one of the two archives."""
        return self.main if archive == "main" else self.security


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str


def find_archives(mirror: str | None, *, root: str = "/") -> Archives:
    """The archives to use; `mirror` holds one address, or two with security's second.

    Raises UsageError, slug `debian-mirror`, when there is neither a setting nor an apt configuration to follow.
    """
    if mirror and mirror.split():
        return _from_setting(mirror)
    if _is_debian(root):
        found = _from_apt(root)
        if found:
            return found
    raise UsageError(
        "it is not known where to get Debian packages from",
        slug="debian-mirror",
        cause="this machine's own apt configuration names no Debian archive"
        if _is_debian(root)
        else "this is not a Debian machine, so there is no apt configuration to follow",
        tries=("PACKRUNNER_DEBIAN_MIRROR=https://<your Debian mirror>/debian packrunner build",),
        more='or for good: debian-mirror = "https://<your Debian mirror>/debian" in the configuration file',
    )


def _from_setting(mirror: str) -> Archives:
    roots = [text.rstrip("/") for text in mirror.split()]
    if len(roots) > 2 or not all(text.startswith(_SCHEMES) for text in roots):
        raise UsageError(
            f"debian-mirror cannot be {mirror!r}",
            slug="debian-mirror",
            cause="it is one address (http:, https: or file:), or two with the security archive's second",
        )
    security = roots[1:] or _beside(roots)
    return Archives(main=(roots[0],), security=tuple(security), origin="the setting debian-mirror")


def _from_apt(root: str) -> Archives | None:
    main: dict[str, None] = {}
    security: dict[str, None] = {}
    for entry in _entries(os.path.join(root, "etc/apt")):
        suite = entry.suite.rstrip("/").replace("/updates", "-security")
        base, _, kind = suite.partition("-")
        if not _is_archive(entry, base):
            continue
        if kind == "security":
            security[entry.uri] = None
        elif kind in {"", "updates"}:
            main[entry.uri] = None
    if not main:
        return None
    return Archives(
        main=tuple(main),
        security=tuple(security) or tuple(_beside(list(main))),
        origin="this machine's apt configuration",
    )


def _is_archive(entry: _Entry, base: str) -> bool:
    key = os.path.basename(entry.signed_by)
    # Other vendors publish under Debian's suite names too, always with a key of their own.
    debian_key = not key or key.startswith("debian-archive")
    return base in _SUITES and "main" in entry.components and debian_key and entry.uri.startswith(_SCHEMES)


def _beside(roots: list[str]) -> list[str]:
    """Mirrors keep the security archive beside the main one; where they do not, it is simply not found."""
    return [f"{text}-security" for text in roots if text.endswith("/debian")]


def _is_debian(root: str) -> bool:
    return any(
        re.fullmatch(r"ID=[\"']?debian[\"']?", line.strip()) for line in _lines(os.path.join(root, "etc/os-release"))
    )


def _entries(apt: str) -> Iterator[_Entry]:
    parts = os.path.join(apt, "sources.list.d")
    try:
        names = sorted(os.listdir(parts))
    except OSError:
        names = []
    yield from _one_line(os.path.join(apt, "sources.list"))
    for name in names:
        if name.endswith(".list"):
            yield from _one_line(os.path.join(parts, name))
        elif name.endswith(".sources"):
            yield from _deb822(os.path.join(parts, name))


def _one_line(path: str) -> Iterator[_Entry]:
    """Lines such as `deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://host/debian trixie main`."""
    for line in _lines(path):
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.partition("#")[0].strip())
        if not match:
            continue
        options, uri, suite, components = match.groups()
        keys = re.search(r"(?i)\bsigned-by=(\S+)", options or "")
        yield _Entry(
            uri=uri.rstrip("/"), suite=suite, components=tuple(components.split()), signed_by=keys[1] if keys else ""
        )


def _deb822(path: str) -> Iterator[_Entry]:
    """Stanzas with Types, URIs, Suites, Components, Signed-By and Enabled."""
    text = "\n".join(line for line in _lines(path) if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            name.lower(): " ".join(value.split())
            for name, value in re.findall(r"(?m)^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", stanza)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() not in _TRUE:
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield _Entry(
                    uri=uri.rstrip("/"),
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    signed_by=_file_named(fields.get("signed-by", "")),
                )


def _file_named(signed_by: str) -> str:
    """The key file that is named; a key written into the stanza itself cannot be told by a name."""
    return signed_by.split(" ", maxsplit=1)[0] if signed_by.startswith("/") else ""


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20).splitlines()
    except OSError:
        return []
