"""Who is told who we are, whom we believe, and through whom we go (REG, NET): a login stays with its own registry."""

from __future__ import annotations

import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from packrunner.errors import NetworkError, PackrunnerError, RefusedError, UsageError
from packrunner.images.registry.challenge import parse
from packrunner.images.registry.credentials import Anonymous, Login
from packrunner.images.registry.failures import Failure
from packrunner.images.registry.registry import Registry
from packrunner.images.registry.settings import ClientCertificate, RegistrySettings
from packrunner.images.registry.tokens import Tokens, same_site
from packrunner.images.registry.transport import Answer, Ask, Transport, redirected
from packrunner.images.store import LocalStore
from tests.registry import Reply, ScriptedRegistry, Time, as_json, error, registry, settings
from tests.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "pass word"


class Ana:
    """A login for one registry, as exactly as its name says; remembers who was asked for."""

    def __init__(self, host: str, kind: Any = "basic", secret: str = SECRET) -> None:
        self.host, self.kind, self.secret = host, kind, secret
        self.asked: set[str] = set()

    def of(self, registry: str, repository: str) -> Login | None:
        self.asked.add(registry)
        if registry != self.host:
            return None
        return Login(kind=self.kind, user="ana", secret=self.secret, source="a test")


@pytest.fixture
def far() -> Iterator[ScriptedRegistry]:
    with registry() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text
    assert "YW5hOnBhc3Mgd29yZA" not in caplog.text


def with_login(far: ScriptedRegistry, time: Time | None = None, **changes: Any) -> Registry:
    return Registry(settings(time, **changes), Ana(far.host))


def given(one: Any) -> str:
    return str(one.headers.get("Authorization", ""))


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_challenge_is_answered(far: ScriptedRegistry, auth: str) -> None:
    far.add_image("app", "1", b"x")
    far.auth = auth
    with with_login(far) as ours:
        assert ours.read(f"{far.host}/app:1")
        assert ours.read(f"{far.host}/app:1")
    assert len(far.asked("GET", "^/token")) == (1 if auth == "bearer" else 0), "a token is kept"
    assert len(far.asked("GET", "^/v2/$")) == 1


@pytest.mark.fault("REG-06")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_blob_elsewhere_gets_no_login(far: ScriptedRegistry, store: LocalStore, status: int, auth: str) -> None:
    image = far.add_image("app", "1", b"layer")
    far.auth = auth
    digest = image.layers[0].blob.digest
    with registry() as elsewhere:
        elsewhere.blobs["cdn", digest] = far.blobs["app", digest]
        place = {"Location": f"{elsewhere.url}/v2/cdn/blobs/{digest}"}
        far.script("GET", f"blobs/{digest}", Reply(status, headers=place))
        with with_login(far) as ours, store.lease():
            ours.pull(f"{far.host}/app:1", store)
        assert elsewhere.asked("GET", "cdn")
        assert not any(given(one) or "Cookie" in one.headers for one in elsewhere.seen)


@pytest.mark.fault("REG-06")
@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("https://r.example/elsewhere", True),
        ("/elsewhere", True),
        ("https://r.example:443/elsewhere", True),
        ("https://r.example:8443/x", False),
        ("https://other.example/x", False),
        ("https://sub.r.example/x", False),
        ("http://r.example/x", None),
        ("http://other.example/x", None),
        ("file:///etc/passwd", None),
        ("", None),
        ("//[", None),
    ],
)
def test_what_a_redirect_takes_along(location: str, kept: bool | None) -> None:
    secrets = {"Authorization": "Bearer x", "cookie": "a=b", "Proxy-Authorization": "Basic y", "Accept": "z"}
    ask = Ask(method="GET", url="https://r.example/v2/", headers=secrets)
    if kept is None:
        with pytest.raises(Failure):
            redirected(ask, location)
        return
    assert redirected(ask, location).headers == (secrets if kept else {"Accept": "z"})


