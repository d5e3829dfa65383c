"""Sync rules: what becomes of a changed file of the application while it runs.

A buildpack states them at detect, as metadata of the plan entry `live-reload`; an image built for development carries
them as the labels `io.packrunner.sync` (all of them, merged) and `io.packrunner.sync.<buildpack id>`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PLAN_ENTRY = "live-reload"
LABEL = "io.packrunner.sync"
VERSION = 1

Action = Literal["sync", "reload", "restart", "rebuild", "ignore"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is done with files whose path, relative to the application, matches one of the patterns `src`.

    Patterns are anchored: `*` and `?` stay within a name, `**` spans directories. `sync` copies; `reload` copies, and
    the application takes it in its own way, by its framework's reloader, or by a restart where it has none; `restart`
    copies and restarts; `rebuild` makes a new image; `ignore` does nothing. `exec` is a program to run in between,
    through the launcher: once for all files of a change, before the restart.
    """

    src: tuple[str, ...]
    action: Action
    exec: tuple[str, ...] = ()
    dest: str = ""
    """An absolute directory in the image, below which paths are kept; the application's own unless given."""
    buildpack: str = ""
    """Who stated it, by id."""
    why: str = ""
    """A few words about it, for the user."""


class SyncRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All rules of an image, the first that matches counts; a file that none matches needs a rebuild."""

    version: int = VERSION
    workspace: str = "/workspace"
    rules: tuple[Rule, ...] = ()
    buildpacks: dict[str, str] = msgspec.field(default_factory=dict)
    """Versions of those who stated rules, by id."""
