"""The installed command as a subprocess, over one home directory per session; the base image is made once."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests import services
from tests.acceptance import prepared as homes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COMMAND = os.path.join(os.path.dirname(sys.executable), "packrunner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A finished command; the result on `out`, the story on `err`."""

    code: int
    out: str
    err: str

    @property
    def digest(self) -> str:
        """The digest on the result line."""
        return self.out.strip().rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """The command with a home of its own."""

    home: str
    env: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def environ(self) -> dict[str, str]:
        """The process's environment: the caller's, with our home."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PACKRUNNER_", "CNB_", "BP_", "BPE_"))}
        return {**kept, "PACKRUNNER_HOME": self.home, **self.env}

    def start(self, *args: str, cwd: str | os.PathLike[str] | None = None, **env: str) -> subprocess.Popen[str]:
        """Start the command and return at once."""
        return subprocess.Popen(
            [*self.prefix, COMMAND, *args],
            env={**self.environ(), **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def __call__(self, *args: str, cwd: str | os.PathLike[str] | None = None, **env: str) -> Ended:
        """Run the command to its end."""
        process = self.start(*args, cwd=cwd, **env)
        out, err = process.communicate(timeout=400)
        return Ended(code=process.returncode, out=out, err=err)

    def ok(self, *args: str, cwd: str | os.PathLike[str] | None = None, **env: str) -> Ended:
        """Run the command, which must succeed."""
        ended = self(*args, cwd=cwd, **env)
        assert ended.code == 0, ended.err
        return ended

    @contextlib.contextmanager
    def serving(self, *args: str, port: int) -> Iterator[str]:
        """The application behind `run ARGS`, answering on `port`; yields the body of `/`."""
        process = self.start("run", *args)
        try:
            yield fetch(f"http://127.0.0.1:{port}/", process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def fetch(url: str, process: subprocess.Popen[str]) -> str:
    """Ask until there is an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"the application ended with {process.returncode}: {process.communicate()[1]}")
        try:
            with opener.open(url, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail("no answer within 30 s")


@pytest.fixture(scope="session")
def prepared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the default base and nothing else, from which `homes.begin` makes others."""

    def make(home: Path) -> None:
        app = tmp_path_factory.mktemp("procfile")
        (app / "Procfile").write_text("web: true\n")
        cli = Cli(home=str(home))
        cli.ok("build", "for-the-base", "-p", str(app), "-b", "procfile")
        cli.ok("rm", "--yes", "for-the-base")
        cli.ok("prune", "--yes")

    ours = tmp_path_factory.getbasetemp()
    return homes.once(ours.parent if hasattr(pytestconfig, "workerinput") else ours, make)


@pytest.fixture(scope="session")
def cli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command as whoever runs the tests."""
    home = tmp_path_factory.mktemp("acceptance")
    if services.missing_network() is None and services.missing_sandbox() is None:
        homes.begin(request.getfixturevalue("prepared"), home)
    return Cli(home=str(home))


@pytest.fixture(scope="session")
def sample(pytestconfig: pytest.Config) -> Path:
    """The Flask sample; copy it before changing anything."""
    return pytestconfig.rootpath / "samples" / "flask"


@pytest.fixture
def app(sample: Path, tmp_path: Path) -> Path:
    """A copy of the Flask sample."""
    shutil.copytree(sample, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def port() -> int:
    """A port that is free at this moment."""
    return services.free_port()


@pytest.fixture(scope="session")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command as an ordinary user with no right to anything; for the tests that root runs."""
    if os.geteuid() != 0:
        pytest.skip("these tests already run as an ordinary user")
    readable = subprocess.run(["runuser", "-u", "nobody", "--", COMMAND, "--version"], capture_output=True, check=False)
    if readable.returncode:
        pytest.skip("the checkout cannot be read by other users")
    home = tmp_path_factory.mktemp("ordinary")
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    services.open_to_others(home)
    env = {"HOME": str(home), "PYTEST_DEBUG_TEMPROOT": str(home)}
    return Cli(home=str(home), env=env, prefix=("runuser", "-u", "nobody", "--"))
