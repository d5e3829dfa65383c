"""What works on this machine, and what would enable more: the facts behind `packrunner doctor`."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner import paths
from packrunner.console import layout, units
from packrunner.engines.probe import Fact
from packrunner.errors import EngineError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.cli.session import Session
    from packrunner.console.terminal import Terminal

NEEDED = frozenset({"bwrap", "namespaces", "images"})
"""Without these nothing can be built."""
_LARGEST_BUNDLE = 16 << 20


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """All facts, by area."""

    facts: tuple[tuple[str, Fact], ...]

    @property
    def can_build(self) -> bool:
        """Whether a build can run here."""
        return all(fact.state == "ok" for _, fact in self.facts if fact.name in NEEDED)

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON's own types."""
        checks = [
            {"area": area, "name": f.name, "state": f.state, "detail": f.detail, "cause": f.cause, "try": list(f.tries)}
            for area, f in self.facts
        ]
        return {"can_build": self.can_build, "checks": checks}


def examine(session: Session) -> Checkup:
    """Look at engines, store and network; writes nothing but the cache directory."""
    found = [("engine", fact) for fact in engine_facts(session.environ)]
    found += [("store", store_fact(session)), ("network", network_fact(session.environ))]
    return Checkup(facts=tuple(found))


def bwrap_path() -> str | None:
    """The bwrap that builds would use."""
    from packrunner.engines import bwrap
    from packrunner.engines.diagnose import read_kernel

    try:
        return bwrap.choose_bwrap(wheel=bwrap.wheel_bwrap(), restricted=read_kernel().restricted)
    except EngineError:
        return None


def printed(what: str) -> str:
    """The text of `--print`. Raises UsageError, or EngineError without a bwrap."""
    from packrunner.engines import bwrap, diagnose

    if what != "apparmor-profile":
        raise UsageError(f"doctor cannot print {what}", slug="usage", tries=("--print apparmor-profile",))
    # The profile has to name the system's own program where there is one.
    return diagnose.apparmor_profile(bwrap.choose_bwrap(wheel=bwrap.wheel_bwrap(), restricted=True)).rstrip("\n")


def engine_facts(environ: Mapping[str, str]) -> tuple[Fact, ...]:
    """What buildpacks could run in."""
    from packrunner.engines import probe

    directory = paths.cache_dir()
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        return probe.probe(bwrap_path(), directory, environ)
    except (OSError, EngineError, StoreError) as e:
        cause = e.strerror if isinstance(e, OSError) else e.cause or e.brief
        shown = paths.readable(directory)
        return (
            Fact(
                name="bwrap",
                state="no",
                detail=f"cannot be tried: {shown} cannot be used",
                cause=cause,
                tries=(f"ls -ld {shown}",),
            ),
        )


def store_fact(session: Session) -> Fact:
    """What the store holds, and the space around it."""
    from packrunner.cli import listing

    directory = paths.data_dir()
    existing = directory
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    free = units.size(shutil.disk_usage(existing).free)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Fact(
            name="images",
            state="no",
            detail=f"{paths.readable(existing)} is not writable for you",
            cause="images, bases and downloads are kept there",
            tries=("PACKRUNNER_HOME=DIR packrunner doctor, with a directory of yours",),
        )
    try:
        rows = listing.rows(session.services.store().list())
    except StoreError as e:
        return Fact(name="images", state="no", detail=e.brief, cause=e.cause, tries=e.tries)
    used = units.size(sum(size for _, size in frozenset[tuple[str, int]]().union(*(row.blobs for row in rows))))
    return Fact(name="images", state="ok", detail=f"{units.number(len(rows), 'image')}, {used}; {free} free")


def network_fact(environ: Mapping[str, str]) -> Fact:
    """Which certificates are trusted, and the way out; no address is contacted."""
    from packrunner.certificates import host_bundle
    from packrunner.engines.trust import proxy_env

    proxies = sorted({name.upper() for name in proxy_env(environ)} - {"NO_PROXY"})
    way = f"proxy from {units.names(proxies)}" if proxies else "no proxy"
    bundle = host_bundle(environ)
    if bundle is None:
        return Fact(
            name="CA bundle",
            state="no",
            detail=f"not found; {way}",
            cause="without it programs in a sandbox trust the certificates of their base only",
            tries=("sudo apt-get install ca-certificates", "SSL_CERT_FILE=FILE packrunner build"),
        )
    with open(bundle, "rb") as file:
        count = file.read(_LARGEST_BUNDLE).count(b"-----BEGIN")
    return Fact(name="CA bundle", state="ok", detail=f"{bundle}, {units.number(count, 'certificate')}; {way}")


def page(found: Checkup, terminal: Terminal) -> list[str]:
    """The page for people: verdict, table, a paragraph for each `no`."""
    missing = [fact for _, fact in found.facts if fact.state == "no"]
    verdict = "This machine can build." if found.can_build else "This machine cannot build yet."
    if found.can_build and missing:
        verdict += f" It could do more: {', '.join(fact.name for fact in missing)}."
    lines = [verdict, ""]
    last = ""
    for area, fact in found.facts:
        lines += _row("" if area == last else area, fact, terminal)
        last = area
    for fact in missing:
        lines += ["", *_paragraph(fact, terminal)]
    return lines


def _row(area: str, fact: Fact, terminal: Terminal) -> list[str]:
    head = f"  {area:<8}  {fact.name:<14}  {fact.state:<6}  "
    room = max(20, terminal.width - len(head))
    wrapped = textwrap.wrap(fact.detail, room, break_long_words=False, break_on_hyphens=False)
    return [(head if i == 0 else " " * len(head)) + part for i, part in enumerate(wrapped)]


def _paragraph(fact: Fact, terminal: Terminal) -> list[str]:
    lines = layout.wrap(f"{fact.name}: {fact.cause or fact.detail}", terminal)
    for i, text in enumerate(fact.tries):
        lines += layout.wrap(f"  {'or:' if i else 'try:':<6} {text}", terminal, indent=9)
    return lines
