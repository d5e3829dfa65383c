"""The watcher: what happens to the application's files, as batches of changes that the other side has not got yet.

    with Watcher(source, Ignored(source), notice=report) as watcher:    watches, and takes what is there as known
        mark = watcher.tree.mark()                                      before a build reads the source
        for batch in watcher.batches():                                 blocks; no CPU at rest
            parcel = watcher.tree.parcel(batch.changes)                 what to send, with its bytes (tree.py has more)
    watcher.touch("a.py")       from any thread: look at this again (at everything, without a path)
    watcher.follow(rules)       from any thread: the sync rules are these; directories that they ignore are let go
    watcher.close()             from any thread: `batches` ends

Directories that are ignored are not watched. Where the kernel lost events everything is looked at again (LIV-06);
where it cannot watch, the tree is walked again and again (LIV-08).
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from packrunner.dev import inotify
from packrunner.dev.changes import Batch
from packrunner.dev.inotify import Inotify
from packrunner.dev.news import News
from packrunner.dev.polling import Polling, limit_reached, remote
from packrunner.dev.source import Cursor
from packrunner.dev.tree import Tree
from packrunner.dev.watches import Watches
from packrunner.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from packrunner.dev.changes import Change
    from packrunner.dev.seams import Ignored
    from packrunner.events import Warned
    from packrunner.formats.sync import Rule

_NEW = inotify.CREATE | inotify.MOVED_TO
_GONE = inotify.DELETE | inotify.MOVED_FROM
_ITSELF = inotify.DELETE_SELF | inotify.MOVE_SELF
_RETURN = 2.0
_STEP = 0.02
"""The kernel's queue is not to fill meanwhile."""


