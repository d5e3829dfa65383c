from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from packrunner.cli import checkup
from packrunner.cli.checkup import Checkup
from packrunner.console.terminal import Terminal
from packrunner.engines.probe import Fact
from packrunner.errors import CorruptError
from tests.unit.cli.cli_fakes import FakeServices, FakeStore, call, image, stored

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

DENIED = Fact(
    name="namespaces",
    state="no",
    detail="the kernel refuses them to bwrap",
    cause="kernel.apparmor_restrict_unprivileged_userns is 1 (usual on Ubuntu 24.04)",
    tries=("packrunner doctor --print apparmor-profile", "sudo apt-get install bubblewrap"),
)
BWRAP = Fact(name="bwrap", state="ok", detail="0.11, /usr/bin/bwrap")
STORE = Fact(name="images", state="ok", detail="12 images, 4.1 GB; 212.0 GB free")


@pytest.fixture
def no_bwrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "bwrap_path", lambda: None)


def test_a_missing_right_is_explained_below_the_table() -> None:
    found = Checkup(facts=(("engine", BWRAP), ("engine", DENIED), ("store", STORE)))
    assert not found.can_build
    assert checkup.page(found, Terminal()) == [
        "This machine cannot build yet.",
        "",
        "  engine    bwrap           ok      0.11, /usr/bin/bwrap",
        "            namespaces      no      the kernel refuses them to bwrap",
        "  store     images          ok      12 images, 4.1 GB; 212.0 GB free",
        "",
        "namespaces: kernel.apparmor_restrict_unprivileged_userns is 1 (usual on Ubuntu 24.04)",
        "  try:   packrunner doctor --print apparmor-profile",
        "  or:    sudo apt-get install bubblewrap",
    ]


def test_what_is_not_needed_does_not_spoil_the_verdict() -> None:
    namespaces = Fact(name="namespaces", state="ok", detail="allowed")
    cgroup = Fact(name="cgroup", state="no", detail="no limits")
    found = Checkup(facts=(("engine", BWRAP), ("engine", namespaces), ("engine", cgroup), ("store", STORE)))
    assert found.can_build
    assert checkup.page(found, Terminal())[0] == "This machine can build. It could do more: cgroup."


@pytest.mark.parametrize("width", [60, 80])
def test_long_details_are_wrapped_in_their_column(width: int) -> None:
    fact = Fact(name="CA bundle", state="ok", detail="a bundle with many certificates; " * 3)
    lines = checkup.page(Checkup(facts=(("network", fact),)), Terminal(table_width=width))[2:]
    assert max(map(len, lines)) <= width
    assert all(line.startswith(" " * 36) for line in lines[1:])


@pytest.mark.usefixtures("no_bwrap")
def test_a_machine_that_cannot_build_is_exit_thirteen(capsys: Capture) -> None:
    assert call("doctor") == 13
    out, err = capsys.readouterr()
    assert out.startswith("This machine cannot build yet.\n")
    assert "no images" in out
    assert err == ""


@pytest.mark.usefixtures("no_bwrap")
def test_the_same_facts_as_json(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:secret@proxy.example.com:3128")
    fake = FakeServices(images=FakeStore(stored("shop:latest", image())))
    assert call("doctor", "--json", fake=fake) == 13
    text = capsys.readouterr().out
    document = json.loads(text)
    assert (document["schema"], document["can_build"]) == ("packrunner.doctor/1", False)
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["bwrap"]["state"] == "no"
    assert checks["images"]["detail"].startswith("1 image, 55.7 MB; ")
    assert checks["CA bundle"]["detail"].endswith("proxy from HTTPS_PROXY")
    assert "secret" not in text


@pytest.mark.usefixtures("no_bwrap")
def test_a_store_that_cannot_be_read_is_a_fact_not_a_failure(capsys: Capture) -> None:
    class Broken(FakeStore):
        def list(self) -> list[object]:  # type: ignore[override]  # never returns
            raise CorruptError("the index of the store is damaged", slug="store-corrupt", tries=("packrunner prune",))

    assert call("doctor", fake=FakeServices(images=Broken())) == 13
    out = capsys.readouterr().out
    assert "  store     images          no      the index of the store is damaged" in out
    assert "  try:   packrunner prune" in out


@pytest.mark.usefixtures("no_bwrap")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_is_not_writable_is_said(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path / "home"))
    assert call("doctor") == 13
    assert "is not writable for you" in capsys.readouterr().out


def test_a_profile_is_printed_and_nothing_else(capsys: Capture) -> None:
    assert call("doctor", "--print", "apparmor-profile") == 0
    assert "profile packrunner-bwrap" in capsys.readouterr().out
    assert call("doctor", "--print", "poem") == 2
    assert "--print apparmor-profile" in capsys.readouterr().err