@pytest.mark.fault("REG-06")
def test_redirects_end(far: ScriptedRegistry) -> None:
    far.script("GET", "manifests", *[Reply(307, headers={"Location": "/v2/app/manifests/1"})] * 20)
    with with_login(far) as ours, pytest.raises(RefusedError) as failed:
        ours.read(f"{far.host}/app:1")
    assert "too many redirects" in str(failed.value.cause)


class FakeTransport(Transport):
    """Answers by a table, and remembers what was sent."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(RegistrySettings())
        self.replies = list(replies)
        self.sent: list[Ask] = []

    def send(self, ask: Ask) -> Answer:
        self.sent.append(ask)
        reply = self.replies.pop(0)
        return Answer(httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body), ask, 1.0)


LOGIN = Login(kind="basic", user="ana", secret=SECRET, source="a test")
IDENTITY = Login(kind="identity-token", user="", secret=SECRET, source="a test")
TOKEN = as_json({"token": "t"})


def ask_token(registry_name: str, realm: str, login: Login | None, *replies: Reply, **changes: Any) -> list[Ask]:
    transport = FakeTransport(*replies or (TOKEN,))
    (challenge,) = parse([f'Bearer realm="{realm}",service="s"'])
    Tokens(registry_name, transport, settings(**changes)).get(challenge, ("repository:x:pull",), login)
    return transport.sent


@pytest.mark.fault("REG-08")
@pytest.mark.parametrize(
    ("registry_name", "realm", "fine"),
    [
        ("ghcr.io", "https://ghcr.io/token", True),
        ("index.docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.example.com:5000", "https://auth.example.com/token", True),
        ("registry.acme.co.uk", "https://auth.acme.co.uk/token", True),
        ("registry.acme.co.uk", "https://auth.evil.co.uk/token", False),
        ("ghcr.io", "https://evil.example/token", False),
        ("ghcr.io", "https://ghcr.io.evil.example/token", False),
        ("ghcr.io", "https://ghcr.io@evil.example/token", False),
        ("ghcr.io", "http://ghcr.io/token", False),
        ("ghcr.io", "https://169.254.169.254/token", False),
        ("10.0.0.1", "https://10.0.0.2/token", False),
        ("10.0.0.1", "https://10.0.0.1/token", True),
        ("localhost:5000", "http://127.0.0.1:5001/token", True),
        ("localhost", "https://io/token", False),
        ("ghcr.io", "http://127.0.0.1/token", False),
        ("ghcr.io", "ftp://ghcr.io/token", False),
        ("ghcr.io", "", False),
    ],
)
def test_a_login_goes_to_the_registrys_own_site(registry_name: str, realm: str, *, fine: bool) -> None:
    if fine:
        (sent,) = ask_token(registry_name, realm, LOGIN)
        assert sent.headers["Authorization"].startswith("Basic ")
        assert not sent.follow
        return
    with pytest.raises(Failure) as failed:
        ask_token(registry_name, realm, LOGIN)
    assert failed.value.kind in {"auth", "answer"}
    assert SECRET not in str(failed.value.error().cause)


@pytest.mark.fault("REG-08")
def test_token_servers_that_are_allowed_and_callers_without_a_login() -> None:
    (sent,) = ask_token("r.example", "https://login.test/t", LOGIN, token_servers=frozenset({"login.test"}))
    assert "Authorization" in sent.headers
    (sent,) = ask_token("r.example", "https://login.test/t", None)
    assert "Authorization" not in sent.headers
    assert sent.wary
    with pytest.raises(Failure):
        ask_token("r.example", "http://login.test/t", None)


@pytest.mark.fault("REG-08")
def test_a_token_server_that_sends_on_is_not_followed(far: ScriptedRegistry) -> None:
    far.auth = "bearer"
    with registry() as elsewhere:
        far.script("GET", "^/token", Reply(307, headers={"Location": f"{elsewhere.url}/token"}))
        with with_login(far) as ours, pytest.raises(RefusedError):
            ours.read(f"{far.host}/app:1")
        assert not elsewhere.seen


@pytest.mark.fault("REG-08")
def test_the_address_counts_at_the_moment_of_connecting(far: ScriptedRegistry) -> None:
    # A name that resolves to this machine, pointed to by a registry that is not on it.
    asked = Ask(method="GET", url=f"http://localhost:{far.port}/token", wary=True)
    transport = Transport(settings())
    with pytest.raises(Failure) as failed:
        transport.send(asked)
    assert "inside of this network" in failed.value.why
    assert not far.seen, "nothing was said to it"


@pytest.mark.fault("REG-08")
@pytest.mark.parametrize(
    "pair", [("a.example.com", "b.example.com"), ("x.co.uk", "x.co.uk"), ("example.com", "www.example.com")]
)
def test_names_of_one_site(pair: tuple[str, str]) -> None:
    assert same_site(*pair)


@pytest.mark.fault("REG-11")
def test_a_registry_that_takes_no_token_is_told_of_once(far: ScriptedRegistry) -> None:
    far.auth = "bearer"
    far.script(
        "GET", "manifests", *[error(401, "UNAUTHORIZED", {"WWW-Authenticate": f'Bearer realm="{far.url}/token"'})] * 9
    )
    with with_login(far) as ours, pytest.raises(RefusedError) as failed:
        ours.read(f"{far.host}/app:1")
    assert failed.value.slug == "registry-auth"
    assert far.host in failed.value.brief
    assert "repository:app:pull" in str(failed.value.cause)
    assert "the login from a test" in str(failed.value.cause)
    assert len(far.asked("GET", "manifests")) == 2
    assert len(far.asked("GET", "^/token")) == 2


@pytest.mark.fault("REG-11")
def test_a_wrong_password_is_sent_once(far: ScriptedRegistry) -> None:
    far.auth, far.login = "basic", "ana:other"
    with with_login(far) as ours, pytest.raises(RefusedError) as failed:
        ours.read(f"{far.host}/app:1")
    assert failed.value.slug == "registry-auth"
    assert len([one for one in far.seen if given(one)]) == 1
    assert failed.value.tries == (f"packrunner login {far.host}",)


@pytest.mark.fault("REG-13")
@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ({"token": "t"}, 45),
        ({"token": "t", "issued_at": "0001-01-01T00:00:00Z", "expires_in": 300}, 280),
        ({"access_token": "t", "expires_in": 300, "issued_at": "1999-01-01T00:00:00Z"}, 280),
        ({"token": "t", "expires_in": 0}, 45),
        ({"token": "t", "expires_in": -5}, 45),
        ({"token": "", "access_token": "t", "expires_in": "300"}, 280),
    ],
)
def test_how_long_a_token_is_good(reply: dict[str, Any], seconds: int) -> None:
    transport = FakeTransport(as_json(reply), as_json({"token": "second"}))
    watch = Time()
    tokens = Tokens("r.example", transport, settings(watch))
    (challenge,) = parse(['Bearer realm="https://r.example/t"'])
    assert tokens.get(challenge, ("s",), None) == "t"
    watch.now += seconds
    assert tokens.get(challenge, ("s",), None) == "t"
    watch.now += 20
    assert tokens.get(challenge, ("s",), None) == "second"


@pytest.mark.fault("REG-13")
@pytest.mark.parametrize("status", [404, 405])
def test_a_token_server_without_post_is_asked_by_get(status: int) -> None:
    sent = ask_token("r.example", "https://r.example/t?a=b", IDENTITY, Reply(status), TOKEN)
    assert [one.method for one in sent] == ["POST", "GET"]
    assert SECRET not in sent[1].url
    assert sent[1].url == "https://r.example/t?a=b&service=s&scope=repository%3Ax%3Apull"


@pytest.mark.fault("REG-18")
@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"token": ""}', b'{"token": "a\\nb"}', b"[" * 50_000, b'{"token": 5}x']
)
def test_a_token_server_that_gives_none(body: bytes) -> None:
    with pytest.raises(Failure) as failed:
        ask_token("r.example", "https://r.example/t", None, Reply(body=body))
    assert failed.value.kind == "answer"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (['Bearer realm="https://a/b",service="s",scope="repository:x:pull,push"'], [("bearer", 3)]),
        (['Basic realm="x", Bearer realm="y"'], [("basic", 1), ("bearer", 1)]),
        (["Basic", "Bearer realm=y , service=z"], [("basic", 0), ("bearer", 2)]),
        (['BEARER REALM="a \\"b\\" c"'], [("bearer", 1)]),
        (["", "=", '"', "Bearer realm"], [("bearer", 0), ("realm", 0)]),
        (["Bearer " + 'a="' + "\\" * 100_000], [("bearer", 0)]),
    ],
)
def test_challenges(headers: list[str], found: list[tuple[str, int]]) -> None:
    began = time.thread_time()
    assert [(one.scheme, len(one.params)) for one in parse(headers)][: len(found)] == found
    assert time.thread_time() - began < 1


@pytest.mark.fault("REG-14")
def test_a_refusal_says_what_the_registry_says(far: ScriptedRegistry, store: LocalStore) -> None:
    far.script("GET", "manifests", error(403, "DENIED"))
    with with_login(far) as ours:
        with pytest.raises(RefusedError) as failed:
            ours.read(f"{far.host}/app:1")
        assert failed.value.slug == "registry-denied"
        assert "DENIED: DENIED it is" in str(failed.value.cause)
        # HEAD has no body: the upload that follows says what may not be.
        far.script("HEAD", "blobs", Reply(403))
        far.script("POST", "uploads", error(403, "DENIED"))
        blob = store.add(b"x")
        from packrunner.images.image import Image, Layer

        with pytest.raises(RefusedError) as failed:
            ours.push(Image().with_layers(Layer(diff_id=blob.digest, blob=blob)), [f"{far.host}/app:1"], store)
    assert "DENIED: DENIED it is" in str(failed.value.cause)


@pytest.mark.fault("REG-35")
def test_logins_are_asked_for_by_exact_host_and_port(far: ScriptedRegistry) -> None:
    logins = Ana(f"127.0.0.1:{far.port + 1}")
    far.add_image("app", "1", b"x")
    with Registry(settings(), logins) as ours:
        ours.read(f"{far.host}/app:1")
    assert logins.asked == {far.host}
    assert not any(given(one) for one in far.seen)


@pytest.mark.parametrize("kind", ["header", "identity-token"])
def test_other_kinds_of_logins(far: ScriptedRegistry, kind: str) -> None:
    far.add_image("app", "1", b"x")
    far.auth = "bearer"
    far.tokens = ["mine"]
    logins = Ana(far.host, kind, "Bearer mine" if kind == "header" else "refresh")
    with Registry(settings(), logins) as ours:
        assert ours.read(f"{far.host}/app:1")
    asked = far.asked("", "^/token")
    assert [one.method for one in asked] == ([] if kind == "header" else ["POST"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.mark.fault("REG-33")
@pytest.mark.fault("NET-07")
def test_a_certificate_that_is_not_believed_is_no_reason_for_plain_http(authority: Authority) -> None:
    with registry(tls=authority.issue("127.0.0.1").server_context()) as far:
        far.add_image("app", "1", b"x")
        with Registry(settings(), Anonymous()) as ours, pytest.raises(RefusedError) as failed:
            ours.read(f"{far.host}/app:1")
        assert failed.value.slug == "registry-tls"
        assert not far.seen
        for changed in (settings(ca_files=(authority.cert,)), settings(insecure=frozenset({far.host}))):
            with Registry(changed, Anonymous()) as ours:
                assert ours.read(f"{far.host}/app:1")


@pytest.mark.fault("NET-07")
def test_an_authority_from_a_directory_and_from_the_environment(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry(tls=authority.issue("127.0.0.1").server_context()) as far:
        far.add_image("app", "1", b"x")
        (tmp_path / "certs.d" / far.host).mkdir(parents=True)
        (tmp_path / "certs.d" / far.host / "own.crt").write_bytes(Path(authority.cert).read_bytes())
        with Registry(settings(certificate_directories=(str(tmp_path / "certs.d"),)), Anonymous()) as ours:
            assert ours.read(f"{far.host}/app:1")
        monkeypatch.setenv("SSL_CERT_FILE", authority.cert)
        with Registry(settings(environ=os.environ), Anonymous()) as ours:
            assert ours.read(f"{far.host}/app:1")


@pytest.mark.fault("NET-08")
def test_a_certificate_for_another_host(authority: Authority) -> None:
    with registry(tls=authority.issue("other.example").server_context()) as far:
        with Registry(settings(ca_files=(authority.cert,)), Anonymous()) as ours, pytest.raises(RefusedError) as failed:
            ours.read(f"{far.host}/app:1")
        assert "is for another host" in str(failed.value.cause)
        assert not far.seen


@pytest.mark.fault("NET-08")
def test_a_registry_that_wants_to_know_its_callers(authority: Authority) -> None:
    context = authority.issue("127.0.0.1").server_context(clients=authority.cert)
    ours_pair = authority.issue("ana", client=True)
    with registry(tls=context) as far:
        far.add_image("app", "1", b"x")
        own = ClientCertificate(certificate=ours_pair.cert, key=ours_pair.key)
        with Registry(settings(ca_files=(authority.cert,), client_certificate=own), Anonymous()) as ours:
            assert ours.read(f"{far.host}/app:1")
        with Registry(settings(ca_files=(authority.cert,)), Anonymous()) as ours, pytest.raises(PackrunnerError):
            ours.read(f"{far.host}/app:1")


@pytest.mark.fault("NET-07")
def test_a_client_certificate_that_is_none(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for path in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        own = ClientCertificate(certificate=str(path))
        with Registry(settings(client_certificate=own), Anonymous()) as ours, pytest.raises(UsageError) as failed:
            ours.read("127.0.0.1:1/app:1")
        assert failed.value.slug == "client-cert"
        assert path.name in failed.value.brief


@pytest.mark.fault("REG-33")
def test_plain_http_on_the_port_of_tls_is_refused_off_loopback() -> None:
    class Plain(Transport):
        """A network in which every host is one that speaks no TLS."""

        def send(self, ask: Ask) -> Answer:
            if ask.url.startswith("https:"):
                raise Failure("no-tls", "r.example", "what answers there does not speak TLS")
            raise AssertionError(ask.url)

    from packrunner.images.registry.client import Client

    made = settings()
    client = Client("r.example", Plain(made), Anonymous(), made)
    with pytest.raises(Failure) as failed:
        client.base()
    assert failed.value.error().slug == "registry-tls"
    opted = settings(insecure=frozenset({"r.example"}))
    with pytest.raises(AssertionError, match=r"http://r\.example/v2/"):
        Client("r.example", Plain(opted), Anonymous(), opted).base()


@pytest.mark.fault("NET-01")
@pytest.mark.fault("NET-02")
def test_offline_refuses_before_it_connects(monkeypatch: pytest.MonkeyPatch, far: ScriptedRegistry) -> None:
    far.add_image("app", "1", b"x")
    with Registry(settings(offline=True), Anonymous()) as ours:
        assert ours.read(f"{far.host}/app:1"), "this machine is no network"
        monkeypatch.setattr(socket, "create_connection", None)
        monkeypatch.setattr(socket, "getaddrinfo", None)
        with pytest.raises(RefusedError) as failed:
            ours.read("r.example/app:1")
    assert failed.value.slug == "offline"


@pytest.mark.fault("NET-03")
def test_a_name_that_nobody_knows() -> None:
    watch = Time()
    with Registry(settings(watch), Anonymous()) as ours, pytest.raises(NetworkError) as failed:
        ours.read("registry.invalid/app:1")
    assert "registry.invalid" in failed.value.brief
    assert failed.value.transient
    assert watch.slept


@pytest.mark.fault("NET-09")
@pytest.mark.parametrize("kind", ["down", "404", "other bytes", "500", "html", "stale"])
def test_a_mirror_that_does_not_help_is_passed_over(far: ScriptedRegistry, store: LocalStore, kind: str) -> None:
    image = far.add_image("app", "1", b"layer" * 1000)
    far.auth = "bearer"
    with registry() as mirror:
        if kind != "404":
            mirror.add_image("app", "1", b"layer" * 1000)
        if kind == "500":
            mirror.script("GET", "", *[Reply(500)] * 99)
        elif kind == "html":
            mirror.script("GET", "", *[Reply(body=b"<html>", headers={"Content-Type": "text/html"})] * 99)
        elif kind == "other bytes":
            mirror.blobs["app", image.layers[0].blob.digest] = bytes(image.layers[0].blob.size)
        elif kind == "stale":
            del mirror.blobs["app", image.layers[0].blob.digest]
        host = "127.0.0.1:1" if kind == "down" else mirror.host
        logins = Ana(far.host)
        with Registry(settings(mirrors={far.host: (host,)}), logins) as ours, store.lease():
            assert ours.pull(f"{far.host}/app:1", store).digest == image.digest
        assert store.has(image.layers[0].blob.digest)
        assert far.asked("GET", "blobs|manifests")
        assert not any(given(one) for one in mirror.seen), "the login of one host is not another's"


@pytest.mark.fault("NET-09")
def test_a_mirror_that_has_it_is_enough(far: ScriptedRegistry, store: LocalStore) -> None:
    with registry() as mirror:
        image = mirror.add_image("hub/app", "1", b"layer")
        with Registry(settings(mirrors={"r.example": (f"{mirror.host}/hub",)}), Anonymous()) as ours, store.lease():
            assert ours.pull("r.example/app:1", store).digest == image.digest


@pytest.mark.fault("NET-04")
@pytest.mark.parametrize("status", [407, 503])
def test_a_proxy_that_refuses_is_named_without_its_password(status: int) -> None:
    with registry() as proxy:
        proxy.script("CONNECT", "", *[Reply(status)] * 9)
        environ = {"https_proxy": f"http://ana:s%40cret@{proxy.host}"}
        with Registry(settings(environ=environ), Anonymous()) as ours, pytest.raises(PackrunnerError) as failed:
            ours.read("r.example/app:1")
    shown = f"{failed.value.brief} {failed.value.cause}"
    assert "proxy" in shown
    assert "127.0.0.1" in shown
    assert "cret" not in shown


@pytest.mark.fault("NET-06")
def test_the_proxys_login_reaches_the_proxy_alone(far: ScriptedRegistry) -> None:
    image = far.add_image("app", "1", b"x")
    with registry() as proxy:
        # Plain http: the proxy sees whole requests, and answers them itself.
        proxy.script("GET", "/v2/$", Reply(body=b"{}"))
        proxy.script("GET", "manifests", Reply(307, headers={"Location": f"{far.url}/v2/app/manifests/1"}))
        proxy.script("GET", "blobs", Reply(307, headers={"Location": f"{far.url}/v2/app/blobs/{image.config.digest}"}))
        environ = {"http_proxy": f"http://ana:s%40cret@{proxy.host}", "no_proxy": far.host}
        with Registry(settings(environ=environ), Anonymous()) as ours:
            assert ours.read("localhost:1/app:1")
        assert [one.headers["Proxy-Authorization"] for one in proxy.seen] == ["Basic YW5hOnNAY3JldA=="] * 3
        assert len(far.seen) == 2
        assert not any("Proxy-Authorization" in one.headers for one in far.seen)
