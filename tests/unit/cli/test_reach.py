"""How far commands reach: what --ca-cert and --offline come to where parts are put together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from packrunner.certificates import Certificates
from packrunner.cli.wiring import engines, reach
from packrunner.errors import RefusedError
from packrunner.lifecycle.bindings import Held
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import merge
from tests.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_configured_counts_where_no_flag_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reach.configured() == reach.Reach()
    monkeypatch.setenv("PACKRUNNER_CA_CERT", "host,company.pem")
    monkeypatch.setenv("PACKRUNNER_OFFLINE", "yes")
    both = Certificates(host=True, files=(str(tmp_path / "company.pem"),))
    assert reach.configured() == reach.Reach(certificates=both, offline=True)
    assert reach.configured(["/other.pem"]).certificates == Certificates(host=False, files=("/other.pem",))


def test_a_requests_own() -> None:
    request = merge(Flags(cwd="/apps", ca_certs=("a.pem",), offline=True), {})
    assert reach.of(request) == reach.Reach(certificates=Certificates(host=False, files=("/apps/a.pem",)), offline=True)
    assert reach.of(merge(Flags(cwd="/apps"), {})) == reach.Reach()


def test_files_are_a_binding_too_and_the_hosts_bundle_is_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    given = Certificates(host=False, files=(authority.cert, authority.cert))
    own = Held({"db": {"type": b"postgresql"}})
    found = reach.with_certificates(own, given)
    assert sorted(found.bindings) == ["db", "packrunner-ca-certificates"]
    files = found.bindings["packrunner-ca-certificates"]
    assert sorted(files) == ["ca-1.pem", "ca-2.pem", "type"]
    assert files["type"] == b"ca-certificates"
    assert files["ca-1.pem"].startswith(b"-----BEGIN CERTIFICATE-----")
    assert found.variables == {"SERVICE_BINDING_ROOT": "/platform/bindings"}
    assert reach.with_certificates(None, Certificates()).bindings == {}
    theirs = Held({"mine": {"type": b"ca-certificates\n", "a.pem": b"x"}})
    assert reach.with_certificates(theirs, given).bindings == theirs.bindings


@pytest.mark.fault("NET-02")
@pytest.mark.parametrize("url", ["tcp://engine.example:2376", "ssh://ana@engine.example"])
def test_offline_no_engine_on_another_machine_is_spoken_to(url: str) -> None:
    with ExitStack() as stack:
        with pytest.raises(RefusedError) as caught:
            engines.daemons(stack, url, offline=True)()
        assert caught.value.slug == "offline"
        assert "engine.example" in str(caught.value.cause)
        engines.daemons(stack, "unix:///no/such/socket", offline=True)()
