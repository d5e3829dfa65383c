"""Downloads of the SDK, against a server that misbehaves as told and a company's proxy."""

from __future__ import annotations

import gc
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from packrunner.sdk import fetch
from packrunner.sdk.report import Failure
from tests.proxy import running as proxy_running
from tests.tls import Authority
from tests.unit.bases.archive import Answer, Slept, serving
from tests.unit.sdk.programs import building

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.bases.archive import Server

BODY = bytes(range(256)) * 4000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.lower().endswith("_proxy") or "CERT" in one or "_BUNDLE" in one]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"a.tgz": BODY, "a.tgz?x=/y": BODY}) as running:
        yield running


def get(server: Server, to: Path, **more: object) -> str:
    arguments: dict[str, object] = {"sha256": SHA, "to": str(to), "sleep": Slept(), **more}
    return fetch.download(f"{server.url}/a.tgz", **arguments)  # type: ignore[arg-type]  # a table of any of them


def test_a_file_is_fetched_once(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "cache/a.tgz"
    assert get(server, to, sha256=SHA.upper()) == str(to)
    assert to.read_bytes() == BODY
    assert capfd.readouterr().out == f"fetching {server.url}/a.tgz\n"
    get(server, to)
    assert (len(server.requests), capfd.readouterr().out) == (1, "")
    to.write_bytes(b"something else")
    get(server, to)
    assert to.read_bytes() == BODY


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(status=503)],
        [Answer(status=429), Answer(status=500)],
        [Answer(cut=1000)],
        [Answer(cut=0), Answer(status=502)],
    ],
)
def test_what_may_pass_is_tried_again(server: Server, tmp_path: Path, answers: list[Answer]) -> None:
    server.script("a.tgz", *answers)
    slept = Slept()
    get(server, tmp_path / "a", sleep=slept)
    assert (tmp_path / "a").read_bytes() == BODY
    assert len(server.requests) == len(answers) + 1
    assert slept.seconds == [1.0, 4.0][: len(answers)]


def test_what_does_not_pass_is_a_failure_with_the_last_reason(server: Server, tmp_path: Path) -> None:
    server.script("a.tgz", *[Answer(status=503)] * 3)
    with pytest.raises(Failure, match=r"could not fetch http://127.0.0.1:\d+/a.tgz: the server answers 503") as caught:
        get(server, tmp_path / "a")
    assert caught.value.tries
    assert (os.listdir(tmp_path), len(server.requests)) == ([], 3)


def test_what_is_not_there_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.script("a.tgz", Answer(status=404))
    with pytest.raises(Failure, match="404 Not Found"):
        get(server, tmp_path / "a")
    assert len(server.requests) == 1


def test_other_content_never_gets_the_name(server: Server, tmp_path: Path) -> None:
    server.script("a.tgz", Answer(body=b"evil"))
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(Failure, match="is not what was expected") as caught:
        get(server, tmp_path / "a")
    assert caught.value.at == f"sha256 {hashlib.sha256(b'evil').hexdigest()}, not {SHA}"
    assert (os.listdir(tmp_path), len(server.requests)) == (["a"], 1)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_limit_ends_a_download_that_does_not(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="more than 1000 bytes"):
        get(server, tmp_path / "a", limit=1000)
    assert os.listdir(tmp_path) == []


def test_what_the_disk_refuses_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match=r"could not write .*/file/a: (File exists|Not a directory)"):
        get(server, tmp_path / "file/a")
    with pytest.raises(Failure, match="File name too long"):
        get(server, tmp_path / ("x" * 300))


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"could not fetch http://127.0.0.1:9/x: Connection refused"):
        fetch.download("http://127.0.0.1:9/x", sha256=SHA, to=str(tmp_path / "a"), sleep=Slept())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "https:///x", "/etc/passwd"])
def test_addresses_are_of_the_network(tmp_path: Path, url: str) -> None:
    with pytest.raises(Failure, match="begins with https"):
        fetch.download(url, sha256=SHA, to=str(tmp_path / "a"), sleep=Slept())


