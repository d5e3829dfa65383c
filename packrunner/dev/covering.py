"""Rules put into words of tools that know paths, or globs without an order, but not `the first that matches`."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import msgspec

from packrunner.dev.overlap import meets
from packrunner.dev.patterns import ANY, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packrunner.formats.sync import Rule, SyncRules

SETTLE = ("/cnb/lifecycle/launcher", "--", "reloader", "settle")
"""What a tool runs in the container after it has copied: through the launcher, whose environment has the reloader."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules are written out for; `image` has no tag, `development` is what it is built as."""

    image: str
    development: str
    path: str
    port: int = 8080
    user: str = ""
    """The number of the image's user, where it is known."""

    @property
    def name(self) -> str:
        """The image's last name."""
        return self.image.rpartition("/")[2]


def sends(rule: Rule | None) -> bool:
    """Whether files that the rule is about are copied."""
    return rule is not None and rule.action in {"sync", "reload", "restart"}


def settles(rule: Rule) -> bool:
    """Whether more than a copy is to be done: the reloader in the container has to be asked."""
    return rule.action in {"reload", "restart"} or bool(rule.exec)


def target(rules: SyncRules, rule: Rule) -> str:
    """The directory in the image below which the paths of a rule are kept."""
    return rule.dest or rules.workspace


def literal(src: str) -> bool:
    """Whether a pattern means one path."""
    return "*" not in src and "?" not in src


def root(src: str) -> str:
    """The directory, or the file, below which all is that a pattern can mean; "" for the application's directory."""
    names = src.split("/")
    fixed = next((i for i, name in enumerate(names) if not literal(name)), len(names))
    return "/".join(names[:fixed])


def whole(src: str) -> bool:
    """Whether a pattern means all that is below its root."""
    return src == "/".join(filter(None, (root(src), ANY))) or literal(src)


def ignored(rules: SyncRules) -> list[str]:
    """What is ignored, as lines of a .dockerignore, of which the last that matches counts: the rules backwards.

    Rules that are not about ignoring are exceptions, said only where they are needed. At worst too little is ignored.
    """
    lines: list[str] = []
    for rule in reversed(rules.rules):
        for src in reversed(rule.src):
            if rule.action == "ignore":
                lines += _exact(src)
            elif any(not line.startswith("!") and meets(line, src) for line in lines):
                lines.append(f"!{src}")
    return lines


def listed(patterns: Iterable[str]) -> list[str]:
    """Patterns as lines of a .dockerignore, in an order in which none takes back what another says."""
    return [line for src in sorted(patterns, key=_late) for line in _exact(src)]


def _exact(src: str) -> tuple[str, ...]:
    """In a .dockerignore `d/*` is also about what is below directories in `d`, which has to be taken back.

    Directories with names like `x.py` are not expected.
    """
    return (src, f"!{src}/*") if _one_level(src) else (src,)


def _one_level(src: str) -> bool:
    return src.endswith(("*", "?")) and ANY not in src.split("/")


def _late(src: str) -> float:
    return src.count("/") if _one_level(src) else math.inf


def files(rules: SyncRules, app: str, patterns: tuple[str, ...]) -> Iterator[str]:
    """Files of the application that one of the patterns can mean and that are not ignored; links are not followed."""
    open_directories = [""]
    while open_directories:
        directory = open_directories.pop()
        try:
            entries = sorted(os.scandir(os.path.join(app, directory)), key=lambda entry: entry.name, reverse=True)
        except OSError:
            continue  # gone, or not ours to read: nothing in it can be sent either
        for entry in entries:
            path = f"{directory}/{entry.name}" if directory else entry.name
            if entry.is_dir(follow_symlinks=False):
                below = f"{path}/{ANY}"
                if any(meets(below, pattern) for pattern in patterns) and not _all_ignored(rules, path):
                    open_directories.append(path)
            elif any(matches(pattern, path) for pattern in patterns):
                yield path


def _all_ignored(rules: SyncRules, directory: str) -> bool:
    """Whether nothing in a directory can be of interest: an ignoring rule takes all of it, and none before it any."""
    for rule in rules.rules:
        for src in rule.src:
            if rule.action == "ignore" and src.endswith(f"/{ANY}") and matches(src, directory):
                return True
            if rule.action != "ignore" and meets(src, f"{directory}/{ANY}"):
                return False
    return False