class Watcher:
    """Watches one tree; a context manager. `poll` (seconds) walks it instead, as is done where events cannot be had.

    Raises StoreError: `source-gone` from `batches` when the tree is gone for good.
    """

    def __init__(
        self, root: str, ignored: Ignored, *, notice: Callable[[Warned], None], poll: float | None = None
    ) -> None:
        self.root = os.path.realpath(root)
        self.tree = Tree(self.root, ignored, notice=notice)
        self._ignored = ignored
        self._notice = notice
        self._news = News()
        self._asked: deque[str] = deque()
        self._rules: deque[Sequence[Rule]] = deque()
        self._followed: Sequence[Rule] | None = None
        self._closed = False
        self._wake = (-1, -1)
        self._inotify: Inotify | None = None
        self._watches: Watches | None = None
        self._polling = Polling(poll) if poll else None
        self._device = 0

    def __enter__(self) -> Self:
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._device = os.stat(self.root).st_dev
            if not self._polling:
                self._start()
            self.tree.look({"": True}, self._watches, adopt=True)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._release()

    @property
    def watched(self) -> int:
        """How many directories the kernel watches."""
        return self._watches.count if self._watches else 0

    @property
    def polling(self) -> bool:
        """Whether the tree is walked again and again."""
        return self._polling is not None

    def touch(self, *paths: str) -> None:
        """Look at these paths again; without any, at everything."""
        self._asked.extend(paths or ("",))
        self._ring()

    def follow(self, rules: Sequence[Rule]) -> None:
        """Watch no more what these rules ignore, and again what others ignored."""
        if self._followed != (wanted := tuple(rules)):
            self._followed = wanted
            self._rules.append(wanted)
            self._ring()

    def close(self) -> None:
        """End `batches`, in whatever thread it waits."""
        self._closed = True
        self._ring()

    def batches(self) -> Iterator[Batch]:
        """Wait for changes and look at them; until `close`."""
        while self._await():
            paths, seen = self._news.take(time.monotonic())
            if changes := self._look(paths):
                yield Batch(changes=changes, seen=seen)

    def _await(self) -> bool:
        """Wait until something is due; false once closed."""
        while not self._closed:
            due = self._due()
            if due is not None and due <= time.monotonic():
                self._hear()
                if (self._due() or due) <= time.monotonic():
                    return True
            else:
                self._sleep(due)
                self._hear()
        return False

    def _sleep(self, due: float | None) -> None:
        """Until an event, or until something is due. While a batch gathers, events wait in the kernel for a moment."""
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        left = None if due is None else max(due - time.monotonic(), 0.0005)
        if self._news.gathering and left:
            left = min(left, _STEP)
        elif self._inotify:
            poll.register(self._inotify.fd, select.POLLIN)
        poll.poll(None if left is None else left * 1000)

    def _due(self) -> float | None:
        times = [self._news.due(), self._polling.due if self._polling else None]
        return min((one for one in times if one is not None), default=None)

    def _hear(self) -> None:
        """Take in what was asked for and what the kernel tells."""
        now = time.monotonic()
        with suppress(BlockingIOError):  # until it is empty
            while os.read(self._wake[0], 4096):
                pass
        while self._rules:
            self._ignored.follow(self._rules.popleft())
            self._news.add("", now, deep=True)
        while self._asked:
            path = self._asked.popleft()
            self._news.add(path, now, deep=not path)
        if self._inotify:
            for number, mask, name in self._inotify.read():
                self._event(number, mask, name, now)
        if self._polling and self._polling.due <= now:
            self._news.add("", now, deep=True)

    def _event(self, number: int, mask: int, name: str, now: float) -> None:
        assert self._watches
        if mask & inotify.OVERFLOW:
            self._news.add("", now, deep=True)
            return
        for directory in self._watches.paths(number):
            if mask & (_ITSELF | inotify.UNMOUNT):
                self._itself(directory, mask, now)
            elif mask & inotify.IGNORED:
                pass
            elif not name:
                if directory:
                    self._news.add(directory, now)
            else:
                self._inside(f"{directory}/{name}" if directory else name, mask, now)
        if mask & inotify.IGNORED:
            self._watches.ended(number)

    def _itself(self, directory: str, mask: int, now: float) -> None:
        """The directory of a watch is gone from where it was; its parent tells that too, but the root has none."""
        if not directory:
            self._news.add("", now, deep=True)
        elif mask & inotify.UNMOUNT:
            self._news.add(directory, now, deep=True)

    def _inside(self, path: str, mask: int, now: float) -> None:
        if mask & inotify.IS_DIR:
            if mask & _GONE and self._watches:
                self._watches.leave(path)
            if mask & _NEW and self._watches:
                self._grow(path, self._watches)
                self._news.add(path, now, deep=True)
            elif mask & _GONE:
                self._news.gone(path, now)
            else:
                self._news.add(path, now)
        elif mask & inotify.MODIFY or (mask & inotify.CREATE and self._being_written(path, now)):
            self._news.writing(path, now)
        elif mask & _GONE and self.tree.knows(path):
            self._news.gone(path, now)
        else:
            self._news.add(path, now)

    def _being_written(self, path: str, now: float) -> bool:
        """Whether a new name is a file that somebody is likely to write to: no link of any kind."""
        try:
            found = os.lstat(os.path.join(self.root, path))
        except OSError:
            return False
        if found.st_nlink > 1:
            # The file may be written to by this name, and the name be gone again, before anybody looks.
            for name in self.tree.names(found.st_ino):
                self._news.add(name, now)
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1

    def _grow(self, path: str, watches: Watches) -> None:
        """Watch a new directory and those in it at once, so that a copy of a tree is heard to its end (LIV-03)."""
        try:
            cursor = Cursor(self.root)
        except OSError:
            return
        with cursor:
            pending = [path]
            while pending:
                here = pending.pop()
                if self._ignored.below(here):
                    continue
                try:
                    fd = cursor.at(here)
                    watches.enter(here, fd)
                    with os.scandir(fd) as entries:
                        inner = [f"{here}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]
                except OSError:
                    # Looked at in a moment, where it is still there: then it is said.
                    continue
                pending += inner

    def _look(self, paths: dict[str, bool]) -> tuple[Change, ...]:
        began = time.monotonic()
        self._check_root()
        changes = self.tree.look(paths, self._watches)
        if self._polling and paths.get(""):
            self._polling.walked(began, time.monotonic())
        return changes

    def _check_root(self) -> None:
        """Wait a moment for a root that is gone: it may be made anew. What is mounted over it is not it."""
        until = time.monotonic() + _RETURN
        while not os.path.isdir(self.root) and not self._closed:
            if time.monotonic() > until:
                raise self._gone("it does not exist any more")
            time.sleep(0.05)
        if not self._closed and os.stat(self.root).st_dev != self._device:
            raise self._gone("another file system is in its place")

    def _gone(self, cause: str) -> StoreError:
        return StoreError(f"{self.root} cannot be watched any more", slug="source-gone", cause=cause)

    def _start(self) -> None:
        try:
            self._inotify = Inotify()
        except OSError as error:
            self._poll(limit_reached(error))
            return
        self._watches = Watches(self._inotify, lambda error: self._poll(limit_reached(error)))
        if warning := remote(self.root):
            self._poll(warning)

    def _poll(self, why: Warned) -> None:
        """Walk the tree from now on too; what is watched already goes on being told at once."""
        if not self._polling:
            self._polling = Polling()
            self._notice(why)

    def _ring(self) -> None:
        with suppress(BlockingIOError, OSError):
            os.write(self._wake[1], b"!")

    def _release(self) -> None:
        if self._inotify:
            self._inotify.close()
        for fd in self._wake:
            os.close(fd)
