"""A published port: connections to a port of the host, passed on to another one of the loopback interface."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING

from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16


@contextlib.contextmanager
def published(ports: tuple[tuple[int, int], ...], *, address: str = "127.0.0.1") -> Iterator[None]:
    """Pass (host port, inner port) pairs on while the context lasts; equal ones need nothing.

    Raises EngineError, slug `port-taken`.
    """
    with contextlib.ExitStack() as stack:
        for outer, inner in ports:
            if outer != inner:
                stack.enter_context(_listening(address, outer, inner))
        yield


@contextlib.contextmanager
def _listening(address: str, outer: int, inner: int) -> Iterator[None]:
    try:
        server = socket.create_server((address, outer))
    except OSError as error:
        raise EngineError(
            f"port {outer} cannot be published",
            slug="port-taken",
            cause=error.strerror,
            tries=(f"--publish {outer + 1}:{inner}", f"ss -ltnp 'sport = :{outer}'"),
        ) from error
    with server:
        threading.Thread(target=_accept, args=(server, address, inner), name=f"publish-{outer}", daemon=True).start()
        try:
            yield
        finally:
            # Closing alone does not wake a thread that waits in accept.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, address: str, inner: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, address, inner), daemon=True).start()


def _serve(client: socket.socket, address: str, inner: int) -> None:
    with client:
        try:
            upstream = socket.create_connection((address, inner), timeout=10)
        except OSError as error:
            _log.debug("nothing answers on port %d: %s", inner, error)
            return
        with upstream:
            upstream.settimeout(None)
            back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
            back.start()
            _copy(client, upstream)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Bytes of one direction; its end is passed on, the other direction lives."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
