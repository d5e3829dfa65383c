"""Published ports."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from packrunner.engines.forward import published
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back everything once its client has finished."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, client.makefile("rb") as stream:
                    client.sendall(b"got " + stream.read())

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def talk(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as stream:
            return stream.read()


def test_bytes_pass_in_both_directions_and_so_does_their_end(port: int) -> None:
    with echo() as inner, published(((port, inner),)):
        for text in (b"", b"hello", b"x" * 1_000_000):
            assert talk(port, text) == b"got " + text


def test_several_clients_at_once(port: int) -> None:
    with echo() as inner, published(((port, inner),)):
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda n=n: answers.append(talk(port, b"%d" % n))) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [b"got %d" % n for n in range(5)]


def test_it_listens_only_here_and_only_for_a_time(port: int) -> None:
    with published(((port, 9),)), socket.create_connection(("127.0.0.1", port)) as client:
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_equal_ports_need_nothing(port: int) -> None:
    with published(((port, port),)), socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_has_its_own_error(port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(EngineError) as caught,
        published(((port, port + 1),)),
    ):
        pass
    assert caught.value.slug == "port-taken"
    assert str(port) in caught.value.brief
