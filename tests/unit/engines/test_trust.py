"""What the host trusts, inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.certificates import Certificates, host_bundle
from packrunner.engines.trust import BUNDLE, host_trust, network_files, proxy_env

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
    assert trust.env["CARGO_HTTP_CAINFO"] == BUNDLE
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


@pytest.mark.fault("NET-07")
def test_directories_of_certificates_are_added_but_for_the_bundles_own(tmp_path: Path) -> None:
    for name in ("system", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0a1b2c3d.0").write_text(f"{name} certificate\n")
        (tmp_path / name / "readme.txt").write_text("no certificate")
    bundle = tmp_path / "system/bundle.crt"
    bundle.write_text("bundle\n")
    environ = {"SSL_CERT_DIR": f"{tmp_path}/system:{tmp_path}/absent:{tmp_path}/mine"}
    trust = host_trust(environ, network="none", hostname="h", bundles=(str(bundle),))
    assert trust.files[BUNDLE] == b"bundle\nmine certificate\n"
    assert "SSL_CERT_DIR" not in trust.env


COMPANY = Certificates(host=False, files=("company.pem",))
ONE, OTHER = b"-----BEGIN CERTIFICATE-----\n1\n", b"-----BEGIN CERTIFICATE-----\n2\n"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of --ca-cert that need no reading."""
    monkeypatch.setattr(Certificates, "each", lambda self: [ONE, OTHER] if self.files else [])


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("path", ["etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt"])
def test_authorities_that_were_given_come_after_the_images_own(tmp_path: Path, path: str) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for layer, text in ((lower, "hidden by the layer above"), (upper, "of the image\n\n")):
        (layer / path).parent.mkdir(parents=True)
        (layer / path).write_text(text)
    (tmp_path / "host").write_text("of the host")
    trust = host_trust(
        {},
        network="none",
        hostname="h",
        certificates=COMPANY,
        rootfs=(str(lower), str(upper)),
        bundles=(str(tmp_path / "host"),),
    )
    assert trust.files[BUNDLE] == b"of the image\n" + ONE + b"\n" + OTHER
    assert trust.env["SSL_CERT_FILE"] == BUNDLE


@pytest.mark.usefixtures("given")
def test_authorities_that_were_given_with_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("of the host")
    both = Certificates(host=True, files=("company.pem",))
    trust = host_trust(
        {}, network="none", hostname="h", certificates=both, rootfs=(), bundles=(str(tmp_path / "host"),)
    )
    assert trust.files[BUNDLE] == b"of the host\n" + ONE + b"\n" + OTHER


@pytest.mark.usefixtures("given")
def test_an_image_whose_bundle_is_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    certs = tmp_path / "rootfs/etc/ssl/certs"
    certs.mkdir(parents=True)
    (certs / "ca-certificates.crt").symlink_to(tmp_path / "secret")
    trust = host_trust(
        {}, network="none", hostname="h", certificates=COMPANY, rootfs=(str(tmp_path / "rootfs"),), bundles=()
    )
    assert trust.files[BUNDLE] == ONE + b"\n" + OTHER
