"""Before the agent greets, as root still: who owns the writable places, and what is in those that are only read."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from packrunner import fingerprint
from packrunner.disk import disk_error
from packrunner.engines import frames
from packrunner.engines.docker import hostfiles
from packrunner.engines.frames import protocol_error
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from packrunner.engines.base import Mount


def prepare(
    to_agent: int,
    from_agent: int,
    *,
    own: Mapping[str, int],
    mounts: Sequence[Mount],
    ended: Callable[[], EngineError],
) -> None:
    """Give the directories of `own` to the user, with these modes, and fill those of the mounts that are not filled."""
    marked = {mount.target: mount.content for mount in mounts if mount.content}
    try:
        _send(to_agent, frames.PREPARE, json.dumps({"own": own, "marked": marked}).encode())
        # Unbuffered: what follows the answer is the protocol client's.
        with open(os.dup(from_agent), "rb", buffering=0) as stream:
            answer = frames.read_frame(_Whole(stream))
        if answer is None:
            raise ended()
        if answer.kind == frames.FATAL:
            raise EngineError(
                "the container could not be prepared",
                slug="sandbox-failed",
                cause=frames.parse(answer.payload, frames.FatalReply).error,
            )
        if answer.kind != frames.LACKING:
            raise protocol_error("a frame before it said what is lacking")
        lacking = frames.parse(answer.payload, frames.LackingReply).places
        for data in hostfiles.gathered(_files([m for m in mounts if not m.content or m.target in lacking])):
            for start in range(0, len(data), frames.MAX_INPUT):
                _send(to_agent, frames.INPUT, data[start : start + frames.MAX_INPUT])
        _send(to_agent, frames.INPUT)
    except OSError as e:
        raise ended() from e


class _Whole:
    """Reads as many bytes as are asked for, and none beyond them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        return data


def _files(mounts: Sequence[Mount]) -> Iterator[bytes]:
    for mount in mounts:
        try:
            paths = [os.fsencode(path) for path in fingerprint.paths(fingerprint.scan(mount.source))]
        except OSError as e:
            raise disk_error(e, mount.source) from e
        yield from hostfiles.pack(mount.source, [b"", *paths], prefix=os.fsencode(mount.target) + b"/")


def _send(fd: int, kind: int, payload: bytes = b"") -> None:
    view = memoryview(frames.frame(kind, 0, payload))
    while view:
        view = view[os.write(fd, view) :]
