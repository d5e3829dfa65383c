"""What the command line makes of settings about registries."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from packrunner.cli.wiring.reach import Reach
from packrunner.cli.wiring.registries import Registries, mirrors
from packrunner.errors import UsageError
from tests.fakes import FakeReporter


def test_mirrors_are_asked_in_their_order() -> None:
    text = "docker.io=a.example.com, docker.io=b.example.com:5000, ghcr.io=c.example.com,"
    assert mirrors(text) == {
        "index.docker.io": ("a.example.com", "b.example.com:5000"),
        "ghcr.io": ("c.example.com",),
    }
    assert mirrors("") == {}


@pytest.mark.parametrize("text", ["docker.io", "docker.io=", "=a.example.com", "docker.io=https://a.example.com"])
def test_what_is_no_mirror_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        mirrors(text)
    assert caught.value.slug == "config-value"


def test_the_settings_arrive_at_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKRUNNER_REGISTRY_MIRRORS", "docker.io=a.example.com")
    with ExitStack() as stack:
        made = Registries(
            stack, FakeReporter(), Reach(offline=True), insecure=("b:5000",), platform="linux/arm64/v8"
        ).client._settings
    assert made.mirrors == {"index.docker.io": ("a.example.com",)}
    assert made.insecure == {"b:5000"}
    assert made.offline
    assert (made.platform.os, made.platform.architecture, made.platform.variant) == ("linux", "arm64", "v8")
