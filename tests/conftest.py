"""Fixtures every tier shares, and the rule that a required tier is never skipped.

`PACKRUNNER_REQUIRE` names the tiers (see TIERS) whose absence is a failure; elsewhere a test
whose service is missing is skipped and says why. Properties are checked on the same examples each time, and on many
more with `--hypothesis-profile thorough`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Fixed examples: a run that fails fails again. The clock is no part of a test, nor is a busy machine.
settings.register_profile(
    "quick",
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=3_000, derandomize=False)
settings.load_profile("quick")


def _missing_skopeo() -> str | None:
    return None if shutil.which("skopeo") else "skopeo is not installed"


def _missing_registry() -> str | None:
    return None if shutil.which("docker-registry") else "Debian's docker-registry is not installed"


# A run in the background of a shell is started with signals ignored, and what it starts would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

REQUIRED = os.environ.get("PACKRUNNER_REQUIRE", "").split()

TIERS: dict[str, Callable[[], str | None]] = {
    "sandbox": services.missing_sandbox,
    "network": services.missing_network,
    "docker": services.missing_docker,
    "skopeo": _missing_skopeo,
    "registry": _missing_registry,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for tier, missing in TIERS.items():
        if item.get_closest_marker(tier) is None:
            continue
        reason = missing()
        if reason is None:
            continue
        if tier in REQUIRED:
            pytest.fail(f"the tier {tier} is required here, but: {reason}")
        pytest.skip(f"{tier}: {reason}")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Names of new directories: pytest would look through all that there are for each of thousands."""
    place = tmp_path_factory.mktemp("homes")
    return (str(place / str(number)) for number in itertools.count())


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, homes: Iterator[str]) -> None:
    """No test reads or writes the developer's own state, settings or colours."""
    for name in list(os.environ):
        if name.startswith(("PACKRUNNER_", "CNB_", "BP_", "BPE_")):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "CI", "GITHUB_ACTIONS", "COLUMNS", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    home = next(homes)
    os.mkdir(home, 0o700)
    monkeypatch.setenv("PACKRUNNER_HOME", home)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> Path:
    """The checkout."""
    return request.config.rootpath


@pytest.fixture(scope="session", autouse=True)
def _pytests_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pytest that a test starts is told nothing of ours, and keeps out of our directory, which it would close."""
    for name in [name for name in os.environ if name == "PYTEST_ADDOPTS" or name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(tmp_path_factory.mktemp("pytests"))


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.DockerService]:
    """A Docker engine for all tests of the session; one that is killed by its test is another one."""
    # Not pytest's own directory, whose path is too long for a socket and closed to other users.
    with tempfile.TemporaryDirectory(prefix="packrunner-docker-") as root:
        os.chmod(root, 0o755)
        with services.docker_engine(Path(root)) as service:
            yield service


@pytest.fixture
def docker_host(docker_engine: services.DockerService, monkeypatch: pytest.MonkeyPatch) -> str:
    """The session's Docker engine, also in DOCKER_HOST."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    return docker_engine.host


@pytest.fixture(scope="session")
def image_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.RegistryService]:
    """A registry for all tests of the session, each of which uses names of its own."""
    with services.RegistryService(tmp_path_factory.mktemp("registry")).running() as service:
        yield service
