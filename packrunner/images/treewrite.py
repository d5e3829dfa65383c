"""Writing a hostile archive's entries into a tree: descriptor by descriptor, never through a link of the kernel's.

Every entry is made new under a name that was free or was freed, so nothing is ever written, linked to or given a mode
through what was there before (ARC-03 to ARC-12). A parent that is a link is read and resolved inside the tree, one
component at a time; directories keep mode 0700 until the end, when theirs are set by descriptor, deepest first.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from packrunner import confined, fingerprint
from packrunner.errors import StoreError, UnsafeArchiveError
from packrunner.images.tarread import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

OPAQUE = "user.overlay.opaque"
"""What marks a directory that hides all below it: bubblewrap mounts with `userxattr`, as root too."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})

Parts = list[bytes]


class Attributes(NamedTuple):
    """An entry's mode, owner (None: whoever unpacks) and time in nanoseconds (None: now)."""

    mode: int
    owner: tuple[int, int] | None
    mtime: int | None


class TreeWriter:
    """Writes below the directory `path`; a context manager. Paths are lists of plain components.

    `overlay`: what a whiteout hides is marked as the overlay file system does, else only removed. `strict`: a parent
    that is a link is refused. Raises UnsafeArchiveError, slug `unsafe-archive`, StoreError `overlay-marks`; OSError.
    """

    def __init__(self, path: str, what: str, *, overlay: bool, strict: bool) -> None:
        self.owner: tuple[int, int] | None = None
        """Whose directories are that the archive does not list."""
        self._what = what
        self._overlay = overlay
        self._strict = strict
        self._fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._parts: Parts = []
        self._late: dict[bytes, Attributes] = {}
        self._marked: set[bytes] = set()
        # What this archive brought; not needed where there was nothing before it that a whiteout could hide.
        self._own: set[bytes] | None = set() if os.listdir(self._fds[0]) else None
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def enter(self, parts: Parts, *, create: bool = True, replace: bool = True) -> int:
        """The descriptor of a directory, which is also where the writer then is.

        Raises FileNotFoundError without `create` where nothing is, without `replace` where a file is.
        """
        if parts == self._parts:
            return self._fds[-1]
        todo = list(reversed(parts[self._share(parts) :]))
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":  # of a link; its own parents are real directories by now
                self._leave(max(0, len(self._parts) - 1))
                continue
            if part in {b"", b"."}:
                continue
            target = self._step(part, create=create, replace=replace)
            if target is None:
                continue
            links += 1
            if self._strict or links > _MAX_LINKS:
                self.refuse(b"/".join(parts), "the path to it leads through a link")
            if target.startswith(b"/"):
                self._leave(0)
            todo += reversed(target.split(b"/"))
        return self._fds[-1]

    def directory(self, parts: Parts, attributes: Attributes) -> None:
        """Make a directory, or keep the one that is there; its attributes are set at the end."""
        if not parts:
            self._late[b""] = attributes
            return
        parent = self.enter(parts[:-1])
        leaf, path = parts[-1], self._here(parts[-1])
        self._check_depth(leaf)
        try:
            os.mkdir(leaf, 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.lstat(leaf, dir_fd=parent).st_mode
            if not stat.S_ISDIR(found):
                self._over(parent, leaf)
            elif found & 0o700 != 0o700:
                self._unlock(parent, leaf)
        self._late[path] = attributes
        self._brought(path)

    def file(self, parts: Parts, attributes: Attributes, content: Callable[[], memoryview]) -> None:
        """Write a regular file; `content` gives its bytes until it gives none."""
        parent = self.enter(parts[:-1])
        leaf = parts[-1]
        try:
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._remove(parent, leaf)
            fd = os.open(leaf, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            while view := content():
                done = os.write(fd, view)
                while done < len(view):
                    done += os.write(fd, view[done:])
            if attributes.owner:
                os.fchown(fd, *attributes.owner)  # before the mode, from which it takes the set-id bits
            os.fchmod(fd, attributes.mode)
            if attributes.mtime is not None:
                os.utime(fd, ns=(attributes.mtime, attributes.mtime))
        finally:
            os.close(fd)
        if self._own is not None:
            self._brought(self._here(leaf))

    def link(self, parts: Parts, attributes: Attributes, target: bytes) -> None:
        """Make a symbolic link, which is stored as it is: where it leads is no matter of this tree's (ARC-05)."""
        parent = self.enter(parts[:-1])
        leaf = parts[-1]
        try:
            os.symlink(target, leaf, dir_fd=parent)
        except FileExistsError:
            self._remove(parent, leaf)
            os.symlink(target, leaf, dir_fd=parent)
        if attributes.owner:
            os.chown(leaf, *attributes.owner, dir_fd=parent, follow_symlinks=False)
        if attributes.mtime is not None:
            os.utime(leaf, ns=(attributes.mtime, attributes.mtime), dir_fd=parent, follow_symlinks=False)
        self._brought(self._here(leaf))

    def hard_link(self, parts: Parts, target: Parts) -> None:
        """Give a file or link of the tree another name. Its attributes are those of its first name (ARC-07 to -09)."""
        directory, found = self._find(target)
        if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            os.close(directory)
            self.refuse(b"/".join(parts), f"it is linked to {shown(b'/'.join(target))}, which is no earlier file")
        try:
            parent = self.enter(parts[:-1])
            leaf = parts[-1]
            if self._still(parent, leaf, found):
                return
            with suppress(FileNotFoundError):
                self._remove(parent, leaf)
            if not self._still(directory, target[-1], found):
                self.refuse(b"/".join(parts), "it takes the place of the file it is linked to, or of its directory")
            os.link(target[-1], leaf, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
            self._brought(self._here(leaf))
        finally:
            os.close(directory)

    def whiteout(self, parts: Parts) -> None:
        """Hide what earlier archives have at a path; what this one brings there stays, in whatever order (ARC-16)."""
        try:
            parent = self.enter(parts[:-1], create=self._overlay, replace=False)
        except FileNotFoundError:
            return  # what hides nothing makes nothing
        leaf, path = parts[-1], self._here(parts[-1])
        try:
            found = os.lstat(leaf, dir_fd=parent).st_mode
        except FileNotFoundError:
            found = None
        if found is not None and self._own is not None and path not in self._own:
            self._remove(parent, leaf)
            found = None
        if found is None and self._overlay:
            self._mark(path, lambda: os.mknod(leaf, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent))
            self._brought(path)
        elif found is not None and stat.S_ISDIR(found):
            self.opaque(parts)

    def opaque(self, parts: Parts) -> None:
        """Hide all that earlier archives have in a directory."""
        try:
            fd = self.enter(parts, create=self._overlay, replace=False)
        except FileNotFoundError:
            return
        path = b"/".join(self._parts)
        if path in self._marked:
            return
        self._marked.add(path)
        if self._own is not None:
            self._prune(list(self._parts), self._own)
            fd = self._fds[-1]
        if self._overlay:
            self._mark(path, lambda: os.setxattr(fd, OPAQUE, b"y"))

    def finish(self) -> None:
        """Give directories their attributes, deepest first, so that none that is closed hides another one (ARC-41)."""
        for path in sorted(self._late, key=lambda path: path.split(b"/"), reverse=True):
            mode, owner, mtime = self._late[path]
            try:
                fd = self._reach(path.split(b"/") if path else [])
            except OSError as error:
                if error.errno not in _NOT_A_DIRECTORY | {errno.ENOENT}:
                    raise
                continue  # it was replaced by something else, and nothing follows that (ARC-11)
            if owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            if mtime is not None:
                os.utime(fd, ns=(mtime, mtime))

    def refuse(self, path: bytes, why: str) -> NoReturn:
        """Raise the error for an entry that must not be unpacked."""
        raise UnsafeArchiveError(
            f"{self._what} holds {shown(path) or 'an entry without a name'}, which is not unpacked",
            slug="unsafe-archive",
            cause=why,
        )

    def _here(self, leaf: bytes) -> bytes:
        return b"/".join([*self._parts, leaf])

    def _brought(self, path: bytes) -> None:
        if self._own is not None:
            self._own.add(path)

    def _share(self, parts: Parts) -> int:
        """Go up to the directory that is on the way to `parts`; gives its depth."""
        same = 0
        for one, other in zip(parts, self._parts, strict=False):
            if one != other:
                break
            same += 1
        self._leave(same)
        return same

    def _leave(self, depth: int) -> None:
        while len(self._parts) > depth:
            self._parts.pop()
            os.close(self._fds.pop())

    def _step(self, part: bytes, *, create: bool, replace: bool) -> bytes | None:
        """Go into one directory, made if need be; the target of a link where there is one instead."""
        parent = self._fds[-1]
        self._check_depth(part)
        try:
            fd = self._open(parent, part)
        except OSError as error:
            if error.errno == errno.ENOENT and not create:
                raise
            if error.errno not in _NOT_A_DIRECTORY | {errno.ENOENT}:
                raise
            if error.errno != errno.ENOENT:
                if stat.S_ISLNK(os.lstat(part, dir_fd=parent).st_mode):
                    return os.readlink(part, dir_fd=parent)
                if not replace:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
                self._over(parent, part)
            else:
                os.mkdir(part, 0o700, dir_fd=parent)
            self._late[self._here(part)] = Attributes(0o755, self.owner, None)
            fd = self._open(parent, part)
        self._fds.append(fd)
        self._parts.append(part)
        if self._own is not None and create:
            self._own.add(b"/".join(self._parts))
        return None

    def _check_depth(self, part: bytes) -> None:
        """Each level holds a descriptor, here and in whatever reads the tree later (ARC-32)."""
        if len(self._parts) >= fingerprint.DEEPEST:
            raise fingerprint.too_deep(os.fsdecode(self._here(part)))

    def _open(self, parent: int, part: bytes) -> int:
        if self._own is not None:
            with suppress(FileNotFoundError):
                found = os.lstat(part, dir_fd=parent).st_mode
                if stat.S_ISDIR(found) and found & 0o700 != 0o700:
                    self._unlock(parent, part)
        return os.open(part, _DIRECTORY, dir_fd=parent)

    def _unlock(self, parent: int, leaf: bytes) -> None:
        """Make a directory that was there before us usable; it gets its mode back at the end."""
        fd = os.open(leaf, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            self._late.setdefault(self._here(leaf), Attributes(mode, None, None))
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
        finally:
            os.close(fd)

    def _over(self, parent: int, leaf: bytes) -> None:
        """Make a directory where something else is. Unlike one that was free, it hides a directory below (ARC-12)."""
        self._remove(parent, leaf)
        os.mkdir(leaf, 0o700, dir_fd=parent)
        if self._overlay:
            fd = os.open(leaf, _DIRECTORY, dir_fd=parent)
            try:
                self._mark(self._here(leaf), lambda: os.setxattr(fd, OPAQUE, b"y"))
            finally:
                os.close(fd)

    def _remove(self, parent: int, leaf: bytes) -> None:
        """Free a name in the directory we are in."""
        if not stat.S_ISDIR(os.lstat(leaf, dir_fd=parent).st_mode):
            os.unlink(leaf, dir_fd=parent)
            return
        path = self._here(leaf)
        self._late.pop(path, None)
        self._marked.discard(path)
        with confined.Root(self._path, os.dup(parent)) as root:
            root.remove(os.fsdecode(leaf))

    def _prune(self, top: Parts, own: set[bytes]) -> None:
        """Remove what this archive did not bring, and end up in `top` again."""
        pending = [top]
        while pending:
            parts = pending.pop()
            fd = self.enter(parts)
            for name in map(os.fsencode, os.listdir(fd)):
                if self._here(name) not in own:
                    self._remove(fd, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                    pending.append([*parts, name])
        self.enter(top)

    def _find(self, target: Parts) -> tuple[int, os.stat_result | None]:
        """An earlier entry, not looked for through links: a descriptor of its directory, to be closed, and its stat."""
        try:
            directory = os.dup(self._reach(target[:-1]))
        except OSError as error:
            if error.errno not in _NOT_A_DIRECTORY | {errno.ENOENT}:
                raise
            return os.dup(self._fds[0]), None
        try:
            return directory, os.lstat(target[-1], dir_fd=directory)
        except FileNotFoundError:
            return directory, None
        except BaseException:
            os.close(directory)
            raise

    def _reach(self, parts: Parts) -> int:
        """Go to a directory that is there; links and other things on the way are an OSError."""
        for part in parts[self._share(parts) :]:
            self._fds.append(os.open(part, _DIRECTORY, dir_fd=self._fds[-1]))
            self._parts.append(part)
        return self._fds[-1]

    @staticmethod
    def _still(directory: int, leaf: bytes, found: os.stat_result) -> bool:
        try:
            now = os.lstat(leaf, dir_fd=directory)
        except FileNotFoundError:
            return False
        # A directory made in a file's place may get the file's inode.
        return os.path.samestat(now, found) and stat.S_IFMT(now.st_mode) == stat.S_IFMT(found.st_mode)

    def _mark(self, path: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
                raise
            raise StoreError(
                f"{self._what} hides {shown(path)} of the layers below it, which cannot be marked here",
                slug="overlay-marks",
                cause=f"{os.strerror(error.errno)}: this file system or kernel keeps no marks of overlays",
                at=self._path,
                tries=("put packrunner's data on a local disk, with PACKRUNNER_HOME",),
            ) from error
