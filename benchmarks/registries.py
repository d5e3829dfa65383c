"""A registry on loopback, for pushes: Debian's docker-registry, empty whenever that is wanted."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalRegistry:
    """A registry at `host`, its images below `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"

    def clear(self, *caches: str) -> None:
        """Forget all images, and what else may save somebody work."""
        for path in (os.path.join(self._root, "data"), *caches):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def running(self) -> Iterator[LocalRegistry]:
        """It runs inside of the context."""
        os.makedirs(self._root)
        config = os.path.join(self._root, "config.json")
        with open(config, "w") as file:
            json.dump(
                {
                    "version": "0.1",
                    "log": {"level": "error", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": os.path.join(self._root, "data")}},
                    "http": {"addr": self.host, "secret": "of-benchmarks"},
                },
                file,
            )
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(["docker-registry", "serve", config], stdout=quiet, stderr=quiet)
        try:
            for _ in range(100):
                host, _, port = self.host.rpartition(":")
                with suppress(OSError), socket.create_connection((host, int(port)), 1):
                    break
                time.sleep(0.05)
            yield self
        finally:
            child.terminate()
            child.wait()
