"""Staged buildpacks: what a sandbox is shown, and what will be packaged, is one normalised, content-addressed tree.

    <stage dir>/
      trees/<digest>/                         one buildpack's content, with what it asks for of packrunner's inside
      selections/<digest>/<id>/<version>/     hard links to the trees of one selection: one bind shows them all
      selections/<digest>.table               what a stat of the selection said when it was made
      compiled/<key>/                         compiled modules for one selection in one build image, see compiled.py
      inline/<digest>/                        buildpacks that stand in project files, written out
      unpacked/<digest>/  git/<digest>/       what archives and git repositories held, see archives.py
      downloads/<digest>                      archives from the network
      sources/<hash of a source path>         which tree a source was staged to, and the fingerprint it had then
      new/                                    trees and selections in the making
      lock                                    held while a selection is made or things are pruned

Everything is made in `new` and renamed into place, so a reader sees whole trees, a killed build leaves only rubbish
in `new`, and of two builds that stage the same thing one wins and the other uses its result.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from packrunner import fingerprint
from packrunner.catalog import builtin, platforms, tree
from packrunner.catalog.check import check_programs, read_descriptor
from packrunner.catalog.tree import make_directory
from packrunner.catalog.vendored import Vendored, Wanted, lacking, wanted
from packrunner.confined import Root
from packrunner.disk import FileLock, disk_error, temporary, write_atomic
from packrunner.errors import StoreError, UsageError
from packrunner.names import BuildpackId
from packrunner.paths import readable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from packrunner.catalog.check import Kind
    from packrunner.formats.buildpack import BuildpackDescriptor

_ABANDONED_AFTER = 3600.0


class StagedBuildpack(msgspec.Struct, frozen=True, kw_only=True):
    """A buildpack or extension ready to be mounted: its normalised tree, that tree's digest, its origin.

    `short` is how people call it: the last part of its id; `shown` what its source is called in messages.
    """

    id: str
    version: str
    digest: str
    path: str
    source: str
    descriptor: BuildpackDescriptor
    short: str
    sdk: bool = False
    kind: Kind = "buildpack"
    shown: str = ""


class Stage:
    """The stage directory. Safe to use from several processes at once.

    Of a buildpack for several platforms the part for `platform` is staged, this machine's unless given.
    """

    def __init__(self, directory: str, *, sdk_dir: str, programs_dir: str = "", platform: str = "") -> None:
        self._directory = directory
        self._platform = platform or platforms.own_platform()
        self._vendored = Vendored(sdk_dir=sdk_dir, programs_dir=programs_dir or builtin.programs_dir())
        for name in ("trees", "selections", "sources", "new"):
            make_directory(os.path.join(directory, name))

    def add(self, source: str, kind: Kind = "buildpack", *, shown: str = "") -> StagedBuildpack:
        """Stage the buildpack or extension in the directory `source`, called `shown` in messages.

        An unchanged one costs a stat of each file. Raises what `check` and `tree.normalise` raise.
        """
        shown = shown or readable(source)
        part = platforms.folder(source, self._platform, shown=shown)
        key = f"{kind} {source} {part}" if part else f"{kind} {source}"
        known = os.path.join(self._directory, "sources", hashlib.sha256(os.fsencode(key)).hexdigest())
        began = time.time_ns()
        before = _scan(source)
        recorded = _recorded(known)
        if recorded is not None and recorded[0] == fingerprint.digest(before):
            found = self._staged(source, recorded[1], kind, shown)
            if found is not None and recorded[2] == self._vendored.digest(lacking(source, found.descriptor)):
                return found
        found = self._copy(source, part, kind, shown)
        # A source that changed meanwhile, or within the clock's tick, is looked at in full again next time.
        if fingerprint.settled(before, began) and before == _scan(source):
            ours = self._vendored.digest(lacking(source, found.descriptor))
            line = f"{fingerprint.digest(before)} {found.digest.removeprefix('sha256:')} {ours}\n"
            write_atomic(known, line.encode())
        return found

    def on(self, platform: str) -> Self:
        """The same stage for another platform; itself where that is ""."""
        if not platform:
            return self
        other = copy.copy(self)
        other._platform = platform  # noqa: SLF001 - of the same class
        return other

    def combine(self, staged: Iterable[StagedBuildpack]) -> str:
        """The directory that shows all of them as `<escaped id>/<version>/`; reused while nobody touched it."""
        chosen = sorted({(b.id, b.version, b.digest): b for b in staged}.items())
        name = hashlib.sha256("".join(f"{'@'.join(key)}\n" for key, _ in chosen).encode()).hexdigest()
        root = os.path.join(self._directory, "selections", name)
        if not _intact(root):
            with self._lock():
                if not _intact(root):  # nobody else has made it meanwhile
                    self._discard(f"selections/{name}")
                    self._select([buildpack for _, buildpack in chosen], root)
        os.utime(root)  # prune goes by this
        return root

    def prune(self, *, unused_for: float, dry_run: bool = False) -> int:
        """Remove what no build has used for so many seconds; the number of bytes that go, or would."""
        if not os.path.isdir(self._directory):
            return 0
        limit = time.time() - unused_for
        freed = 0
        with self._lock():
            for kind in ("selections", "trees", "compiled", "inline", "unpacked", "git", "downloads", "new"):
                for name in _names(os.path.join(self._directory, kind)):
                    path = os.path.join(self._directory, kind, name)
                    if not name.endswith(".table") and _older(path, limit):
                        freed += _only_here(path)
                        if not dry_run:
                            self._discard(f"{kind}/{name}.table")
                            self._discard(f"{kind}/{name}")
        return freed

    def _lock(self) -> FileLock:
        return FileLock(os.path.join(self._directory, "lock"))

    def _staged(self, source: str, digest: str, kind: Kind, shown: str) -> StagedBuildpack | None:
        path = os.path.join(self._directory, "trees", digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return _describe(source, path, digest, kind, shown)

    def _copy(self, source: str, part: str, kind: Kind, shown: str) -> StagedBuildpack:
        """Copy, hash and check; the tree appears under its digest only when all is well.

        Of a source for several platforms that is `part`, a directory in it, with the descriptor of all.
        """
        self._sweep()
        # Read before the copy too: a directory that is no buildpack may be somebody's whole home.
        asked = lacking(source, read_descriptor(source, shown=shown, kind=kind))
        new = self._new()
        try:
            extra = self._extra(asked) + (_descriptor(source, part, kind, shown) if part else [])
            called = os.path.join(shown, part) if part else shown
            digest = tree.normalise(os.path.join(source, part) if part else source, new, extra=extra, shown=called)
            found = _describe(source, new, digest, kind, shown)
            if not found.descriptor.is_composite:
                check_programs(new, shown=called, kind=kind)
            path = os.path.join(self._directory, "trees", digest)
            self._publish(new, path)
        except BaseException:
            self._discard(f"new/{os.path.basename(new)}")
            raise
        return msgspec.structs.replace(found, path=path)

    def _select(self, buildpacks: list[StagedBuildpack], root: str) -> None:
        new = self._new()
        make_directory(new)
        try:
            for buildpack in buildpacks:
                self._show(buildpack, new)
            write_atomic(root + ".table", tree.table(new))
            self._publish(new, root)
        except BaseException:
            self._discard(f"new/{os.path.basename(new)}")
            raise

    def _show(self, buildpack: StagedBuildpack, new: str) -> None:
        """Show one tree in a selection; a tree that is not what its name says is made again first (STO-13)."""
        name = buildpack.digest.removeprefix("sha256:")
        if tree.digest(buildpack.path) != name:
            self._discard(f"trees/{name}")
            shown = readable(buildpack.source)
            part = platforms.folder(buildpack.source, self._platform, shown=shown)
            if self._copy(buildpack.source, part, buildpack.kind, shown).digest != buildpack.digest:
                raise StoreError(
                    f"{readable(buildpack.source)} changed while it was read",
                    slug="buildpack-changed",
                    tries=("run the same command again",),
                )
        place = os.path.join(new, BuildpackId(buildpack.id).escaped)
        make_directory(place)
        _link_tree(buildpack.path, os.path.join(place, buildpack.version))

    def _extra(self, asked: Wanted) -> list[tree.Extra]:
        files = [tree.Extra(path, data) for path, data in self._vendored.files(asked).items()]
        programs = [tree.Extra(path, data, 0o755) for path, data in self._vendored.programs(asked).items()]
        return files + programs

    def _new(self) -> str:
        return os.path.join(self._directory, "new", temporary("tree"))

    def _publish(self, new: str, path: str) -> None:
        """Move a finished tree into place; where another build was first, its equal tree stays."""
        try:
            os.rename(new, path)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise disk_error(error, path) from error
            self._discard(f"new/{os.path.basename(new)}")

    def _discard(self, rel: str) -> None:
        with Root.open(self._directory) as root:
            root.remove(rel)

    def _sweep(self) -> None:
        """Remove what killed builds left in `new`."""
        limit = time.time() - _ABANDONED_AFTER
        for name in _names(os.path.join(self._directory, "new")):
            if _older(os.path.join(self._directory, "new", name), limit):
                self._discard(f"new/{name}")


def _describe(source: str, path: str, digest: str, kind: Kind, shown: str) -> StagedBuildpack:
    descriptor = read_descriptor(path, shown=shown, kind=kind)
    identity = descriptor.buildpack.id
    return StagedBuildpack(
        id=identity,
        version=descriptor.buildpack.version,
        digest=f"sha256:{digest}",
        path=path,
        source=source,
        descriptor=descriptor,
        short=identity.rpartition("/")[2],
        sdk=wanted(descriptor).sdk,
        kind=kind,
        shown=shown,
    )


def _descriptor(source: str, part: str, kind: Kind, shown: str) -> list[tree.Extra]:
    """The descriptor of a source for several platforms, which is beside their directories and not in them."""
    name = f"{kind}.toml"
    if os.path.lexists(os.path.join(source, part, name)):
        raise UsageError(
            f"{shown} has a second {name} in {part}",
            slug="buildpack-target",
            cause="the one at its top is for all platforms",
            at=os.path.join(shown, part, name),
            tries=("remove it",),
        )
    try:
        with open(os.path.join(source, name), "rb") as file:
            return [tree.Extra(name, file.read())]
    except OSError as error:
        raise disk_error(error, os.path.join(shown, name)) from error


def _scan(source: str) -> bytes:
    try:
        return fingerprint.scan(source)
    except OSError as error:
        raise disk_error(error, source) from error


def _recorded(path: str) -> list[str] | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = file.read().split()
    except OSError:
        # Without its record a source is only staged again.
        return None
    return fields if len(fields) == 3 else None


def _intact(root: str) -> bool:
    try:
        with open(root + ".table", "rb") as file:
            return file.read() == tree.table(root)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, root) from error


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _older(path: str, limit: float) -> bool:
    try:
        return os.lstat(path).st_mtime < limit
    except FileNotFoundError:
        return False


def _only_here(root: str) -> int:
    """The bytes of a file, or below a directory, that no other tree shares."""
    if not os.path.isdir(root):
        return os.lstat(root).st_size
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                st = os.lstat(os.path.join(directory, name))
                total += st.st_size if st.st_nlink == 1 else 0
    return total


def _link_tree(source: str, target: str) -> None:
    make_directory(target)
    try:
        with os.scandir(source) as found:
            for entry in found:
                place = os.path.join(target, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    _link_tree(entry.path, place)
                else:
                    os.link(entry.path, place, follow_symlinks=False)
    except OSError as error:
        raise disk_error(error, target) from error
