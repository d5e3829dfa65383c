"""What a look at the application's tree asks, and whom it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.formats.sync import Rule


class Ignored(Protocol):
    """What is no part of the application's tree, or of no interest to it."""

    def __call__(self, path: str, is_dir: bool) -> bool:
        """Whether this path is never reported; asked only for what is in directories that are looked into."""

    def below(self, directory: str) -> bool:
        """Whether nothing in this directory, nor itself, is ever reported: it need not be looked into."""

    def forget(self, directory: str) -> None:
        """The `.gitignore` in this directory is another one now."""

    def follow(self, rules: Sequence[Rule]) -> None:
        """From now on these are the sync rules: what they ignore need not be looked into."""


class Watching(Protocol):
    """Who wants to know of directories."""

    def enter(self, path: str, fd: int) -> None:
        """A directory is about to be listed."""

    def leave(self, path: str) -> None:
        """A directory and all below it are gone, or of no interest any more."""
