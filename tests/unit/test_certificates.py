"""Which authorities are believed, and what is said where one side does not believe the other."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from packrunner import certificates
from packrunner.certificates import Certificates
from packrunner.errors import UsageError
from tests.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_790_000_000.0


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def answering(context: ssl.SSLContext | None) -> Iterator[int]:
    """A server that answers one connection after the other; plain text without a context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain:
                    plain.settimeout(10)
                    _answer(plain, context)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _answer(plain: socket.socket, context: ssl.SSLContext | None) -> None:
    stream = context.wrap_socket(plain.dup(), server_side=True, do_handshake_on_connect=False) if context else plain
    with suppress(OSError):
        if isinstance(stream, ssl.SSLSocket):
            stream.do_handshake()
        stream.recv(10)
        stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    # What was said last must arrive before the connection ends, also where the handshake failed.
    with suppress(OSError):
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(100):
            pass
    stream.close()


def talk(port: int, context: ssl.SSLContext, host: str = "localhost") -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as stream,
    ):
        stream.sendall(b"hello")
        return stream.recv(10)


def refused(port: int, context: ssl.SSLContext) -> certificates.Refusal:
    with pytest.raises(ssl.SSLError) as caught:
        talk(port, context)
    return certificates.explain(caught.value, "r.example:444", now=NOW)


def test_values_of_the_option() -> None:
    assert Certificates.parse([], "/here") == Certificates(host=True)
    assert Certificates.parse(["host"], "/here") == Certificates(host=True)
    assert Certificates.parse(["a.pem", "/b.pem"], "/here") == Certificates(host=False, files=("/here/a.pem", "/b.pem"))
    assert Certificates.parse(["host", "a.pem"], "/here") == Certificates(host=True, files=("/here/a.pem",))


def test_an_authority_that_was_given_is_believed(authority: Authority) -> None:
    given = Certificates(files=(authority.cert,))
    with answering(authority.issue("localhost").server_context()) as port:
        assert talk(port, certificates.context(given, {})).startswith(b"HTTP/1.1")
        found = refused(port, certificates.context(Certificates(), {}))
    assert "signed by an authority that is not known here" in found.why
    assert found.lasting
    assert found.tries == ("--ca-cert FILE, with the certificate of that authority in PEM",)


@pytest.mark.fault("NET-07")
def test_the_variables_of_openssl_count(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with answering(authority.issue("localhost").server_context()) as port:
        monkeypatch.setenv("SSL_CERT_FILE", authority.cert)
        assert talk(port, certificates.context(Certificates(), {"SSL_CERT_FILE": authority.cert}))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
        with pytest.raises(UsageError, match=r"absent\.pem"):
            certificates.context(Certificates(), {"SSL_CERT_FILE": str(tmp_path / "absent.pem")})


@pytest.mark.fault("NET-08")
def test_another_host(authority: Authority) -> None:
    given = certificates.context(Certificates(files=(authority.cert,)), {})
    with answering(authority.issue("other.example").server_context()) as port:
        found = refused(port, given)
    assert found.why == "its certificate is for another host than r.example:444"
    assert found.lasting


@pytest.mark.fault("NET-08")
@pytest.mark.parametrize(
    ("start", "end", "said", "first"),
    [
        ("20200101000000Z", "20200201000000Z", "has expired", "tell whoever runs r.example:444"),
        ("20900101000000Z", "20910101000000Z", "is not valid yet", "set the clock, if that is not the time"),
    ],
)
def test_a_certificate_of_another_time_asks_about_the_clock(
    authority: Authority, start: str, end: str, said: str, first: str
) -> None:
    given = certificates.context(Certificates(files=(authority.cert,)), {})
    with answering(authority.issue("localhost", start=start, end=end).server_context()) as port:
        found = refused(port, given)
    assert found.why == f"its certificate {said}, by this machine's clock, which says 2026-09-21 14:13 UTC"
    assert found.tries[0] == first
    assert "set the clock, if that is not the time" in found.tries


@pytest.mark.fault("NET-08")
def test_a_certificate_of_the_client_is_wanted(authority: Authority) -> None:
    given = certificates.context(Certificates(files=(authority.cert,)), {})
    own = authority.issue("localhost").server_context(clients=authority.cert)
    with answering(own) as port:
        found = refused(port, given)
        mine = authority.issue("ana", client=True)
        given.load_cert_chain(mine.cert, mine.key)
        assert talk(port, given)
    assert found.why == "it wants a certificate from us, and has not got one that it accepts"
    assert found.lasting


def test_plain_text_where_tls_was_expected(authority: Authority) -> None:
    with answering(None) as port:
        found = refused(port, certificates.context(Certificates(), {}))
    assert found.why == "what answers there does not speak TLS"


@pytest.mark.fault("NET-07")
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file or directory"),
        (b"", "there is no certificate in PEM in it"),
        (b"\x30\x82binary", "there is no certificate in PEM in it"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "a certificate in it is damaged",
        ),
        (b"-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n", "a certificate in it is damaged"),
        (b"-----BEGIN EC PRIVATE KEY-----\nAAAA", "it holds a private key, which no build should see"),
    ],
)
def test_a_file_that_gives_no_certificates_is_named(tmp_path: Path, content: bytes | None, cause: str) -> None:
    path = tmp_path / "company.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"company\.pem gives no certificates") as caught:
        certificates.context(Certificates(files=(str(path),)), {})
    assert (caught.value.slug, caught.value.cause) == ("ca-cert", cause)


@pytest.mark.fault("NET-07")
def test_a_directory_and_a_file_too_large(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Certificates(files=(str(tmp_path),)).each()
    assert caught.value.cause == "Is a directory"
    with open(tmp_path / "large", "wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(UsageError, match="large gives no"):
        Certificates(files=(str(tmp_path / "large"),)).each()


def test_several_certificates_with_text_between_them(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "Another Authority")
    path = tmp_path / "both.pem"
    with open(authority.cert, "rb") as one, open(other.cert, "rb") as two:
        path.write_bytes(b"# ours\n" + one.read() + b"\nsubject: other\n" + two.read().replace(b"\n", b"\r\n"))
    assert len(Certificates(files=(str(path),)).each()) == 2
