"""A build behind a proxy that looks into TLS, and builds without a network, by the installed command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import proxy as proxies
from tests.acceptance.conftest import Cli
from tests.acceptance.probe import BUILD, probe_buildpack
from tests.buildpacks.wheels import make_wheel
from tests.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.proxy import Proxy

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

TOOLS = (
    ("pip", "python3 -m pip download -q --no-deps --retries 0 -d /tmp/pip -i https://packages.example/simple example"),
    ("curl", "curl -sSf https://packages.example/hello"),
    ("git", "git ls-remote https://packages.example/repo.git"),
    ("python", "python3 -c 'import urllib.request as u; u.urlopen(\"https://packages.example/hello\")'"),
    ("openssl", "! command -v openssl || openssl verify -CAfile $SSL_CERT_FILE $SSL_CERT_FILE"),
)
LINES = "".join(f"({line}) && echo {name}:yes || echo {name}:no\n" for name, line in TOOLS)
BINDING = (
    'for f in "${SERVICE_BINDING_ROOT:-/none}"/*; do echo "binding $(cat $f/type): $(ls $f | tr "\\n" " ")"; done\n'
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def company(authority: Authority, tmp_path: Path) -> Iterator[Proxy]:
    """The company's proxy, and behind it a package index, a text and a repository."""
    wheel = make_wheel(tmp_path / "wheels", "example")
    world = {
        "/simple/example/": f'<a href="/files/{wheel}">{wheel}</a>'.encode(),
        f"/files/{wheel}": (tmp_path / "wheels" / wheel).read_bytes(),
        "/hello": b"hello\n",
        "/repo.git/info/refs": b"1" * 40 + b"\trefs/heads/main\n",
        "/repo.git/HEAD": b"ref: refs/heads/main\n",
    }
    with proxies.running(authority, {"packages.example": world}) as proxy:
        yield proxy


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/file").write_text("content")
    return tmp_path / "app"


@pytest.fixture
def buildpack(tmp_path: Path) -> Path:
    return probe_buildpack(tmp_path / "tools", build=BUILD + LINES + BINDING)


def answers(text: str) -> dict[str, str]:
    found: list[list[str]] = [
        line.rpartition("| ")[2].split(":") for line in text.splitlines() if line.endswith((":yes", ":no"))
    ]
    return dict(found)


def test_tools_in_a_build_believe_the_companys_authority_only_when_told_to(
    cli: Cli, app: Path, buildpack: Path, company: Proxy
) -> None:
    words = ("build", "tools", "-p", str(app), "-b", str(buildpack), "--rebuild", "--progress", "plain")
    # The base is made without the proxy, which has no packages.
    assert answers(cli.ok(*words, "--network", "none").err)["curl"] == "no"
    company.login = "me:p@ss"
    environ = company.environ("me:p%40ss")
    without = cli.ok(*words, **environ)
    assert answers(without.err) == {"pip": "no", "curl": "no", "git": "no", "python": "no", "openssl": "yes"}
    assert "binding ca-certificates" not in without.err
    assert company.inside() == []
    assert company.seen, "the proxy was asked"
    told = cli.ok(*words, "--ca-cert", company.authority.cert, **environ)
    assert set(answers(told.err).values()) == {"yes"}, told.err
    assert {"packages.example/hello", "packages.example/simple/example/"} <= set(company.inside())
    assert "binding ca-certificates: ca-1.pem type" in told.err
    assert told.digest == without.digest, "nothing of it is in the image"
    for ended in (without, told):
        assert "p@ss" not in ended.err
        assert "p%40ss" not in ended.err


@pytest.mark.fault("NET-07")
def test_a_file_that_gives_no_certificates_ends_the_build_before_it_begins(cli: Cli, app: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for name in ("bad.pem", "absent.pem"):
        ended = cli("build", "-p", str(app), "--ca-cert", name, cwd=tmp_path)
        assert ended.code == 2
        assert f"error[ca-cert]: {name} gives no certificates" in ended.err
        assert ended.out == ""


def cut_off(cli: Cli) -> Cli:
    """The command on a machine without a network: not even a name can be asked for."""
    words = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-current-user", "--net")
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("no network namespace can be made here")
    return Cli(home=cli.home, env=cli.env, prefix=words)


@pytest.mark.fault("NET-01")
@pytest.mark.fault("NET-02")
def test_a_builder_and_an_application_are_carried_to_a_machine_without_a_network(
    cli: Cli, sample: Path, tmp_path: Path
) -> None:
    usb = tmp_path / "usb"
    here = cli.ok("build", "carried", "-p", str(sample), "--rebuild")
    assert cli.ok("builder", "fetch", "--to", str(usb), "--for", str(sample)).out == "debian:13\n"
    there = cut_off(Cli(home=str(tmp_path / "home")))
    words = ("build", "carried", "-p", str(sample), "--offline", "--cache", f"type=dir,path={usb}/cache")
    missing = there(*words)
    assert missing.code == 14
    assert "error[offline]" in missing.err
    assert "not here: trixie's Release" in missing.err
    assert there.ok("builder", "fetch", "--from", str(usb)).out == "debian:13\n"
    built = there.ok(*words)
    assert "dependencies" in built.err
    assert built.digest == here.digest


@pytest.mark.fault("NET-10")
def test_names_are_resolved_where_the_resolver_is_on_loopback(cli: Cli, app: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "-m", "true"], check=False).returncode:
        pytest.skip("needs root, and namespaces")
    resolving = BUILD + "echo resolved: $(getent hosts packages.internal)\n"
    buildpack = probe_buildpack(tmp_path / "resolving", build=resolving)
    words = ("build", "names", "-p", str(app), "-b", str(buildpack), "--rebuild", "--progress", "plain")
    cli.ok(*words, "--network", "none")
    stub = os.path.join(os.path.dirname(__file__), "stub.py")
    there = Cli(home=cli.home, prefix=("unshare", "-n", "-m", sys.executable, stub))
    assert "resolved: 10.1.2.3" in there.ok(*words).err
    assert "10.1.2.3" not in there.ok(*words, "--network", "none").err


@pytest.mark.fault("PRO-10")
def test_it_is_the_first_process_of_a_container(cli: Cli, app: Path, tmp_path: Path) -> None:
    first = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.geteuid() != 0 or subprocess.run([*first, "true"], check=False).returncode:
        pytest.skip("needs root, and namespaces")
    left = "(setsid sleep 0.1 &)\n"
    buildpack = probe_buildpack(tmp_path / "quick", build=BUILD + left)
    there = Cli(home=cli.home, prefix=first)
    assert there.ok("build", "first", "-p", str(app), "-b", str(buildpack), "--rebuild").digest
    slow = probe_buildpack(tmp_path / "slow", build="#!/bin/sh\necho waiting\nsleep 600\n", name="test/slow")
    process = there.start("build", "first", "-p", str(app), "-b", str(slow), "-v")
    assert process.stderr
    for line in process.stderr:
        if "slow | waiting" in line:
            break
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        os.kill(int(file.read().split()[0]), signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Stopped." in err
