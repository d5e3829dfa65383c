"""Which Docker engine is meant, and what is said when it cannot be used (NET-11)."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import EngineError, UsageError
from packrunner.images.dockerd import Dockerd, DockerHost, find_host, socket_error, sockets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def context(home: Path, name: str, meta: Mapping[str, object], *, current: bool = True) -> Path:
    key = hashlib.sha256(name.encode()).hexdigest()
    folder = home / ".docker" / "contexts" / "meta" / key
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    if current:
        (home / ".docker" / "config.json").write_text(json.dumps({"currentContext": name}))
    return home / ".docker" / "contexts" / "tls" / key / "docker"


class TestWhich:
    def test_the_flag_comes_before_the_variable(self) -> None:
        found = find_host({"DOCKER_HOST": "unix:///b.sock"}, "unix:///a.sock")
        assert (found.url, found.origin) == ("unix:///a.sock", "--docker-host")

    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("unix:///a.sock", "unix:///a.sock"),
            ("/a.sock", "unix:///a.sock"),
            ("ssh://me@far", "ssh://me@far"),
            ("far:2375", "tcp://far:2375"),
        ],
    )
    def test_the_variable(self, text: str, url: str) -> None:
        assert find_host({"DOCKER_HOST": text}).url == url

    def test_tls_is_for_tcp_and_from_its_variables(self) -> None:
        environ = {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
        assert find_host(environ) == DockerHost(
            url="tcp://far:2376", origin="DOCKER_HOST", certificates="/certs", verify=True
        )
        assert find_host({**environ, "DOCKER_HOST": "unix:///a"}).certificates == ""

    def test_the_context_of_the_docker_command(self, tmp_path: Path) -> None:
        meta = {"Endpoints": {"docker": {"Host": "tcp://company:2376", "SkipTLSVerify": False}}}
        certificates = context(tmp_path, "company", meta)
        certificates.mkdir(parents=True)
        found = find_host({"HOME": str(tmp_path)})
        assert (found.url, found.certificates) == ("tcp://company:2376", str(certificates))
        assert "company" in found.origin
        assert find_host({"HOME": str(tmp_path), "DOCKER_CONTEXT": "default", "XDG_RUNTIME_DIR": ""}).url.startswith(
            "unix://"
        )

    @pytest.mark.parametrize("meta", [{}, {"Endpoints": []}, {"Endpoints": {"docker": {"Host": 7}}}])
    @pytest.mark.fault("NET-11")
    def test_a_context_that_says_nothing_is_named(self, tmp_path: Path, meta: dict[str, object]) -> None:
        context(tmp_path, "broken", meta)
        with pytest.raises(UsageError, match="broken") as caught:
            find_host({"HOME": str(tmp_path)})
        assert caught.value.slug == "docker-context"
        assert caught.value.at
        assert str(tmp_path) in caught.value.at

    def test_else_the_first_socket_that_there_is(self, tmp_path: Path) -> None:
        environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
        place = tmp_path / "podman" / "podman.sock"
        place.parent.mkdir()
        place.touch()
        assert str(place) in sockets(environ)
        if not os.path.exists("/var/run/docker.sock"):
            assert find_host(environ).url == f"unix://{place}"


@pytest.mark.fault("NET-11")
class TestRefusals:
    def refusal(self, url: str, **more: object) -> EngineError:
        connection = Dockerd(DockerHost(url=url, origin="DOCKER_HOST", **more))  # type: ignore[arg-type]  # by the tests
        with pytest.raises(EngineError) as caught:
            connection.api  # noqa: B018 - asking is the point
        connection.close()
        assert caught.value.exit_code == 13
        return caught.value

    def test_no_socket(self, tmp_path: Path) -> None:
        error = self.refusal(f"unix://{tmp_path}/none.sock")
        assert (error.slug, error.at) == ("docker-missing", f"{tmp_path}/none.sock")
        assert any("start Docker" in one for one in error.tries)
        assert any("--engine sandbox" in one for one in error.tries)

    def test_nobody_listens(self, tmp_path: Path) -> None:
        path = str(tmp_path / "dead.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        error = self.refusal(f"unix://{path}")
        assert (error.slug, error.at) == ("docker-unreachable", path)
        assert "refused" in str(error.cause)

    def test_a_socket_for_others(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "theirs.sock"
        path.touch(mode=0o000)
        monkeypatch.setattr(os, "access", lambda *_: False)  # root is let in everywhere
        error = socket_error(str(path), PermissionError(13, "Permission denied"))
        assert (error.slug, error.at) == ("docker-denied", str(path))
        assert "usermod" in error.tries[0]

    def test_an_address_where_nobody_is(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        error = self.refusal(f"tcp://127.0.0.1:{port}")
        assert error.slug == "docker-unreachable"
        assert error.at
        assert error.at.startswith(f"tcp://127.0.0.1:{port}, from DOCKER_HOST")

    def test_tls_with_somebody_who_has_none(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                for _ in range(8):
                    try:
                        client, _ = server.accept()
                    except OSError:
                        return
                    with client:
                        client.recv(100)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

            threading.Thread(target=answer, daemon=True).start()
            error = self.refusal(f"tcp://127.0.0.1:{server.getsockname()[1]}", certificates=str(tmp_path), verify=False)
            server.shutdown(socket.SHUT_RDWR)
        assert error.slug == "docker-tls"
        assert any("DOCKER_CERT_PATH" in one for one in error.tries)

    def test_certificates_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("no certificate")
        error = self.refusal("tcp://127.0.0.1:1", certificates=str(tmp_path))
        assert error.slug in {"docker-tls", "docker-unreachable"}

    def test_ssh_that_fails_says_what_ssh_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program(tmp_path / "ssh", "echo 'me@far: Permission denied (publickey).' >&2; exit 255")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        error = self.refusal("ssh://me@far:2222/run/other.sock")
        assert (error.slug, error.cause) == ("docker-ssh", "me@far: Permission denied (publickey).")
        assert error.tries[0] == "ssh far docker version"

    def test_there_is_no_ssh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert self.refusal("ssh://far").slug == "docker-ssh"

    @pytest.mark.parametrize("url", ["ssh://", "ssh://me:secret@far", "ssh://-oProxyCommand=evil", "ssh://-l@far"])
    def test_an_ssh_address_that_is_none_never_reaches_ssh(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "ssh", f"touch {tmp_path}/ran")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        error = self.refusal(url)
        assert error.slug == "docker-ssh"
        assert not (tmp_path / "ran").exists()
        assert "secret" not in f"{error.brief} {error.cause} {error.at} {error.tries}"


def test_ssh_forwards_the_socket_and_ends_with_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands for ssh: makes the socket that -L names and answers the one question on it.
    program(
        tmp_path / "ssh",
        f"""exec {os.path.realpath(sys.executable)} -c '
import os, socket, sys
words = sys.argv[1:]
open("{tmp_path}/words", "w").write("\\n".join(words))
path = words[words.index("-L") + 1].partition(":")[0]
server = socket.create_server(path, family=socket.AF_UNIX)
while True:
    client, _ = server.accept()
    client.recv(10000)
    body = b"{{\\"ApiVersion\\": \\"1.41\\", \\"Version\\": \\"9\\"}}"
    head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
    client.sendall(head % len(body) + body)
    client.close()
' "$@" """,
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    connection = Dockerd(find_host({"DOCKER_HOST": "ssh://me@far:2222/run/other.sock"}))
    assert connection.about == "Docker 9"
    connection.close()
    words = (tmp_path / "words").read_text().splitlines()
    assert words[-2:] == ["--", "far"]
    assert words[words.index("-p") + 1] == "2222"
    assert words[words.index("-l") + 1] == "me"
    ours, _, theirs = words[words.index("-L") + 1].partition(":")
    assert theirs == "/run/other.sock"
    assert not os.path.exists(os.path.dirname(ours))


def program(path: Path, script: str) -> None:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
