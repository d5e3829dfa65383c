"""What of the application causes nothing when it changes: what git ignores, what is no part of the image.

Also directories of which a sync rule ignores everything, so that they need not be watched; single files that a rule
ignores are not known here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.dev.patterns import ANY, matches
from packrunner.formats.dockerignore import Matcher
from packrunner.lifecycle.application import Rules, matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pathspec import GitIgnoreSpec

    from packrunner.formats.sync import Rule

_MOST = 1 << 20
_HISTORY = ".git"
"""Each git command writes there: even where it is in the image, it is no reason to do anything."""


class Ignored:
    """Answers for one source: `project` is what project.toml or .dockerignore leave out, `rules` the merged sync rules.

    `.gitignore` files are read when they are first needed, and again after `forget`.
    """

    def __init__(self, root: str, *, project: Rules | None = None, rules: Sequence[Rule] = ()) -> None:
        self._root = root
        self._project = project or Rules()
        self._excluded = matcher(self._project.exclude) if self._project.exclude else None
        self._included = matcher(self._project.include) if self._project.include else None
        self._dockers = Matcher(self._project.ignored) if self._project.ignored else None
        self._rules = rules
        self._specs: dict[str, GitIgnoreSpec | None] = {}
        self._below: dict[str, bool] = {"": False}

    def __call__(self, path: str, is_dir: bool) -> bool:
        """Whether the path is never reported."""
        above = path.rpartition("/")[0]
        if self.below(above) or self._left_out(path, is_dir) or self._by_git(path, is_dir):
            return True
        return self._included is not None and not self._included(path, is_dir)

    def below(self, directory: str) -> bool:
        """Whether nothing in this directory, nor itself, is ever reported."""
        known = self._below.get(directory)
        if known is None:
            above = directory.rpartition("/")[0]
            known = self._below[directory] = (
                self.below(above)
                or self._left_out(directory, True)
                or self._by_git(directory, True)
                or _by_rules(self._rules, directory)
            )
        return known

    def follow(self, rules: Sequence[Rule]) -> None:
        """From now on these are the sync rules."""
        self._rules = rules
        self.forget("")

    def forget(self, directory: str) -> None:
        """The `.gitignore` in this directory is another one now."""
        self._specs.pop(directory, None)
        inside = directory + "/" if directory else ""
        for path in [path for path in self._below if path and path.startswith(inside)]:
            del self._below[path]

    def _left_out(self, path: str, is_dir: bool) -> bool:
        if path.rpartition("/")[2] == _HISTORY or (self._excluded is not None and self._excluded(path, is_dir)):
            return True
        # A directory that is left out may have something in it that a later line brings back.
        return self._dockers is not None and not (is_dir and self._dockers.brings_back) and self._dockers(path)

    def _by_git(self, path: str, is_dir: bool) -> bool:
        """The nearest file that says something about the path counts."""
        above = path
        while above:
            above = above.rpartition("/")[0]
            if spec := self._spec(above):
                relative = path[len(above) + 1 :] if above else path
                said = spec.check_file(relative + "/" if is_dir else relative).include
                if said is not None:
                    return said
        return False

    def _spec(self, directory: str) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            self._specs[directory] = _read(os.path.join(self._root, directory, ".gitignore"))
        return self._specs[directory]


def _by_rules(rules: Sequence[Rule], directory: str) -> bool:
    """Whether the first rule that can mean anything in the directory ignores all of it."""
    for rule in rules:
        if rule.action == "ignore":
            if any(pattern.endswith(ANY) and matches(pattern, directory) for pattern in rule.src):
                return True
        elif any(_reaches(pattern, directory) for pattern in rule.src):
            return False
    return False


def _reaches(pattern: str, directory: str) -> bool:
    """Whether the pattern can mean something in the directory: its beginning means the directory itself."""
    parts = pattern.split("/")
    return any(
        (count < len(parts) or parts[-1] == ANY) and matches("/".join(parts[:count]), directory)
        for count in range(1, len(parts) + 1)
    )


def _read(path: str) -> GitIgnoreSpec | None:
    try:
        # As git does: a link is not followed.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lines = os.fsdecode(os.read(fd, _MOST)).splitlines()
    except OSError:
        return None
    finally:
        os.close(fd)
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:
        # git skips a line that it cannot read: so do we, at the price of reading them one by one.
        return GitIgnoreSpec.from_lines([line for line in lines if _readable(line)])


def _readable(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
