"""Which proxy a download goes through: apt's own setting first, then http_proxy, https_proxy, all_proxy, no_proxy."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN = re.compile(r'//[^\n]*|#[^\n]*|/\*.*?\*/|"((?:[^"\\]|\\.)*)"|([{};])|([^\s"{};]+)', re.DOTALL)


class Proxies(msgspec.Struct, frozen=True, kw_only=True):
    """apt's options (names in lower case) and the proxy variables of the environment."""

    apt: Mapping[str, str]
    environ: Mapping[str, str]

    @classmethod
    def find(cls, environ: Mapping[str, str], *, root: str = "/") -> Proxies:
        """Read apt's configuration below `root` where there is one."""
        return cls(apt=dict(_options(root)), environ=environ)

    def of(self, scheme: str, host: str, port: int) -> str | None:
        """The proxy's address for a connection, or None for a direct one."""
        for kind in (scheme, "http"):  # apt's https options default to those for http
            for name in (f"acquire::{kind}::proxy::{host.lower()}", f"acquire::{kind}::proxy"):
                if value := self.apt.get(name):
                    return None if value.upper() == "DIRECT" else _with_scheme(value)
        if self._bypassed(host, port):
            return None
        for name in (f"{scheme}_proxy", "all_proxy"):
            if value := self.environ.get(name) or self.environ.get(name.upper()):
                return _with_scheme(value)
        return None

    def _bypassed(self, host: str, port: int) -> bool:
        entries = self.environ.get("no_proxy") or self.environ.get("NO_PROXY") or ""
        return any(
            _covers(entry, host.lower().rstrip("."), port) for entry in re.split(r"[\s,]+", entries.lower()) if entry
        )


def _with_scheme(value: str) -> str:
    return value if "://" in value else f"http://{value}"


def _covers(entry: str, host: str, port: int) -> bool:
    """One entry of no_proxy: `*`, a host or a domain of it, an address or a network, each with or without a port."""
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        return ipaddress.ip_address(host) in network
    except ValueError:
        pass  # a name on one side or the other, which the rest compares
    name, _, wanted = entry.rpartition(":") if re.search(r"[^:]:\d+$|\]:\d+$", entry) else (entry, "", "")
    if wanted and int(wanted) != port:
        return False
    name = name.strip("[]").removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _options(root: str) -> Iterator[tuple[str, str]]:
    apt = os.path.join(root, "etc/apt")
    parts = os.path.join(apt, "apt.conf.d")
    try:
        names = sorted(name for name in os.listdir(parts) if re.fullmatch(r"[\w-]+(\.conf)?", name))
    except OSError:
        names = []
    for path in [*(os.path.join(parts, name) for name in names), os.path.join(apt, "apt.conf")]:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield from _parse(file.read(1 << 20))
        except OSError:
            continue


def _parse(text: str) -> Iterator[tuple[str, str]]:
    """`A::B "value";` and `A { B "value"; };`, as full names in lower case with their values."""
    scopes: list[str] = []
    words: list[str] = []
    for match in _TOKEN.finditer(text):
        string, mark, word = match.groups()
        if mark == "{":
            scopes.append("::".join(words).lower())
            words = []
        elif mark == "}":
            scopes = scopes[:-1]
            words = []
        elif mark == ";":
            if len(words) == 2:
                yield "::".join([*filter(None, scopes), words[0].lower()]), words[1]
            words = []
        elif string is not None:
            words.append(string)
        elif word:
            words.append(word)
