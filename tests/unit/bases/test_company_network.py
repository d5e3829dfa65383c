"""Downloads behind a proxy that looks into TLS."""

from __future__ import annotations

import functools
import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from packrunner import certificates
from packrunner.bases.download import Network, Wanted, fetch, read_text
from packrunner.certificates import Certificates
from packrunner.errors import NetworkError, RefusedError
from packrunner.proxies import Proxies
from tests import proxy as proxies
from tests.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.proxy import Proxy

BODY = b"a package" * 1000
URL = "https://mirror.example/pool/a.deb"
WANTED = Wanted(name="a 1.0", sha256=hashlib.sha256(BODY).hexdigest(), size=len(BODY), urls=(URL,))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def company(authority: Authority) -> Iterator[Proxy]:
    with proxies.running(authority, {"mirror.example": {"/pool/a.deb": BODY}}) as proxy:
        yield proxy


def network(environ: dict[str, str], *believed: str, idle: float = 20.0) -> Network:
    given = Certificates(files=believed)
    return Network(
        proxies=Proxies(apt={}, environ=environ),
        context=functools.cache(lambda: certificates.context(given, {})),
        idle=idle,
        sleep=lambda seconds: None,
    )


def get(directory: Path, reached: Network) -> None:
    fetch([WANTED], str(directory), reached, lambda files, size: None)


def test_downloads_believe_the_companys_authority_when_told_to(tmp_path: Path, company: Proxy) -> None:
    get(tmp_path, network(company.environ(), company.authority.cert))
    assert (tmp_path / WANTED.sha256).read_bytes() == BODY
    assert company.inside() == ["mirror.example/pool/a.deb"]


@pytest.mark.fault("NET-08")
def test_an_unknown_authority_is_said_so_at_once(tmp_path: Path, company: Proxy) -> None:
    with pytest.raises(RefusedError) as caught:
        get(tmp_path, network(company.environ()))
    error = caught.value
    assert (error.slug, error.transient) == ("certificate", False)
    assert "signed by an authority that is not known here" in str(error.cause)
    assert "through the proxy 127.0.0.1" in str(error.cause)
    assert error.tries == ("--ca-cert FILE, with the certificate of that authority in PEM",)
    assert [seen.method for seen in company.seen] == ["CONNECT"], "nothing is tried again, nothing sent"


@pytest.mark.fault("NET-04")
def test_a_proxy_that_wants_a_login(tmp_path: Path, company: Proxy) -> None:
    company.login = "me:p@ss%w"
    get(tmp_path, network(company.environ("me:p%40ss%25w"), company.authority.cert))
    (tmp_path / WANTED.sha256).unlink()
    for login in ("", "me:wr%40ng"):
        with pytest.raises(NetworkError) as caught:
            get(tmp_path, network(company.environ(login), company.authority.cert))
        cause = str(caught.value.cause)
        assert "407" in cause
        assert "through the proxy 127.0.0.1" in cause
        assert "wr@ng" not in cause
        assert "wr%40ng" not in cause


@pytest.mark.fault("NET-06")
def test_the_proxys_login_stays_out_of_the_tunnel(tmp_path: Path, company: Proxy) -> None:
    company.login = "me:secret"
    get(tmp_path, network(company.environ("me:secret"), company.authority.cert))
    assert [("Proxy-Authorization" in seen.headers, seen.method) for seen in company.seen] == [
        (True, "CONNECT"),
        (False, "GET"),
    ]


@pytest.mark.fault("NET-04")
def test_a_proxy_that_refuses_or_hangs(tmp_path: Path, company: Proxy) -> None:
    company.status = 503
    with pytest.raises(NetworkError) as caught:
        get(tmp_path, network(company.environ(), company.authority.cert))
    assert "503" in str(caught.value.cause)
    assert "through the proxy 127.0.0.1" in str(caught.value.cause)
    company.hangs = True
    with pytest.raises(NetworkError) as caught:
        get(tmp_path, network(company.environ(), company.authority.cert, idle=0.05))
    assert "no answer within" in str(caught.value.cause)
    assert "through the proxy 127.0.0.1" in str(caught.value.cause)


@pytest.mark.fault("NET-02")
def test_offline_lists_what_is_missing_and_connects_to_nothing(tmp_path: Path, company: Proxy) -> None:
    offline = Network(proxies=Proxies(apt={}, environ=company.environ()), offline=True)
    began = time.monotonic()
    more = [Wanted(name=f"b{n} 1.0", sha256=f"{n:064}", size=1, urls=(URL,)) for n in range(9)]
    with pytest.raises(RefusedError) as caught:
        fetch([WANTED, *more], str(tmp_path), offline, lambda files, size: None)
    error = caught.value
    assert (error.slug, error.exit_code, error.transient) == ("offline", 14, False)
    assert error.brief.startswith("10 files are missing")
    assert error.cause == "not here: a 1.0, b0 1.0, b1 1.0, b2 1.0, b3 1.0, b4 1.0, b5 1.0, b6 1.0 and 2 more"
    with pytest.raises(RefusedError, match="1 file is missing"):
        read_text(offline, [URL], name="x's Release", limit=10)
    assert not company.seen
    assert time.monotonic() - began < 5


def test_offline_files_of_this_machine_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    offline = Network(proxies=Proxies(apt={}, environ={}), offline=True)
    here = Wanted(name="a 1.0", sha256=WANTED.sha256, size=len(BODY), urls=(f"file://{tmp_path}/a",))
    fetch([here], str(tmp_path / "down"), offline, lambda files, size: None)
    assert read_text(offline, [f"file://{tmp_path}/a"], name="x", limit=1 << 20) is not None
