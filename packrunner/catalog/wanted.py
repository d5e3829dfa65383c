"""What a group of project.toml asks for: buildpacks by name, place or as a script in the file itself (PRJ-05 - PRJ-07).

Part of a recorded request, so this imports next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Wanted(NamedTuple):
    """One entry: `text` is what --buildpack takes, or the id@version of the buildpack that `inline` becomes."""

    text: str
    optional: bool = False
    exec_env: tuple[str, ...] = ()
    inline: str = ""
    shell: str = ""
    api: str = ""


class Groups(NamedTuple):
    """`group` replaces the order; without one, `pre` and `post` stand around each group of the builder's order."""

    group: tuple[Wanted, ...] = ()
    pre: tuple[Wanted, ...] = ()
    post: tuple[Wanted, ...] = ()


NOTHING = Groups()