def test_a_login_goes_to_its_host_and_into_no_message(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving({"b": BODY}) as other:
        there = {"Location": f"{other.url}/b"}
        server.script("a.tgz?token=hidden", Answer(status=302, body=b"", headers=there), Answer(status=401))
        url = f"{server.url.replace('//', '//me:s%40cret@')}/a.tgz?token=hidden"
        fetch.download(url, sha256=SHA, to=str(tmp_path / "a"), headers={"X-Token": "t"}, sleep=Slept())
        with pytest.raises(Failure, match="401 Unauthorized") as caught:
            fetch.download(url, sha256=SHA, to=str(tmp_path / "b"), sleep=Slept())
    first = {name.lower(): value for name, value in server.requests[0][1].items()}
    assert (first["authorization"], first["x-token"]) == ("Basic bWU6c0BjcmV0", "t")
    redirected = {name.lower() for name in other.requests[0][1]}
    assert redirected.isdisjoint({"authorization", "x-token"})
    told = capfd.readouterr().out + caught.value.lines()
    assert "/a.tgz" in told
    assert not any(word in told for word in ("cret", "hidden", "me:"))


@pytest.mark.parametrize(("to", "words"), [("file:///etc/passwd", "302 Found$"), ("ftp://127.0.0.1/x", "is no https")])
def test_a_redirect_stays_in_the_network(server: Server, tmp_path: Path, to: str, words: str) -> None:
    server.script("a.tgz", Answer(status=302, body=b"", headers={"Location": to}))
    with pytest.raises(Failure, match=words):
        get(server, tmp_path / "a")


def test_through_a_companys_proxy_and_its_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "authority")
    with proxy_running(authority, {"files.example": {"/a": BODY}}) as proxy:
        proxy.login = "me:pw"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:pw"))
        url = "https://files.example/a"
        with pytest.raises(Failure, match=r"could not fetch https://files.example/a: .*certificate") as caught:
            fetch.download(url, sha256=SHA, to=str(tmp_path / "a"), sleep=Slept())
        assert "--ca-cert" in caught.value.tries[0]
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, authority.cert)
            fetch.download(url, sha256=SHA, to=str(tmp_path / name), sleep=Slept())
            monkeypatch.delenv(name)
    assert {one.tunnel for one in proxy.seen if one.method == "GET"} == {"files.example"}


# CPython 3.11 leaves the socket of a refused tunnel to its garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_login_that_a_proxy_refuses_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy_running(Authority(tmp_path / "authority"), {}) as proxy:
        proxy.login = "me:pw"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:wrong"))
        told = ""
        try:
            fetch.download("https://files.example/a", sha256=SHA, to=str(tmp_path / "b"), sleep=Slept())
        except Failure as failure:
            told = failure.lines()
    gc.collect()
    assert "407" in told
    assert "wrong" not in told


def test_no_redirect_from_https_to_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    authority = Authority(tmp_path / "authority")
    context = authority.issue("127.0.0.1").server_context()
    with serving({}, tls=context) as secure:
        secure.script("a", Answer(status=302, body=b"", headers={"Location": f"{server.url}/a.tgz"}))
        monkeypatch.setenv("SSL_CERT_FILE", authority.cert)
        url = f"https://127.0.0.1:{secure.port}/a"
        with pytest.raises(Failure, match="which is no https"):
            fetch.download(url, sha256=SHA, to=str(tmp_path / "x"), sleep=Slept())
    assert server.requests == []


def test_a_buildpacks_download_is_gone_afterwards(server: Server, tmp_path: Path) -> None:
    body = (
        f"say(c.download('{server.url}/a.tgz?x=/y', sha256='{SHA}'))\nassert len(os.listdir(os.environ['TMPDIR'])) == 1"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for ending in ("", "\nraise Failure('no')"):
        made = building(tmp_path, body + ending)
        made.env["TMPDIR"] = str(temporary)
        ran = made.build()
        assert ran.code == (1 if ending else 0), ran.output
        assert ran.lines[1].endswith("/a.tgz")
        assert os.listdir(temporary) == []


def test_a_buildpacks_download_stays_where_it_is_told_to(server: Server, tmp_path: Path) -> None:
    body = f"""
l = c.layer('d', cache=True)
l.keep(source='x')
c.download('{server.url}/a.tgz', sha256='{SHA}', into=l.path)
"""
    made = building(tmp_path, body)
    assert made.build().code == 0
    assert (made.layers / "d/a.tgz").read_bytes() == BODY
