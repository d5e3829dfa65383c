"""The agent's two streams, out of the one that Docker's attach gives.

What comes is in Docker's frames: one byte of stream, three of nothing, four of length. stdout goes into a pipe that the
protocol client reads; the agent's own complaints, on stderr, are kept for error messages.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = struct.Struct(">BxxxI")
_STDOUT = 1
_STEP = 1 << 20
_COMPLAINTS = 64 << 10


class Channel:
    """Descriptors to speak with the agent: `to_agent` and `from_agent`; `attached` is what the SDK gave."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached
        self._socket = getattr(attached, "_sock", attached)
        self._socket.settimeout(None)
        self._said = bytearray()
        self.from_agent, self._into = os.pipe2(os.O_CLOEXEC)
        self._ours: socket.socket | None = None
        self._threads = [self._start(self._read, "docker-output")]
        if type(self._socket) is socket.socket:
            self.to_agent = os.dup(self._socket.fileno())
        else:  # TLS: what is written to the descriptor would not be encrypted
            ours, theirs = socket.socketpair()
            self._ours = ours
            self.to_agent = theirs.detach()
            self._threads.append(self._start(self._write, "docker-input"))

    def said(self) -> tuple[str, ...]:
        """What the agent, or what was started in its place, wrote to its stderr."""
        return tuple(bytes(self._said).decode(errors="replace").splitlines()[:20])

    def hang_up(self) -> None:
        """End both directions; from any thread, any number of times."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the streams and the threads."""
        self.hang_up()
        os.close(self.to_agent)
        for thread in self._threads:
            thread.wait()
        os.close(self.from_agent)
        if self._ours:
            self._ours.close()
        self._attached.close()
        # The SDK's response would hold it until it is collected.
        self._socket.close()

    def _start(self, work: Callable[[], None], name: str) -> Worker:
        thread = Worker(work, name)
        thread.start()
        return thread

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb", buffering=_STEP) as stream, contextlib.suppress(OSError, ValueError):
                while len(header := stream.read(_HEADER.size)) == _HEADER.size:
                    kind, size = _HEADER.unpack(header)
                    while size and (data := stream.read1(min(size, _STEP))):
                        size -= len(data)
                        self._take(kind, data)
        finally:
            os.close(self._into)

    def _take(self, kind: int, data: bytes) -> None:
        if kind != _STDOUT:
            self._said += data[: _COMPLAINTS - len(self._said)]
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self._into, view) :]

    def _write(self) -> None:
        assert self._ours
        with contextlib.suppress(OSError):
            while data := self._ours.recv(_STEP):
                self._socket.sendall(data)
