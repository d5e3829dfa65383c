"""A watcher at work on one tree, and a stand-in for the other side: a second tree that is to become equal."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import packrunner
from packrunner.dev import attachment
from packrunner.dev.ignored import Ignored
from packrunner.dev.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from packrunner.dev.changes import Batch, Change
    from packrunner.dev.parcel import Parcel
    from packrunner.dev.tree import Entry
    from packrunner.events import Warned

PATIENCE = 60.0


class Receiver:
    """Does with a directory what the reloader does with the application's."""

    def __init__(self, root: str) -> None:
        self.root = root

    def take(self, parcel: Parcel) -> None:
        """Make the changes, with the bytes that follow them."""
        data = memoryview(b"".join(parcel.pieces()))
        for change in parcel.changes:
            size = change.size if change.kind == "file" else 0
            self._make(change, data[:size])
            data = data[size:]
        assert not data

    def _make(self, change: Change, data: memoryview) -> None:
        path = os.path.join(self.root, change.path)
        there = os.lstat(path).st_mode if os.path.lexists(path) else 0
        if stat.S_ISDIR(there) and change.kind != "dir":
            shutil.rmtree(path)
        elif there and (change.kind == "gone" or not stat.S_ISDIR(there)):
            os.unlink(path)
        if change.kind == "gone":
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if change.kind == "link":
            os.symlink(change.target, path)
            return
        if change.kind == "dir":
            os.makedirs(path, exist_ok=True)
        else:
            with open(path, "wb") as file:
                file.write(data)
        os.chmod(path, change.mode)


class Following:
    """A context manager: a thread takes each batch of the watcher and gives it to the other side."""

    def __init__(
        self,
        source: str,
        target: str,
        *,
        ignored: Ignored | None = None,
        poll: float | None = None,
        take: Callable[[Parcel], None] | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.said: list[Warned] = []
        self.batches: list[Batch] = []
        self.watcher = Watcher(source, ignored or Ignored(source), notice=self.said.append, poll=poll)
        self.failure: BaseException | None = None
        self._take = take or Receiver(target).take
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow)
        self._marks = 0

    def __enter__(self) -> Self:
        self.watcher.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.close()
        self._thread.join(PATIENCE)
        self.watcher.__exit__(None, None, None)

    def settle(self) -> None:
        """Wait until all that happened before is on the other side: what is named last arrives last."""
        self._marks += 1
        mark = f".last-{self._marks}"
        os.symlink("x", os.path.join(self.source, mark))
        self.wait_for(lambda: any(c.path == mark for batch in self.batches for c in batch.changes))

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Wait until something holds after one of the batches."""
        with self._news:
            assert self._news.wait_for(lambda: done() or self.failure is not None, PATIENCE)
        if self.failure:
            raise self.failure

    def sent(self, path: str) -> list[Change]:
        """The changes of one path, in their order."""
        return [change for batch in self.batches for change in batch.changes if change.path == path]

    def _follow(self) -> None:
        try:
            for batch in self.watcher.batches():
                self._take(self.watcher.tree.parcel(batch.changes))
                with self._news:
                    self.batches.append(batch)
                    self._news.notify_all()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test's own thread raises it
            with self._news:
                self.failure = error
                self._news.notify_all()


def listing(root: str, *, without: Iterable[str] = ()) -> dict[str, str]:
    """A tree as path -> what is there, so that two can be compared; devices, sockets and FIFOs are no part of it."""
    found: dict[str, str] = {}
    left_out = set(without)
    pending = [""]
    while pending:
        base = pending.pop()
        for entry in os.scandir(os.path.join(root, base)):
            path = f"{base}/{entry.name}" if base else entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if path in left_out:
                continue
            if entry.is_symlink():
                found[path] = "-> " + os.readlink(entry.path)
            elif entry.is_dir():
                found[path] = f"dir {mode & 0o777:o}"
                pending.append(path)
            elif entry.is_file():
                with open(entry.path, "rb") as file:
                    found[path] = f"file {mode & 0o777:o} {hashlib.sha256(file.read()).hexdigest()}"
    return found


class Reloader:
    """The reloader itself as the other side, asked by the lines that `packrunner dev` uses; a context manager."""

    def __init__(self, root: str, scratch: str) -> None:
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        program = os.path.join(os.path.dirname(packrunner.__file__), "_bin", f"linux-{machine}", "reloader")
        # Its rules are found beside its directory: there are none.
        own = os.path.join(scratch, "layer", "bin", "reloader")
        os.makedirs(os.path.dirname(own))
        shutil.copy2(program, own)
        self._process = subprocess.Popen(
            [own, "attach"],
            env={"CNB_APP_DIR": root, "PACKRUNNER_RELOADER_DIR": scratch},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = attachment.Reader()
        self._number = 0
        self.failed: list[attachment.Refused] = []

    def take(self, parcel: Parcel) -> None:
        """Send the parcel, and wait until it says that all is done."""
        assert self._process.stdin
        self._number += 1
        self._process.stdin.write(attachment.changes(self._number, parcel.changes))
        for piece in parcel.pieces():
            self._process.stdin.write(piece)
        self._process.stdin.flush()
        for event in self._events():
            if isinstance(event, attachment.Copied):
                self.failed += event.failed
            assert not isinstance(event, attachment.Failed), event
            if isinstance(event, attachment.Done):
                return

    def manifest(self) -> list[Entry]:
        """What it says that there is."""
        assert self._process.stdin
        self._number += 1
        self._process.stdin.write(attachment.manifest(self._number))
        self._process.stdin.flush()
        found: list[Entry] = []
        for event in self._events():
            if isinstance(event, attachment.Manifest):
                found += event.files
                if event.end:
                    break
        return found

    def _events(self) -> Iterator[attachment.Event]:
        assert self._process.stdout
        for line in self._process.stdout:
            yield from self._reader.feed(line)
        raise AssertionError("the reloader ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()
