"""What the doctor finds, on machines made of small scripts."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from packrunner.engines.base import SandboxSpec
from packrunner.engines.probe import probe, probe_bwrap, probe_docker, probe_namespaces, probe_overlay
from packrunner.engines.sandbox import SandboxEngine
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def refusing(tmp_path: Path) -> str:
    """A bwrap on a machine without namespaces."""
    path = tmp_path / "bwrap"
    path.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.11.0 && exit\n'
        "echo 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
    )
    path.chmod(0o755)
    return str(path)


def test_without_bwrap_each_fact_still_has_a_line(tmp_path: Path) -> None:
    facts = {fact.name: fact for fact in probe(None, str(tmp_path), {})}
    assert list(facts) == ["bwrap", "namespaces", "overlay", "extensions", "cgroup", "docker"]
    assert facts["bwrap"].state == "no"
    assert facts["bwrap"].tries
    assert facts["namespaces"].state == "-"


@pytest.mark.fault("SBX-41")
def test_refused_namespaces_have_a_cause_and_a_fix(refusing: str, tmp_path: Path) -> None:
    assert probe_bwrap(refusing).detail.startswith("0.11")
    fact = probe_namespaces(refusing)
    assert fact.state == "no"
    assert fact.cause
    assert fact.tries
    if not AS_ROOT:
        assert probe_overlay(refusing, str(tmp_path)).state == "no"
    assert os.listdir(tmp_path) == ["bwrap"]


@pytest.mark.fault("SBX-41")
def test_a_refused_sandbox_is_an_error_and_nothing_runs(refusing: str, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_text("")
    engine = SandboxEngine(str(tmp_path / "state"), environ={}, bwrap_path=refusing, agent=str(agent))
    base = tmp_path / "base"
    base.mkdir()
    with pytest.raises(EngineError) as caught, engine.open(SandboxSpec(rootfs=(str(base),))):
        pass
    assert caught.value.slug == "userns-denied"
    assert caught.value.exit_code == 13
    assert caught.value.foreign == ("bwrap: setting up uid map: Permission denied",)


@pytest.mark.fault("NET-11")
def test_docker_sockets(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    environ = {"DOCKER_HOST": f"unix://{path}"}
    assert probe_docker(environ).state == "-"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert probe_docker(environ).state == "no"
        server.listen()
        assert probe_docker(environ).state == "ok"
        path.chmod(0)
        if not AS_ROOT:
            fact = probe_docker(environ)
            assert fact.state == "no"
            assert "usermod" in fact.tries[0]


def test_a_remote_engine_is_named_without_its_password() -> None:
    assert probe_docker({"DOCKER_HOST": "tcp://user:secret@host:1"}).detail == "DOCKER_HOST is host:1"
