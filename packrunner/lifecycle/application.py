"""How the application's source is shown to a build without ever being written to.

    overlay            lower: the source          upper: what buildpacks change      an ordinary user
    overlay of a copy  lower: a kept mirror       upper: the same                    root: the mirror belongs to the
                       of the source                                                 image's user
    copy               a fresh copy, writable                                        where overlays are refused

Excluded files are whiteouts in the upper tree; the exporter merges both trees. Names of DEFAULT_SKIP at the top are
left out when the project file says nothing, and what .dockerignore leaves out.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import msgspec

from packrunner import confined, fingerprint
from packrunner.engines.base import Mount, Overlay
from packrunner.errors import UsageError
from packrunner.formats import dockerignore
from packrunner.formats.dockerignore import Matcher, Pattern
from packrunner.images.parts import Tree
from packrunner.lifecycle.mirror import Mirror
from packrunner.paths import readable
from packrunner.workspace import APP_DIR

_LONGEST = 200

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packrunner.engines.base import User
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.workspace import Workspace

DEFAULT_SKIP = frozenset({".git"})
"""History is no part of an application, and would change its image with every commit."""
_LIMIT = 1 << 20
_TOP_NAME = re.compile(r"/[A-Za-z0-9_.-]*[A-Za-z0-9_-]")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What of the source belongs to the application: patterns in at most one of the lists (PRJ-03).

    `include` and `exclude` are those of the project file, in the language of gitignore, `ignored` those of a
    .dockerignore.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignored: tuple[Pattern, ...] = ()

    @property
    def skip(self) -> frozenset[str]:
        """Names at the top that are neither shown nor fingerprinted, and need not be readable.

        What is left out by its plain name is among them; the files that say so are not, whose changes must show.
        """
        if self.include:
            return frozenset()
        if self.exclude:
            return _top_names(self.exclude)
        return DEFAULT_SKIP | _top_names([f"{'!' * one.back}/{one.text}" for one in self.ignored])

    def left_out(self, table: bytes) -> list[str]:
        """The paths of the table that are not shown; of a directory left out whole, only itself."""
        if not (self.include or self.exclude or self.ignored):
            return []
        entries = fingerprint.kinds(table)
        if self.exclude:
            matches = matcher(self.exclude)
            return _topmost([path for path, is_dir in entries if matches(path, is_dir)])
        if self.include:
            return _topmost(_other_than(entries, matcher(self.include)))
        ignored = Matcher(self.ignored)
        return _topmost(_other_than(entries, lambda path, _: not ignored(path)))


def _top_names(patterns: Sequence[str]) -> frozenset[str]:
    """The names that patterns such as `/data` mean; none where a pattern brings something back."""
    if any(pattern.startswith("!") for pattern in patterns):
        return frozenset()
    return frozenset(one[1:] for one in patterns if _TOP_NAME.fullmatch(one)) - {dockerignore.NAME, "project.toml"}


def rules_of(request: BuildRequest) -> Rules:
    """What of the source the project file takes; where it says nothing of that, what a .dockerignore leaves.

    Raises UsageError, slug `pattern`, for a .dockerignore that cannot be read.
    """
    if request.include or request.exclude:
        return Rules(include=request.include, exclude=request.exclude)
    path = os.path.join(request.source, dockerignore.NAME)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # not there, or a link, which is not followed out of the application
        return Rules()
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return Rules()
    with os.fdopen(fd, "rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise UsageError(f"{readable(path)} is larger than 1 MB", slug="pattern", at=readable(path))
    return Rules(ignored=dockerignore.read(data, where=readable(path)))


def _other_than(entries: list[tuple[str, bool]], matches: Callable[[str, bool], bool]) -> list[str]:
    """The paths that do not match, and have nothing in them that does."""
    kept: set[str] = set()
    for path, is_dir in entries:
        if matches(path, is_dir):
            kept.add(path)
            while path := os.path.dirname(path):
                kept.add(path)
    return [path for path, _ in entries if path not in kept]


def matcher(patterns: tuple[str, ...]) -> Callable[[str, bool], bool]:
    """Whether gitignore patterns of the project file mean a path, and with it what is below."""
    # Loading the pattern library costs more than a small build: only for those who have patterns.
    from pathspec import GitIgnoreSpec

    try:
        spec = GitIgnoreSpec.from_lines(patterns)
    except ValueError as e:
        raise UsageError(f"project.toml: a pattern cannot be read: {e}", slug="pattern", at="io.buildpacks") from e
    return lambda path, is_dir: spec.match_file(path + "/" if is_dir else path)


def _topmost(paths: list[str]) -> list[str]:
    chosen: list[str] = []
    for path in paths:
        if not (chosen and path.startswith(chosen[-1] + "/")):
            chosen.append(path)
    return chosen


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """The application as the sandbox mounts it (`mounts`, `overlays`) and as the exporter reads it (`tree`)."""

    tree: Tree
    plain: Tree | None = None
    """The source alone, with its fingerprint: what is exported where no buildpack wrote to the application."""
    mounts: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()

    def read_only(self, target: str = "") -> tuple[tuple[Mount, ...], tuple[Overlay, ...]]:
        """The mounts and overlays of a sandbox that may look at the application and not change it.

        It is at `target` there, or where it is in the build.
        """
        mounts = tuple(
            msgspec.structs.replace(mount, target=target or mount.target, writable=False) for mount in self.mounts
        )
        return mounts, tuple(
            msgspec.structs.replace(overlay, target=target or overlay.target, writable=False)
            for overlay in self.overlays
        )

    def after_build(self) -> Tree:
        """The tree to export, once the sandbox is gone: without the upper half where no buildpack wrote to it.

        One tree is walked in half the time that two take to merge, and one whose fingerprint is known not at all.
        """
        upper = self.tree.upper
        if upper is None or self.plain is None or _mode(upper) != _mode(self.tree.source):
            return self.tree
        with os.scandir(upper) as entries:
            untouched = all(e.name in self.tree.skip and _is_whiteout(e) for e in entries)
        return self.plain if untouched else self.tree


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def _is_whiteout(entry: os.DirEntry[str]) -> bool:
    found = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def prepare(
    workspace: Workspace,
    source: str,
    table: bytes,
    *,
    rules: Rules,
    user: User,
    overlays: bool,
    target: str = APP_DIR,
) -> Application:
    """Set out the source for one build; `table` is its fingerprint, taken with `rules.skip`, `target` its place inside.

    Raises UsageError for what no image can hold, StoreError when the disk refuses.
    """
    with confined.Root.open(workspace.app) as root:
        for name in ("upper", "work", "copy"):
            root.remove(name)
        left_out = rules.left_out(table)
        if not overlays:
            root.makedirs("copy", owner=workspace.owner)
            copy = os.path.join(workspace.app, "copy")
            Mirror(copy, owner=workspace.owner).fill(source, table, without=frozenset(left_out))
            return Application(
                tree=Tree(source=copy, target=target, uid=user.uid, gid=user.gid),
                mounts=(Mount(source=copy, target=target, writable=True),),
            )
        for name in ("upper", "work"):
            root.makedirs(name, owner=workspace.owner)
        hidden = [*left_out, *(n for n in sorted(rules.skip) if os.path.lexists(os.path.join(source, n)))]
    lower = source
    if workspace.owner:
        lower = os.path.join(workspace.app, "mirror")
        Mirror(lower, owner=workspace.owner).update(source, table)
    upper = os.path.join(workspace.app, "upper")
    for path in hidden:
        _hide(lower, upper, path, workspace.owner)
    tree = Tree(source=lower, target=target, uid=user.uid, gid=user.gid, upper=upper, skip=rules.skip)
    return Application(
        tree=tree,
        plain=msgspec.structs.replace(tree, source=source, upper=None, table=table),
        overlays=(Overlay(lower=lower, upper=upper, work=os.path.join(workspace.app, "work"), target=target),),
    )


def unreadable(error: OSError, source: str) -> UsageError:
    """The error for what the fingerprint of an application could not look at.

    Only what is left out by its name at the top is not looked at.
    """
    path = error.filename if isinstance(error.filename, str) else source
    below = os.path.relpath(path, source)
    shown = readable(path)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    leave = f'leave it out: exclude = ["/{below}"] in [io.buildpacks] of project.toml'
    return UsageError(
        f"{shown} cannot be read",
        slug="unreadable",
        cause=error.strerror,
        at=shown,
        tries=() if "/" in below or below == "." else (leave,),
    )


def _hide(lower: str, upper: str, path: str, owner: tuple[int, int] | None) -> None:
    """Leave a whiteout for `path` in the still private upper tree, below directories like the lower ones."""
    above = ""
    for name in path.split("/")[:-1]:
        above = os.path.join(above, name)
        target = os.path.join(upper, above)
        if not os.path.isdir(target):
            os.mkdir(target)
            os.chmod(target, stat.S_IMODE(os.lstat(os.path.join(lower, above)).st_mode))
            if owner:
                os.chown(target, *owner)
    os.mknod(os.path.join(upper, path), stat.S_IFCHR, os.makedev(0, 0))
