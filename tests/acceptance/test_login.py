"""Logging in to a registry that wants it, by the installed command; docker-registry is the other side."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import COMMAND, Ended
from tests.acceptance.probe import probe_buildpack
from tests.services import LOGIN, RegistryService
from tests.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network, pytest.mark.registry]

USER, PASSWORD = LOGIN


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def registry(tmp_path: Path, authority: Authority) -> Iterator[str]:
    """A registry that wants a login and has a certificate of the company's; its name."""
    (tmp_path / "registry").mkdir()
    own = authority.issue("127.0.0.1")
    with RegistryService(tmp_path / "registry", closed=True, tls=(own.cert, own.key)).running() as service:
        yield service.host


def log_in(cli: Cli, password: str, *words: str, **env: str) -> Ended:
    done = subprocess.run(
        [COMMAND, "login", "-u", USER, "--password-stdin", *words],
        input=password + "\n",
        env={**cli.environ(), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.mark.cnb("RES-07")
def test_log_in_push_log_out(cli: Cli, registry: str, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    name = f"{registry}/team/app"
    cli.ok("build", name, "-p", str(tmp_path / "app"), "-b", str(probe_buildpack(tmp_path / "probe")))
    env = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker"), "XDG_RUNTIME_DIR": str(tmp_path)}
    trusted = ("--ca-cert", authority.cert)
    shown: list[Ended] = []

    def push(**more: str) -> Ended:
        shown.append(cli("push", name, *trusted, **env, **more))
        return shown[-1]

    refused = push()
    assert refused.code == 14
    assert "error[registry-auth]" in refused.err
    assert f"packrunner login {registry}" in refused.err
    shown.append(log_in(cli, PASSWORD, registry, **env))
    assert "error[registry-tls]" in shown[-1].err
    shown.append(log_in(cli, "not " + PASSWORD, registry, *trusted, **env))
    assert (shown[-1].code, "error[registry-auth]" in shown[-1].err) == (14, True)
    config = tmp_path / "docker/config.json"
    assert not config.exists(), "a login that is none is not kept"
    shown.append(log_in(cli, PASSWORD, registry, *trusted, **env))
    assert shown[-1].code == 0
    assert oct(os.stat(config).st_mode)[-3:] == "600"
    assert cli.ok("login", "--list", **env).out.split() == [registry, USER, "~/docker/config.json"]
    assert push().code == 0
    wrong = base64.b64encode(f"{USER}:wrongwrong".encode()).decode()
    other = push(CNB_REGISTRY_AUTH=json.dumps({registry: f"Basic {wrong}"}))
    assert other.code == 14
    assert "CNB_REGISTRY_AUTH; for repository:team/app" in other.err
    shown.append(cli.ok("logout", registry, **env))
    assert push().code == 14
    for ended in shown:
        for secret in (PASSWORD, "wrongwrong", wrong):
            assert secret not in ended.out + ended.err
    written = [path for path in (tmp_path / "docker", *map(type(tmp_path), [f"{cli.home}/state"])) if path.exists()]
    for path in (file for place in written for file in place.rglob("*") if file.is_file()):
        assert PASSWORD not in path.read_text(errors="replace")
