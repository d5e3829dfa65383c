"""From a saved file to what a browser would see, while `packrunner dev` runs: applications, edited again and again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.timing import Timing
from benchmarks.trees import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE = 120.0
_STEP = 0.005


SERVER = """
import http.server, os
TEXT = "Hello"
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((TEXT + open("page.txt").read()).encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A kind of change: `new` has a place for a mark."""

    what: str
    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application to edit, and how `dev` is called for it."""

    name: str
    edits: tuple[Edit, ...]
    flags: tuple[str, ...] = ()


APPS = (
    App(
        name="flask",
        edits=(
            Edit(what="code", file="app.py", old='"Hello"', new='"Hello {}"'),
            Edit(what="template", file="templates/index.html", old="</h1>", new=" {}</h1>"),
        ),
    ),
    App(
        name="procfile",
        flags=("-b", "procfile"),
        edits=(
            Edit(what="code", file="server.py", old='"Hello"', new='"Hello {}"'),
            Edit(what="text", file="page.txt", old="page", new="page {}"),
        ),
    ),
    App(
        name="go",
        edits=(
            Edit(what="code, compiled", file="main.go", old='"Hello"', new='"Hello {}"'),
            Edit(what="style sheet", file="static/style.css", old="body", new="/* {} */ body"),
        ),
    ),
)
ADDRESSES = {"static/style.css": "/static/style.css"}


def copied(scratch: str, app: App) -> str:
    """The application, where it can be edited; beside the Go sample its buildpack, which it names."""
    place = os.path.join(scratch, "edited", app.name)
    shutil.rmtree(place, ignore_errors=True)
    if app.name == "procfile":
        os.makedirs(place)
        for name, text in (("server.py", SERVER), ("page.txt", "page"), ("Procfile", "web: python3 server.py\n")):
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(text)
        return place
    samples = os.path.join(REPOSITORY, "samples")
    shutil.copytree(os.path.join(samples, app.name), place)
    if app.name == "go":
        beside = os.path.join(os.path.dirname(place), "go-buildpack")
        shutil.copytree(os.path.join(samples, "go-buildpack"), beside, dirs_exist_ok=True)
    return place


@contextlib.contextmanager
def running(packrunner: str, place: str, env: Mapping[str, str], *more: str) -> Iterator[str]:
    """`packrunner dev` in a directory, from when it is ready; where its process `web` is found."""
    child = subprocess.Popen(
        [packrunner, "dev", "--progress", "json", *more],
        cwd=place,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert child.stderr
    try:
        address = _ready(child)
        # What it goes on to say has to go somewhere.
        threading.Thread(target=child.stderr.read, daemon=True).start()
        yield address
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def _ready(child: subprocess.Popen[bytes]) -> str:
    assert child.stderr
    said: list[str] = []
    for line in child.stderr:
        said.append(line.decode(errors="replace"))
        event = _event(line)
        if event.get("event") == "ready":
            return str(dict(event["places"])["web"])
    raise SystemExit(f"packrunner dev ended:\n{''.join(said[-20:])}")


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def edits(address: str, place: str, edit: Edit, runs: int) -> Timing:
    """Put a mark into a file, and wait until the page has it: seconds from save to seen."""
    spent: list[float] = []
    path, page = os.path.join(place, edit.file), address + ADDRESSES.get(edit.file, "")
    with open(path, encoding="utf-8") as file:
        original = file.read()
    for run in range(runs + 1):
        mark = f"saved-{run}"
        _save(path, original.replace(edit.old, edit.new.format(mark), 1))
        began = time.monotonic()
        _await(page, mark)
        spent.append(time.monotonic() - began)
        time.sleep(0.3)
    _save(path, original)
    # The first compilation has no cache yet.
    return Timing(seconds=tuple(spent[1:]), peak=0)


def _save(path: str, text: str) -> None:
    """As editors do: beside, then renamed over."""
    with open(f"{path}~", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}~", path)


def _await(address: str, text: str) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(address, timeout=5) as answer,
        ):
            if text in answer.read().decode():
                return
        time.sleep(_STEP)
    raise SystemExit(f"{text} was never seen at {address}")
