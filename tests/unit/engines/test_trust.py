"""What the host trusts, inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.engines.trust import BUNDLE, host_bundle, host_trust, network_files, proxy_env

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.fault("NET-07")
def test_the_named_bundle_comes_before_the_well_known_ones(tmp_path: Path) -> None:
    named, known = tmp_path / "named.pem", tmp_path / "known.pem"
    known.write_text("known")
    assert host_bundle({"SSL_CERT_FILE": str(named)}, (str(known),)) == str(known)
    named.write_text("named")
    assert host_bundle({"SSL_CERT_FILE": str(named)}, (str(known),)) == str(named)
    assert host_bundle({}, (str(tmp_path / "absent"), str(known))) == str(known)
    assert host_bundle({}, (str(tmp_path),)) is None


def test_each_tools_variable_names_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("certificates")
    trust = host_trust({}, network="host", hostname="h", bundles=(str(tmp_path / "b"),))
    assert trust.files[BUNDLE] == b"certificates"
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        assert trust.env[name] == BUNDLE
    assert trust.env["NODE_EXTRA_CA_CERTS"] == BUNDLE
    assert trust.env["UV_SYSTEM_CERTS"] == "1"


def test_without_a_bundle_no_variable_names_one(tmp_path: Path) -> None:
    trust = host_trust({}, network="host", hostname="h", bundles=(str(tmp_path / "absent"),))
    assert BUNDLE not in trust.files
    assert trust.env == {}


@pytest.mark.fault("NET-04")
def test_proxies_in_both_spellings() -> None:
    found = proxy_env(
        {"HTTPS_PROXY": "http://u:p%40@proxy:1", "no_proxy": "a,.b", "NO_PROXY": "other", "ALL_PROXY": ""}
    )
    assert found == {
        "HTTPS_PROXY": "http://u:p%40@proxy:1",
        "https_proxy": "http://u:p%40@proxy:1",
        "NO_PROXY": "a,.b",
        "no_proxy": "a,.b",
    }


def test_without_a_network_there_are_no_proxies_and_no_names() -> None:
    trust = host_trust({"HTTPS_PROXY": "http://proxy"}, network="none", hostname="h", bundles=())
    assert trust.env == {}
    assert trust.files["/etc/resolv.conf"] == b""
    assert b"localhost h\n" in trust.files["/etc/hosts"]


def test_the_sandboxs_own_name_is_in_its_hosts_file_once() -> None:
    hosts = network_files("host", "packrunner-test")["/etc/hosts"]
    assert hosts.count(b"packrunner-test") == 1
    assert b"localhost" in network_files("host", "localhost")["/etc/hosts"]
