"""From a saved file to what a browser would see, while `packrunner dev` runs: the sample, edited again and again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from benchmarks.timing import Timing
from benchmarks.trees import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE = 120.0
_STEP = 0.005


def copied(scratch: str) -> str:
    """The sample, where it can be edited."""
    place = os.path.join(scratch, "edited")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(os.path.join(REPOSITORY, "samples", "flask"), place)
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


def edits(address: str, path: str, old: str, new: str, runs: int) -> Timing:
    """Put a mark (`{}` of `new`) into a file, and wait until the page has it: seconds from save to seen."""
    spent: list[float] = []
    with open(path, encoding="utf-8") as file:
        original = file.read()
    for run in range(runs):
        mark = f"saved-{run}"
        _save(path, original.replace(old, new.format(mark)))
        began = time.monotonic()
        _await(address, mark)
        spent.append(time.monotonic() - began)
        time.sleep(0.3)
    _save(path, original)
    return Timing(seconds=tuple(spent), peak=0)


def _save(path: str, text: str) -> None:
    """As editors do: beside, then renamed over."""
    with open(f"{path}~", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}~", path)


def _await(address: str, text: str) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(address, timeout=5) as answer,
        ):
            if text in answer.read().decode():
                return
        time.sleep(_STEP)
    raise SystemExit(f"{text} was never seen at {address}")
