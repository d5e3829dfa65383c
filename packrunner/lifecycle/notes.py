"""What a buildpack tells beyond the specification: docs/reference/buildpack-conventions.md.

`<layers>/<bp>/.packrunner/` holds failure.toml (why bin/build failed) or report.toml (what happened to each layer).
Foreign text: bounded, and stripped of control characters, before anyone shows it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec

from packrunner.errors import BuildError, UnsafeArchiveError
from packrunner.formats import toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.confined import Root

DIRECTORY = ".packrunner"
_LIMIT = 64 << 10
_TEXT = 500
_ENTRIES = 100

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Failure(msgspec.Struct, frozen=True, rename={"tries": "try"}):
    brief: str = ""
    at: str = ""
    tries: tuple[str, ...] | str = ()


class _Layer(msgspec.Struct, frozen=True):
    name: str
    detail: str


class _Report(msgspec.Struct, frozen=True):
    step: str = ""
    layers: tuple[_Layer, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why bin/build failed, in the buildpack's words; empty parts were not said."""

    brief: str = ""
    at: str = ""
    tries: tuple[str, ...] = ()


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, in the buildpack's words: a text for its line, and one for each layer by name."""

    step: str = ""
    layers: Mapping[str, str] = msgspec.field(default_factory=dict)


def take_failure(layers: Root, buildpack: str) -> Failure:
    """Read and remove what the buildpack said about its failure."""
    try:
        said = _take(layers, buildpack, "failure.toml", _Failure) or _Failure()
    except UnsafeArchiveError as e:
        # The failure itself is the news; what is wrong with the tree comes to nothing, as the tree is not used.
        log.warning("ignored: %s", e.brief)
        said = _Failure()
    tries = (said.tries,) if isinstance(said.tries, str) else said.tries
    return Failure(brief=plain(said.brief), at=plain(said.at), tries=tuple(plain(t) for t in tries[:5]))


def take_notes(layers: Root, buildpack: str) -> Notes:
    """Read and remove what the buildpack said about its layers."""
    said = _take(layers, buildpack, "report.toml", _Report) or _Report()
    return Notes(step=plain(said.step), layers={one.name: plain(one.detail) for one in said.layers[:_ENTRIES]})


def plain(text: str) -> str:
    """Text for one line: control characters replaced, and cut."""
    return "".join(c if c.isprintable() else "?" for c in text[:_TEXT])


def _take(layers: Root, buildpack: str, name: str, kind: type[T]) -> T | None:
    directory = f"{buildpack}/{DIRECTORY}"
    if layers.kind(directory) is None:
        return None
    where = f"{directory}/{name}"
    try:
        data = layers.read(where, limit=_LIMIT)
        said = None if data is None else toml.decode(data, kind, where=where)
    except BuildError as e:
        # A convenience of ours must not fail a build that the specification allows.
        log.warning("ignored: %s", e.brief)
        said = None
    layers.remove(directory)
    return said
