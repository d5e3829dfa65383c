"""Ports of this machine: the one that was asked for where it is free, else the next that is."""

from __future__ import annotations

import errno
import socket

from packrunner.errors import EngineError

_TRIES = 100
_LAST = 65_535


def free(wanted: int, taken: frozenset[int] = frozenset()) -> int:
    """The first port from `wanted` on that nobody listens at. Raises EngineError, slug `port-taken`."""
    for port in range(wanted, min(wanted + _TRIES, _LAST + 1)):
        if port not in taken and _is_free(port):
            return port
    raise EngineError(
        f"port {wanted} and the {_TRIES} after it are taken", slug="port-taken", tries=("packrunner dev --port 9000",)
    )


def _is_free(port: int) -> bool:
    # Applications listen on every address or on this machine's only: neither may be taken.
    for address in ("", "127.0.0.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                    return False
                raise
    return True
