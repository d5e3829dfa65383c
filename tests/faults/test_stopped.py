"""A process that is stopped for a while, as by SIGSTOP or a sleeping laptop, and goes on."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner.images.registry.failures import Failure, Patience
from packrunner.images.registry.settings import RegistrySettings
from tests.unit.bases.archive import Answer, serving, wait_for

if TYPE_CHECKING:
    from pathlib import Path

BODY = b"a package" * 1000
CHILD = """
import sys
from packrunner.bases.download import Network, Wanted, fetch
from packrunner.proxies import Proxies
url, sha256, size, directory = sys.argv[1:]
wanted = Wanted(name="a 1.0", sha256=sha256, size=int(size), urls=(url,))
fetch([wanted], directory, Network(proxies=Proxies(apt={}, environ={}), idle=1.0), lambda files, size: None)
"""


@pytest.mark.fault("PRO-09")
def test_a_download_goes_on_where_it_was(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(BODY).hexdigest()
    with serving({"a": BODY}) as server:
        server.script("a", Answer(cut=4000), Answer(stall=30.0))
        words = [sys.executable, "-c", CHILD, f"{server.url}/a", sha256, str(len(BODY)), str(tmp_path)]
        child = subprocess.Popen(words, stderr=subprocess.PIPE)
        wait_for(lambda: len(server.requests) == 2)
        child.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # longer than it would wait for an answer
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, b"")
    assert (tmp_path / sha256).read_bytes() == BODY
    assert server.requests[2][1]["Range"] == "bytes=4000-"


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.fault("PRO-09")
def test_a_transfer_with_a_registry_is_given_its_time_again() -> None:
    clock = Clock()
    settings = replace(RegistrySettings(), sleep=clock.sleep, clock=lambda: clock.now, idle=30.0, patience=60.0)
    patience = Patience(settings)
    failure = Failure("unreachable", "r.example", "nothing within 30 s", retry=True)
    clock.now += 600
    patience.after(failure)
    assert len(clock.slept) == 1, "it is tried again"
    clock.now += 45
    patience.after(failure)
    clock.now += 45
    with pytest.raises(Failure):
        patience.after(failure)
