"""`packrunner dev` as a process, with what it says as events, and a look into the application that runs."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import stat
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Cli

Event = dict[str, Any]
PATIENCE = 300.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Dev:
    """Runs in `app`; ended by Ctrl-C with the context, unless it has ended before."""

    def __init__(self, cli: Cli, app: Path, port: int, *args: str) -> None:
        self.app, self.port = app, port
        self.events: list[Event] = []
        self._news: queue.Queue[Event] = queue.Queue()
        self._process = cli.start("dev", "shop", "--port", str(port), "--progress", "json", *args, cwd=app)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it by a signal; its exit code."""
        self._process.send_signal(number)
        code = self._process.wait(60)
        self._reader.join(10)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
        return code

    def wait(self, wanted: Callable[[Event], bool], patience: float = PATIENCE) -> Event:
        """The next event that is wanted."""
        until = time.monotonic() + patience
        while True:
            try:
                event = self._news.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                pytest.fail("it never happened: " + "\n".join(json.dumps(event) for event in self.events[-40:]))
            if event["event"] == "gone":
                pytest.fail("it ended: " + "\n".join(json.dumps(event) for event in self.events[-40:]))
            if wanted(event):
                return event

    def ready(self) -> Event:
        """Wait until the application runs."""
        return self.wait(lambda event: event["event"] == "ready")

    def happened(self, *actions: str) -> Event:
        """Wait for a line of the transcript."""
        return self.wait(lambda event: event["event"] == "happened" and event["action"] in actions)

    def came_of(self, path: str, *actions: str) -> Event:
        """Wait for what came of a change of a file, which may be told together with others, or be in two lines."""
        return self.wait(
            lambda event: (
                event["event"] == "happened" and event["action"] in actions and path in event["subject"].split(", ")
            )
        )

    def page(self, path: str = "/") -> str:
        """What the application answers."""
        with _OPENER.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def shows(self, text: str, path: str = "/") -> None:
        """Wait until the application answers with a text."""
        for _ in range(600):
            try:
                if text in self.page(path):
                    return
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.05)
        pytest.fail(f"{text!r} was never shown: " + "\n".join(json.dumps(event) for event in self.events[-40:]))

    def converges(self) -> None:
        """Wait until the application's tree is the source's; what the application makes there itself is its own."""
        mine: dict[str, str] = {}
        theirs: dict[str, str] = {}
        for _ in range(200):
            mine = tree(self.app)
            theirs = tree(self.root() / "workspace")
            if mine.items() <= theirs.items() and not [p for p in theirs.keys() - mine.keys() if not own(p)]:
                return
            time.sleep(0.1)
        assert {p: t for p, t in theirs.items() if not own(p)} == mine

    def root(self) -> Path:
        """The root file system that the application sees."""
        for process in processes(self.port):
            return Path(f"/proc/{process}/root")
        pytest.fail("the application does not run")

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "no event", "text": line}
            self.events.append(event)
            self._news.put(event)
        self._news.put({"event": "gone"})


def processes(port: int) -> list[int]:
    """The supervisors of an application, by the port that they were given."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"PORT=%d" % port in variables and words[0].endswith(b"/reloader") and words[1:2] == [b"run"]:
            found.append(int(entry.name))
    return found


def own(path: str) -> bool:
    """What Python leaves in an application."""
    return "__pycache__" in path.split("/")


def tree(root: Path) -> dict[str, str]:
    """What is below a directory: kind, mode and content of each path."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            try:
                about = path.lstat()
                if stat.S_ISLNK(about.st_mode):
                    text = f"link {path.readlink()}"
                elif stat.S_ISDIR(about.st_mode):
                    text = "dir"
                else:
                    text = f"{stat.S_IMODE(about.st_mode):o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            except OSError:
                text = "gone"
            found[str(path.relative_to(root))] = text
    return found
