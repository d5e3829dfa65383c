"""Registries behind a proxy that looks into TLS, and registries with certificates of their own."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from packrunner.cli.wiring.registries import certificate_directories
from packrunner.errors import NetworkError, PackrunnerError, RefusedError
from packrunner.images.registry.credentials import Anonymous
from packrunner.images.registry.registry import Registry
from packrunner.images.registry.settings import RegistrySettings
from tests import proxy as proxies
from tests.tls import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from packrunner.images.image import Image
    from tests.proxy import Proxy, World

NAME = "registry.example/team/app:1"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def world() -> World:
    """A registry with one image."""
    rootfs = {"type": "layers", "diff_ids": []}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"User": "1"}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(config),
            "size": len(config),
        },
        "layers": [],
    }
    files = {
        "/v2/": b"{}",
        "/v2/team/app/manifests/1": json.dumps(manifest).encode(),
        f"/v2/team/app/blobs/{digest(config)}": config,
    }
    return {"registry.example": files}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def company(authority: Authority) -> Iterator[Proxy]:
    with proxies.running(authority, world()) as proxy:
        yield proxy


def read(name: str, settings: RegistrySettings) -> Image | None:
    with Registry(settings, Anonymous()) as client:
        return client.read(name)


def settings(
    environ: dict[str, str], *believed: str, directories: tuple[str, ...] = (), offline: bool = False
) -> RegistrySettings:
    return RegistrySettings(
        environ=environ,
        ca_files=believed,
        certificate_directories=directories,
        offline=offline,
        sleep=lambda seconds: None,
    )


def failure(name: str, settings: RegistrySettings) -> PackrunnerError:
    with pytest.raises(PackrunnerError) as caught:
        read(name, settings)
    return caught.value


def test_an_authority_that_was_given_is_believed(company: Proxy) -> None:
    found = read(NAME, settings(company.environ(), company.authority.cert))
    assert found is not None
    assert found.user == "1"
    assert company.inside()[0] == "registry.example/v2/"


@pytest.mark.fault("NET-08")
def test_an_unknown_authority_is_said_so_and_nothing_is_sent(company: Proxy) -> None:
    error = failure(NAME, settings(company.environ()))
    assert isinstance(error, RefusedError)
    assert (error.slug, error.transient) == ("registry-tls", False)
    assert "signed by an authority that is not known here" in str(error.cause)
    assert error.tries == ("--ca-cert FILE, with the certificate of that authority in PEM",)
    assert company.inside() == []


@pytest.mark.fault("NET-04")
@pytest.mark.fault("NET-06")
def test_a_proxy_that_wants_a_login_gets_it_and_nobody_else_does(company: Proxy) -> None:
    company.login = "me:p@ss%w"
    assert read(NAME, settings(company.environ("me:p%40ss%25w"), company.authority.cert))
    assert [seen.method for seen in company.seen if "Proxy-Authorization" in seen.headers] == ["CONNECT"]
    error = failure(NAME, settings(company.environ("me:wr%40ng"), company.authority.cert))
    assert isinstance(error, NetworkError)
    assert "407" in str(error.cause)
    assert "127.0.0.1" in str(error.cause)
    assert "wr@ng" not in str(error.cause)
    assert "wr%40ng" not in str(error.cause)


@pytest.mark.fault("NET-04")
def test_a_proxy_that_refuses(company: Proxy) -> None:
    company.status = 503
    error = failure(NAME, settings(company.environ(), company.authority.cert))
    assert "503" in str(error.cause)
    assert "through the proxy 127.0.0.1" in str(error.cause)


@pytest.mark.fault("NET-02")
def test_offline_nothing_is_connected_to(company: Proxy) -> None:
    error = failure(NAME, settings(company.environ(), company.authority.cert, offline=True))
    assert (error.slug, error.exit_code) == ("offline", 14)
    assert "registry.example" in error.brief
    assert not company.seen


@contextmanager
def guarded(context: ssl.SSLContext) -> Iterator[str]:
    """A registry of its own on this machine; its name."""
    files = world()["registry.example"]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            kind = json.loads(content or b"{}").get("mediaType", "application/json")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args: object) -> None:
            return

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients without a certificate are sent away."""

        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            plain, address = super().get_request()
            # The handshake is the handler's thread's, at its first read.
            return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.fault("NET-07")
@pytest.mark.fault("NET-08")
def test_certificates_of_one_registry_lie_in_a_directory_with_its_name(tmp_path: Path, authority: Authority) -> None:
    own = authority.issue("127.0.0.1").server_context(clients=authority.cert)
    mine = authority.issue("ana", client=True)
    with guarded(own) as name:
        place = tmp_path / "certs.d" / name
        place.mkdir(parents=True)
        for target, source in (("ca.crt", authority.cert), ("client.cert", mine.cert), ("client.key", mine.key)):
            (place / target).symlink_to(source)
        reached = settings({}, directories=(str(tmp_path / "absent"), str(tmp_path / "certs.d")))
        assert read(f"{name}/team/app:1", reached)
        (place / "client.key").unlink()
        error = failure(f"{name}/team/app:1", reached)
        assert error.slug == "client-cert"
        assert "client.cert" in error.brief
        (place / "client.cert").unlink()
        error = failure(f"{name}/team/app:1", reached)
        assert error.slug in {"registry-tls", "registry-unreachable"}
        (place / "ca.crt").rename(tmp_path / "ca.crt")
        place.rename(place.with_name("127.0.0.1"))
        (tmp_path / "ca.crt").rename(place.with_name("127.0.0.1") / "ca.crt")
        error = failure(f"{name}/team/app:1", reached)
        assert "not known here" in str(error.cause), "another port's directory is not this one's"


def test_where_such_directories_are() -> None:
    found = certificate_directories({"XDG_CONFIG_HOME": "/home/ana/settings"})
    assert found == (
        "/etc/docker/certs.d",
        "/etc/containers/certs.d",
        "/home/ana/settings/docker/certs.d",
        "/home/ana/settings/containers/certs.d",
    )
