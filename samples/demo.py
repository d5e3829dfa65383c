"""`make demo`: build the Flask sample with the embedded engine, start it, fetch a page, say what happened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = os.path.join(os.path.dirname(sys.executable), "packrunner")


def main() -> int:
    """Run the demonstration; the exit status is 0 when the page was served."""
    build = [
        COMMAND,
        "build",
        "demo",
        "-p",
        os.path.join(HERE, "flask"),
        "--buildpack",
        "python",
        "-e",
        "BPE_GREETING=hello",
    ]
    first = timed("A first build: base image, buildpacks, export", build)
    second = timed("The same again: nothing has changed", build)
    third = timed("With the buildpacks run all the same: every layer is reused", [*build, "--rebuild"])
    say("Start it")
    port = free_port()
    shown = f"packrunner run demo -e PORT={port}"
    print(f"$ {shown}", flush=True)
    began = time.monotonic()
    app = subprocess.Popen([COMMAND, "run", "demo", "-e", f"PORT={port}"])
    try:
        page = fetch(f"http://127.0.0.1:{port}/", app)
        answered = time.monotonic() - began
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(timeout=30)
    print(f"\nGET / answered after {answered:.1f}s, {len(page)} bytes: {summary(page)}")
    print(f"First build {first:.1f}s, nothing changed {second * 1000:.0f}ms, rebuild {third * 1000:.0f}ms.")
    return 0


def timed(title: str, argv: list[str]) -> float:
    """Run a command in the open and return its seconds."""
    say(title)
    print("$ packrunner " + " ".join(os.path.relpath(a) if os.path.isabs(a) else a for a in argv[1:]), flush=True)
    began = time.monotonic()
    code = subprocess.run(argv, check=False).returncode
    if code:
        sys.exit(code)
    return time.monotonic() - began


def say(title: str) -> None:
    """A heading."""
    print(f"\n== {title}", flush=True)


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def fetch(url: str, app: subprocess.Popen[bytes]) -> str:
    """Ask until the application answers, for half a minute at most."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        if app.poll() is not None:
            raise SystemExit(f"the application ended with exit code {app.returncode}")
        try:
            with opener.open(url, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise SystemExit("the application did not answer within 30s")


def summary(page: str) -> str:
    """The page's heading."""
    return page.partition("<h1>")[2].partition("</h1>")[0].strip() or page.strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
